"""What the state holds, as objects on the bus: keys, the newest package, Migration Authorities (DESIGN §4).

Only what may stand in a message: names, identities, places. What a user registered is his; all else is root's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from lms.link.tables import Interface, Property
from lms.model.packages import SYSTEM
from lms.model.platform import PlatformState, RecoverableKey
from lms.model.registered import RegisteredKey
from lms.names import AUTHORITY, KEY, PACKAGE_OBJECT, ROOT_PATH
from lms.service.enroll import trust_list_of
from lms.wire.tpm.public import name_of

_ROOT_UID: Final = 0
_DRSK: Final = "DRSK"

# The properties of each interface, and their types.
SHAPES: Final[Mapping[str, Mapping[str, str]]] = {
    KEY: {"Name": "s", "Type": "s", "Parent": "s", "Owner": "s", "Application": "s", "Label": "s", "Handle": "u"},
    PACKAGE_OBJECT: {"Id": "s", "Sequence": "t"},
    AUTHORITY: {"Id": "s", "Mode": "s", "Combined": "b", "Addresses": "as", "Vault": "s", "Held": "t"},
}


def table(interface: str, values: tuple[Any, ...]) -> Interface:
    """An interface with these values, in the order of its shape; they never change."""
    shape = zip(SHAPES[interface].items(), values, strict=True)
    kept = {name: Property(kind, partial(_same, value), constant=True) for (name, kind), value in shape}
    return Interface(interface, properties=kept)


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Item:
    """One object: path, interface, whose it is, and its values. What changes is another object."""

    path: str
    interface_name: str
    uid: int
    values: tuple[Any, ...]

    @property
    def interface(self) -> Interface:
        """Its table."""
        return table(self.interface_name, self.values)


def items_of(state: PlatformState | None) -> tuple[Item, ...]:
    """All that a state holds."""
    return () if state is None else (*_keys(state), *_packages(state), *_authorities(state))


def _keys(state: PlatformState) -> Iterator[Item]:
    if state.drsk is not None:
        yield _recoverable(state, state.drsk)
    for key in state.registry.keys:
        yield _registered(key)


def _recoverable(state: PlatformState, key: RecoverableKey) -> Item:
    values = (str(key.name), key.policy.key_type.value, str(state.srk_name), SYSTEM, "", _DRSK, state.drsk_handle)
    return Item(f"{ROOT_PATH}/key/_{key.name}", KEY, _ROOT_UID, values)


def _registered(key: RegisteredKey) -> Item:
    place = key.place
    values = (str(key.name), "child", str(key.parent), place.owner, place.application, place.label, 0)
    return Item(f"{ROOT_PATH}/key/_{key.name}", KEY, _uid_of(place.owner), values)


def _uid_of(owner: str) -> int:
    """Whose an @Owner is: `system` is root's, `UID:NAME` that user's (PROTOCOL §0)."""
    return _ROOT_UID if owner == SYSTEM else int(owner.partition(":")[0])


def _packages(state: PlatformState) -> Iterator[Item]:
    if state.package_id is not None:
        identity = str(state.package_id)
        path = f"{ROOT_PATH}/package/{identity.replace('-', '_')}"
        yield Item(path, PACKAGE_OBJECT, _ROOT_UID, (identity, state.archived))


def _authorities(state: PlatformState) -> Iterator[Item]:
    """Those that the owner approved; `Held` is the Sequence of the newest package there, 0 where none was read back."""
    held = {d.identity: d.held for d in state.destinations}
    trust_list = trust_list_of(state)
    for authority in () if trust_list is None else trust_list.authorities:
        identity = str(authority.ma_id)
        values = (
            identity,
            authority.mode.value,
            authority.combined,
            list(authority.addresses),
            str(name_of(authority.vault)),
            held.get(identity, 0),
        )
        yield Item(f"{ROOT_PATH}/authority/{identity.replace('-', '_')}", AUTHORITY, _ROOT_UID, values)
