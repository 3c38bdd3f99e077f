"""What local applications entrust to a platform: keys, passwords and data, and who they belong to (DESIGN §4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lms.model.keys import Name
from lms.model.packages import SYSTEM, ItemUsage
from lms.model.tpm import SealedObject

OURS: Final = "localmigration"
"""The application under which the service keeps what is its own; nobody else may use it."""
USER_KEY: Final = "user key"
"""Label of the storage key below which the content keys of one user's items are sealed."""

_MIB: Final = 1024 * 1024
_ELEMENTS: Final = 1536
"""At most what stands around the values of one entry in a package: its elements, Names and references."""
_ESCAPED: Final = 6
"""At most the bytes of one character in an attribute: `"` is `&quot;`."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a local user, as the kernel tells."""

    uid: int
    user_name: str

    @classmethod
    def nameless(cls, uid: int) -> Caller:
        """A user whose name nobody knows: called by its number."""
        return ROOT if uid == 0 else cls(uid, str(uid))

    @property
    def is_root(self) -> bool:
        """Whether this caller may see and use what belongs to others."""
        return self.uid == 0

    @property
    def owner(self) -> str:
        """@Owner of what this caller registers (PROTOCOL §0)."""
        return SYSTEM if self.is_root else f"{self.uid}:{self.user_name}"

    def may_have(self, owner: str) -> bool:
        """Whether something goes back to this caller: to its uid, whatever the user is called now, or to root."""
        return self.is_root or owner.partition(":")[0] == str(self.uid)


ROOT: Final = Caller(0, "root")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry stands: one owner's label in one application holds one entry."""

    owner: str
    application: str
    label: str

    @property
    def weight(self) -> int:
        """At most how many bytes its words and the elements around them take in a package."""
        return _ELEMENTS + _ESCAPED * (len(self.owner) + len(self.application) + len(self.label))

    @property
    def is_ours(self) -> bool:
        """Whether it belongs to the service itself."""
        return self.application == OURS


@dataclass(frozen=True, slots=True)
class RegisteredKey:
    """A key below the DRSK or below another registered storage key; `key` goes on unchanged in every package."""

    place: Place
    name: Name
    parent: Name
    key: SealedObject

    @property
    def weight(self) -> int:
        """At most how many bytes it takes in a package."""
        return self.place.weight + _base64_size(len(self.key.public)) + _base64_size(len(self.key.private))


@dataclass(frozen=True, slots=True)
class RegisteredItem:
    """A password or data. Its ciphertext lies in a file of its own, named by its SHA-256 `digest`; `size` in bytes.

    `key_id` is the key that the item belongs to in a package; `parent` that below which `content_key` is sealed.
    """

    place: Place
    usage: ItemUsage
    key_id: Name
    parent: Name
    content_key: SealedObject
    digest: bytes
    size: int

    @property
    def weight(self) -> int:
        """At most how many bytes it takes in a package, with its content key."""
        sealed = self.content_key
        key = _base64_size(len(sealed.public)) + _base64_size(len(sealed.private))
        return self.place.weight + _base64_size(self.size) + key


Entry = RegisteredKey | RegisteredItem


def _base64_size(size: int) -> int:
    return (size + 2) // 3 * 4


@dataclass(frozen=True, slots=True)
class Quota:
    """How much may be registered: number of entries, and bytes that they take in a package."""

    entries: int
    bytes: int


ALL_QUOTA: Final = Quota(4096, 62 * _MIB)
"""A package has at most 64 MiB; the rest is for the keys themselves, their destinations and signatures."""
USER_QUOTA: Final = Quota(64, 2 * _MIB)
"""For one user who is not root: nobody can keep the others from registering."""


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that is registered on a platform."""

    keys: tuple[RegisteredKey, ...] = ()
    items: tuple[RegisteredItem, ...] = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Keys, then items, each in the order of registering."""
        return (*self.keys, *self.items)

    @property
    def digests(self) -> frozenset[bytes]:
        """The ciphertexts that are needed."""
        return frozenset(item.digest for item in self.items)

    def at(self, place: Place) -> Entry | None:
        """The entry at a place."""
        return next((entry for entry in self.entries if entry.place == place), None)

    def key_named(self, name: Name) -> RegisteredKey | None:
        """A registered key by its Name."""
        return next((key for key in self.keys if key.name == name), None)

    def user_key(self, owner: str) -> RegisteredKey | None:
        """The storage key of a user, where there is one already."""
        found = self.at(Place(owner, OURS, USER_KEY))
        return found if isinstance(found, RegisteredKey) else None

    def path_to(self, name: Name, root: Name) -> tuple[RegisteredKey, ...] | None:
        """The keys from below `root` down to the one named `name`; empty for `root` itself, None for a stranger."""
        path: list[RegisteredKey] = []
        while name != root:
            key = self.key_named(name)
            if key is None or key in path:
                return None
            path.append(key)
            name = key.parent
        return tuple(reversed(path))

    def uses(self, name: Name) -> tuple[Entry, ...]:
        """What could not be loaded any more without the key of this Name."""
        return (*(k for k in self.keys if k.parent == name), *(i for i in self.items if name in (i.parent, i.key_id)))

    def without(self, place: Place) -> Registry:
        """All but the entry at a place."""
        return Registry(
            tuple(k for k in self.keys if k.place != place), tuple(i for i in self.items if i.place != place)
        )

    def with_entry(self, entry: Entry) -> Registry:
        """With an entry added, which takes the place of the one that stood there."""
        others = self.without(entry.place)
        if isinstance(entry, RegisteredKey):
            return Registry((*others.keys, entry), others.items)
        return Registry(others.keys, (*others.items, entry))

    def over(self, older: Registry) -> Registry:
        """This, and what only an older one knows."""
        known = {entry.place for entry in self.entries}
        return Registry(
            (*self.keys, *(k for k in older.keys if k.place not in known)),
            (*self.items, *(i for i in older.items if i.place not in known)),
        )

    def rooted(self, root: Name) -> Registry:
        """What hangs below `root`, and can be loaded therefore."""

        def known(name: Name) -> bool:
            return self.path_to(name, root) is not None

        return Registry(
            tuple(k for k in self.keys if known(k.name)),
            tuple(i for i in self.items if known(i.parent) and known(i.key_id)),
        )

    def fits(self, owner: str) -> bool:
        """Whether this keeps to the quotas: that of one owner, by uid, and that of all."""
        uid = owner.partition(":")[0]
        own = [entry for entry in self.entries if entry.place.owner.partition(":")[0] == uid]
        return _within(self.entries, ALL_QUOTA) and (owner == SYSTEM or _within(own, USER_QUOTA))


def _within(entries: tuple[Entry, ...] | list[Entry], quota: Quota) -> bool:
    return len(entries) <= quota.entries and sum(entry.weight for entry in entries) <= quota.bytes
