"""`seal`: a new sealed object below the DRSK, registered at once, so that it survives (DESIGN §4; PROTOCOL §4).

It has neither fixedTPM nor fixedParent. A policy is the caller's to choose: a new board has other PCRs, and who binds
to them seals anew there. `unseal` opens what the caller has the areas of.
"""

from __future__ import annotations

from typing import Final

from lms.errors import AuthFailed, BadRequest, PcrsDiffer, PolicyRefused
from lms.model.registered import Caller, RegisteredKey
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.service.register import Where, at_home, keep_entry, new_place
from lms.service.setting import Setting
from lms.wire.tpm.foreign import foreign_attributes
from lms.wire.tpm.public import Attributes, name_of, sealed_template

MAX_SEALED: Final = 128
_BY_AUTH: Final = Attributes.NO_DA | Attributes.USER_WITH_AUTH


def seal(
    setting: Setting,
    caller: Caller,
    where: Where,
    value: Secret,
    auth: Secret,
    policy: bytes = b"",
    counted: bool = False,
) -> RegisteredKey:
    """Seal 1 to 128 bytes under an own authorisation, which may be empty, or under a policy alone (SHA-256 digest).

    `counted`: the authorisation is a PIN, whose wrong guesses the TPM counts.
    Raises BadRequest, RegistryFull, StillNeeded, NotRegistered.
    """
    if not 0 < len(value) <= MAX_SEALED:
        raise BadRequest(f"cannot seal {len(value)} bytes: 1 to {MAX_SEALED}; register more as data")
    state = at_home(setting)
    place = new_place(caller, where)
    made = setting.tpm.create(state.drsk_handle, _template(policy, auth, counted), auth=auth, data=value)
    entry = RegisteredKey(place, name_of(made.public), state.require_drsk().name, made)
    keep_entry(setting, state, entry)
    return entry


def _template(policy: bytes, auth: Secret, counted: bool) -> bytes:
    """With a policy, an authorisation is a PIN that a policy asks for: short, so the TPM counts wrong ones."""
    if not policy:
        return sealed_template(Attributes.USER_WITH_AUTH if counted else _BY_AUTH)
    return sealed_template(Attributes(0) if auth else Attributes.NO_DA, policy)


def unseal(setting: Setting, key: SealedObject, pcrs: tuple[int, ...], auth: Secret) -> Secret:
    """What was sealed below the DRSK, by authorisation or by its policy of PCRs and authorisation.

    Raises PcrsDiffer, AuthFailed, BlobRefused where it belongs to another key, MalformedStructure.
    """
    state = at_home(setting)
    if foreign_attributes(key.public) & Attributes.USER_WITH_AUTH:
        return setting.tpm.unseal(state.drsk_handle, key, auth=auth)
    try:
        return setting.tpm.unseal_by_policy(state.drsk_handle, key, pcrs, auth)
    except PolicyRefused:
        if not pcrs:
            raise AuthFailed("cannot unseal: its policy wants something else than what was given") from None
        numbers = ", ".join(map(str, pcrs))
        raise PcrsDiffer(f"cannot unseal: its policy wants other values of PCR {numbers}") from None
