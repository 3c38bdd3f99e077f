"""`retrieve`: what was registered goes back to its owner, or to root (DESIGN §4; PROTOCOL §4).

A system item takes the owner authorisation, a user's item its user's password. Each is compared with the
element around it: an item put in another's place is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from lms.errors import AuthFailed, NotRegistered
from lms.model.packages import SYSTEM
from lms.model.platform import PlatformState
from lms.model.registered import Caller, RegisteredItem, RegisteredKey
from lms.model.secret import Secret
from lms.names import PRIVATE, PUBLIC
from lms.service.packing import item_of
from lms.service.register import Where, at_home, entry_at, path_to
from lms.service.setting import NO_SECRET, Setting
from lms.wire.content import decrypt_item


def retrieve(
    setting: Setting, caller: Caller, where: Where, owner_auth: Secret, user_password: Secret
) -> Mapping[str, Secret]:
    """What was registered, by the words it is collected with: `password`, `data`, or `public` and `private`.

    Raises NotRegistered, OwnerAuthFailed, AuthFailed, ContentMismatch, CiphertextLost.
    """
    state = at_home(setting)
    entry = entry_at(state.registry, caller, where)
    if isinstance(entry, RegisteredKey):
        return {PUBLIC: Secret(entry.key.public), PRIVATE: Secret(entry.key.private)}
    setting.step("opening the item")
    content_key = _content_key(setting, state, entry, owner_auth, user_password)
    item = item_of(entry, setting.store.load_ciphertext(entry.digest))
    return {entry.usage.value: decrypt_item(item, content_key, state.platform_id, entry.key_id)}


def _content_key(
    setting: Setting, state: PlatformState, entry: RegisteredItem, owner_auth: Secret, user_password: Secret
) -> Secret:
    if entry.place.owner == SYSTEM:
        return setting.tpm.unseal_as_owner(state.drsk_handle, entry.content_key, owner_auth)
    path = path_to(state.registry, state.require_drsk().name, entry.parent, user_password)
    if not path:  # without a step below the DRSK no password would protect it
        raise NotRegistered(f"cannot open '{entry.place.label}': its user's key is not registered")
    if not user_password:
        raise AuthFailed(f"cannot open '{entry.place.label}' without its user's password")
    return setting.tpm.unseal(state.drsk_handle, entry.content_key, auth=NO_SECRET, path=path)
