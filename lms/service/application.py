"""A key of an application: made below the DRSK or imported, and registered at once, so that it survives (DESIGN §4)."""

from __future__ import annotations

from lms.errors import BadRequest, NotMigratable
from lms.model.keys import ApplicationAlgorithm
from lms.model.registered import Caller, RegisteredKey
from lms.model.secret import Secret
from lms.service.register import FIXED, Where, at_home, keep_entry, new_place, register_key
from lms.service.setting import NO_SECRET, Setting
from lms.wire.tpm.application import application_template
from lms.wire.tpm.foreign import foreign_attributes
from lms.wire.tpm.public import name_of
from lms.wire.tpm.sensitive import matches, read_sensitive
from lms.wire.tpm.wrap import NO_INNER_WRAP, wrap_outer


def make_key(setting: Setting, caller: Caller, where: Where, algorithm: ApplicationAlgorithm) -> RegisteredKey:
    """A key that nobody had outside the TPM. Raises RegistryFull, StillNeeded, NotRegistered, BadRequest."""
    state = at_home(setting)
    place = new_place(caller, where)
    setting.step("making the key")
    template = application_template(algorithm)
    made = setting.tpm.create(state.drsk_handle, template, auth=NO_SECRET, data=NO_SECRET)
    entry = RegisteredKey(place, name_of(made.public), state.require_drsk().name, made)
    keep_entry(setting, state, entry)
    return entry


def import_key(
    setting: Setting, caller: Caller, where: Where, public: bytes, sensitive: Secret
) -> tuple[RegisteredKey, bool]:
    """A key that came in the clear, TPM2B_PUBLIC and TPM2B_SENSITIVE; on its way to the TPM it is wrapped for the DRSK.

    The entry, and False where a key of this Name stands at its place already: it stays as it is. Raises
    MalformedStructure, BadRequest where the halves do not belong together, NotMigratable, and what `register_key` does.
    """
    state = at_home(setting)
    place = new_place(caller, where)
    if foreign_attributes(public) & FIXED:
        raise NotMigratable("cannot import a key that has fixedTPM or fixedParent")
    if not matches(read_sensitive(sensitive.reveal()), public):
        raise BadRequest("cannot import the key: its private half is that of another key")
    name, known = name_of(public), state.registry.at(place)
    if isinstance(known, RegisteredKey) and known.name == name:
        return known, False
    setting.step("importing the key")
    wrapped = wrap_outer(state.require_drsk().key.public, name, sensitive.reveal())
    key = setting.tpm.import_key(state.drsk_handle, public, wrapped, NO_INNER_WRAP, NO_SECRET)
    return register_key(setting, caller, where, key, None, NO_SECRET)
