"""`register`, `unregister` and the listing `keys`: what applications entrust to the platform (DESIGN §4; PROTOCOL §4).

A key is loaded on this TPM before it is taken; a password or data is encrypted under a content key of its own,
which is sealed below the DRSK, or below its user's storage key, and forgotten. What was registered is safe after
the next `archive`: until then the platform is `stale`.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace
from typing import Final

from lms.errors import (
    BadRequest,
    BlobRefused,
    ForeignKey,
    KeyNotFound,
    NotMigratable,
    NotRegistered,
    RegistryFull,
    StillNeeded,
)
from lms.model.keys import Name
from lms.model.packages import SYSTEM, ItemUsage
from lms.model.platform import PlatformState
from lms.model.registered import OURS, USER_KEY, Caller, Entry, Place, RegisteredItem, RegisteredKey, Registry
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.ports import Step
from lms.service.setting import NO_SECRET, Setting, provisioned
from lms.wire.content import KEY_SIZE, NONCE_SIZE, Content, check_place, encrypt_item
from lms.wire.tpm.foreign import foreign_attributes, foreign_name
from lms.wire.tpm.policy import OWNER_AUTHORISED
from lms.wire.tpm.public import Attributes, name_of, sealed_template, user_key_template

_SYSTEM_KEY: Final = sealed_template(Attributes.NO_DA, OWNER_AUTHORISED)
_USERS_KEY: Final = sealed_template(Attributes.NO_DA | Attributes.USER_WITH_AUTH)
FIXED: Final = Attributes.FIXED_TPM | Attributes.FIXED_PARENT
_STORAGE: Final = Attributes.RESTRICTED | Attributes.DECRYPT
_MAX_BLOB: Final = 4096


@dataclass(frozen=True, slots=True)
class Where:
    """Which entry a caller speaks of. `owner` is the caller itself where it is None; root may name another."""

    application: str
    label: str
    owner: str | None = None


def place_of(caller: Caller, where: Where) -> Place:
    """The place that a caller may speak of. Raises NotRegistered for another's, which looks like an absent one."""
    owner = caller.owner if where.owner is None else where.owner
    if not caller.may_have(owner):
        raise NotRegistered(f"cannot find '{where.label}' of '{where.application}'")
    return Place(owner, where.application, where.label)


def entry_at(registry: Registry, caller: Caller, where: Where) -> Entry:
    """The caller's entry. Raises NotRegistered."""
    place = place_of(caller, where)
    mine = [e for e in registry.entries if (e.place.application, e.place.label) == (where.application, where.label)]
    # A uid's entry stays its own when the user is renamed; root's own go first where root names nobody.
    for entry in sorted(mine, key=lambda e: e.place != place):
        if entry.place == place or (where.owner is None and not caller.is_root and caller.may_have(entry.place.owner)):
            return entry
    raise NotRegistered(f"cannot find '{where.label}' of '{where.application}'")


def at_home(setting: Setting) -> PlatformState:
    """The state of a platform whose DRSK lives at its handle. Raises NotProvisioned, KeyNotFound, ForeignKey.

    Below a stranger's key, passwords and content keys would be sealed for the stranger.
    """
    state = provisioned(setting)
    found = setting.tpm.read_public(state.drsk_handle)
    if found is None:
        raise KeyNotFound(f"cannot use the recoverable key: it is not at {state.drsk_handle:#x}")
    if foreign_name(found) != state.require_drsk().name:
        raise ForeignKey(f"cannot use the key at {state.drsk_handle:#x}: it is not the recoverable one")
    return state


def new_place(caller: Caller, where: Where) -> Place:
    """The place for a new entry. Raises NotRegistered, BadRequest where a package could not carry its words."""
    place = place_of(caller, where)
    if not caller.is_root and place.owner != caller.owner:  # names of one's own choice would be quotas of one's own
        raise BadRequest(f"cannot register for '{place.owner}': you are '{caller.owner}'")
    check_place(place.owner, place.application, place.label)
    if place.is_ours:
        raise BadRequest(f"cannot register for '{OURS}': this application is the service itself")
    return place


def path_to(registry: Registry, drsk: Name, parent: Name, user_password: Secret) -> tuple[Step, ...] | None:
    """The way from the DRSK down to a parent; users' storage keys take their user's password. None for a stranger."""
    keys = registry.path_to(parent, drsk)
    if keys is None:
        return None
    return tuple(Step(k.key, user_password if k.place.is_ours else NO_SECRET) for k in keys)


def keep_entry(setting: Setting, state: PlatformState, entry: Entry) -> PlatformState:
    """Write an entry into the state. Raises RegistryFull, StillNeeded where a key of the same label is a parent."""
    return _save(setting, state, _admitted(state.registry, entry))


def _admitted(registry: Registry, entry: Entry) -> Registry:
    _refuse_needed(registry, registry.at(entry.place), entry)
    registry = registry.with_entry(entry)
    if not registry.fits(entry.place.owner):
        raise RegistryFull(f"cannot register '{entry.place.label}': there is no room for it in a package")
    return registry


def _save(setting: Setting, state: PlatformState, registry: Registry) -> PlatformState:
    state = replace(state, registry=registry, unarchived=True)
    setting.store.save(state)
    setting.store.sweep()
    return state


def _refuse_needed(registry: Registry, leaving: Entry | None, coming: Entry | None = None) -> None:
    if not isinstance(leaving, RegisteredKey) or (isinstance(coming, RegisteredKey) and coming.name == leaving.name):
        return
    if registry.uses(leaving.name):
        raise StillNeeded(f"cannot give up key '{leaving.place.label}': something is registered below it")


def register_key(
    setting: Setting, caller: Caller, where: Where, key: SealedObject, parent: Name | None, user_password: Secret
) -> tuple[RegisteredKey, bool]:
    """Register a key below `parent`, the DRSK where it is None; the entry, and False where it was registered already.

    Raises NotMigratable (fixedTPM, fixedParent), BlobRefused where it does not load here below this parent,
    AuthFailed, NotRegistered for an unknown parent, RegistryFull, StillNeeded, BadRequest.
    """
    state = at_home(setting)
    place = new_place(caller, where)
    above = state.require_drsk().name if parent is None else parent
    entry = RegisteredKey(place, _judged(key), above, key)
    if state.registry.at(place) == entry:
        return entry, False
    path = _path_below(state, caller, above, user_password)
    setting.step("loading the key")
    found, _ = setting.tpm.loaded_name(state.drsk_handle, key, None, path)
    if found != entry.name:
        raise BlobRefused(f"cannot register '{place.label}': it loads as another key")
    keep_entry(setting, state, entry)
    return entry, True


def _judged(key: SealedObject) -> Name:
    if max(len(key.public), len(key.private)) > _MAX_BLOB:
        raise BadRequest(f"cannot register a key whose public or private area has more than {_MAX_BLOB} bytes")
    if foreign_attributes(key.public) & FIXED:
        raise NotMigratable("cannot register the key: it has fixedTPM or fixedParent, and dies with this TPM")
    return foreign_name(key.public)


def _path_below(state: PlatformState, caller: Caller, parent: Name, user_password: Secret) -> tuple[Step, ...]:
    path = path_to(state.registry, state.require_drsk().name, parent, user_password)
    key = state.registry.key_named(parent)
    visible = key is None or key.place.owner == SYSTEM or caller.may_have(key.place.owner)
    if path is None or not visible:
        raise NotRegistered(f"cannot register below {parent.digits}: no such key is registered")
    if key is not None and foreign_attributes(key.key.public) & _STORAGE != _STORAGE:
        raise BadRequest(f"cannot register below {parent.digits}: it is no storage key")
    return path


def register_item(
    setting: Setting, caller: Caller, where: Where, usage: ItemUsage, value: Secret, user_password: Secret
) -> RegisteredItem:
    """Register a password or data. One that stands there already is replaced, and stays in older packages only.

    A user's item takes the user's password, which its storage key gets when the first item is registered.
    Whether a value is the same as before nobody can tell: a digest of it would tell weak passwords.
    Raises BadRequest, AuthFailed, RegistryFull, StillNeeded, NotRegistered.
    """
    state = at_home(setting)
    place = new_place(caller, where)
    drsk = state.require_drsk().name
    if place.owner == SYSTEM:
        parent, template = drsk, _SYSTEM_KEY
        path: tuple[Step, ...] = ()
    else:
        state, parent = _ensure_user_key(setting, state, place.owner, user_password)
        path, template = _path_below(state, caller, parent, user_password), _USERS_KEY
    setting.step("encrypting the item")
    content_key = Secret(secrets.token_bytes(KEY_SIZE))
    content = Content(
        state.platform_id, parent, usage, place.owner, place.application, place.label, value.reveal()
    )  # fmt: skip
    ciphertext = encrypt_item(content, "c0", content_key, secrets.token_bytes(NONCE_SIZE)).ciphertext
    sealed = setting.tpm.create(state.drsk_handle, template, auth=NO_SECRET, data=content_key, path=path)
    digest = hashlib.sha256(ciphertext).digest()
    entry = RegisteredItem(place, usage, parent, parent, sealed, digest, len(ciphertext))
    registry = _admitted(state.registry, entry)  # before its bytes take room on the disk
    setting.store.keep_ciphertext(ciphertext)
    _save(setting, state, registry)
    return entry


def _ensure_user_key(
    setting: Setting, state: PlatformState, owner: str, user_password: Secret
) -> tuple[PlatformState, Name]:
    if not user_password:
        raise BadRequest("cannot do this for a user without the user's password")
    key = state.registry.user_key(owner)
    if key is None:
        setting.step("making the user's storage key")
        template = user_key_template(state.algorithm)
        made = setting.tpm.create(state.drsk_handle, template, auth=user_password, data=NO_SECRET)
        name = name_of(made.public)
        key = RegisteredKey(Place(owner, OURS, USER_KEY), name, state.require_drsk().name, made)
        state = keep_entry(setting, state, key)
    return state, key.name


def unregister(setting: Setting, caller: Caller, where: Where) -> bool:
    """Forget an entry; it stays in older packages. False where there is none. Raises StillNeeded.

    A user whose password is lost unregisters all items, then the user key, and starts anew.
    """
    state = provisioned(setting)
    try:
        entry = entry_at(state.registry, caller, where)
    except NotRegistered:
        return False
    _refuse_needed(state.registry, entry)
    _save(setting, state, state.registry.without(entry.place))
    return True


def listed(state: PlatformState, caller: Caller) -> tuple[Entry, ...]:
    """What a caller may know of: its own entries, or everything for root."""
    return tuple(entry for entry in state.registry.entries if caller.may_have(entry.place.owner))
