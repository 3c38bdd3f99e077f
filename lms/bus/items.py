"""What the state holds, as objects on the bus: keys, the newest package, Migration Authorities (DESIGN §4).

Only what may stand in a message: names, identities, places. What a user registered is his; all else is root's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from lms.link.tables import Interface, Property
from lms.model.packages import SYSTEM, DestinationKind
from lms.model.platform import PlatformState, RecoverableKey
from lms.model.registered import RegisteredKey
from lms.names import AUTHORITY, KEY, PACKAGE_OBJECT, ROOT_PATH

_ROOT_UID = 0
_DRSK = "DRSK"


@dataclass(frozen=True, slots=True)
class Item:
    """One object: path, interface, whose it is, and its properties as name, type and value."""

    path: str
    interface_name: str
    uid: int
    properties: tuple[tuple[str, str, Any], ...]

    @property
    def interface(self) -> Interface:
        """Its table: a changed item is another object, so nothing in it ever changes."""
        kept = {name: Property(kind, partial(_same, value), constant=True) for name, kind, value in self.properties}
        return Interface(self.interface_name, properties=kept)


def _same(value: Any) -> Any:
    return value


def items_of(state: PlatformState | None) -> tuple[Item, ...]:
    """All that a state holds."""
    return () if state is None else (*_keys(state), *_packages(state), *_authorities(state))


def _keys(state: PlatformState) -> Iterator[Item]:
    if state.drsk is not None:
        yield _recoverable(state, state.drsk)
    for key in state.registry.keys:
        yield _registered(key)


def _recoverable(state: PlatformState, key: RecoverableKey) -> Item:
    return _key(str(key.name), _ROOT_UID, "CMK", str(state.srk_name), SYSTEM, "", _DRSK, state.drsk_handle)


def _registered(key: RegisteredKey) -> Item:
    place = key.place
    name, parent = str(key.name), str(key.parent)
    return _key(name, _uid_of(place.owner), "child", parent, place.owner, place.application, place.label, 0)


def _uid_of(owner: str) -> int:
    """Whose an @Owner is: `system` is root's, `UID:NAME` that user's (PROTOCOL §0)."""
    return _ROOT_UID if owner == SYSTEM else int(owner.partition(":")[0])


def _key(name: str, uid: int, kind: str, parent: str, owner: str, application: str, label: str, handle: int) -> Item:
    properties = (
        ("Name", "s", name),
        ("Type", "s", kind),
        ("Parent", "s", parent),
        ("Owner", "s", owner),
        ("Application", "s", application),
        ("Label", "s", label),
        ("Handle", "u", handle),
    )
    return Item(f"{ROOT_PATH}/key/_{name}", KEY, uid, properties)


def _packages(state: PlatformState) -> Iterator[Item]:
    if state.package_id is not None:
        identity = str(state.package_id)
        properties = (("Id", "s", identity), ("Sequence", "u", state.archived))
        yield Item(f"{ROOT_PATH}/package/{identity.replace('-', '_')}", PACKAGE_OBJECT, _ROOT_UID, properties)


def _authorities(state: PlatformState) -> Iterator[Item]:
    for destination in state.destinations:
        if destination.kind is DestinationKind.MIGRATION_AUTHORITY:
            identity = destination.identity
            properties = (("Id", "s", identity),)
            yield Item(f"{ROOT_PATH}/authority/{identity.replace('-', '_')}", AUTHORITY, _ROOT_UID, properties)
