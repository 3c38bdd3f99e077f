"""What is registered, as elements of a package, and back (PROTOCOL §4, §6).

Children and content keys go on unchanged, ciphertexts as they were written. Nothing is decrypted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lms.model.keys import Name
from lms.model.packages import ChildKey, ContentKey, Item, ItemUsage, MigratingKey, MigrationPackage
from lms.model.registered import Entry, Place, RegisteredItem, RegisteredKey, Registry
from lms.model.tpm import SealedObject


@dataclass(frozen=True, slots=True)
class ItemsOf:
    """The items of one key, as a package has them."""

    passwords: tuple[Item, ...]
    data: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Packed:
    """A registry in the elements of a package; `items` are those of the DRSK itself."""

    content_keys: tuple[ContentKey, ...]
    child_keys: tuple[ChildKey, ...]
    items: ItemsOf


def pack(registry: Registry, drsk: Name, ciphertext: Callable[[bytes], bytes]) -> Packed:
    """The elements of everything registered; `ciphertext` gives the one with a digest."""
    refs = {item.place: f"c{number}" for number, item in enumerate(registry.items)}
    content_keys = tuple(
        ContentKey(refs[item.place], item.content_key.public, item.content_key.private, item.parent)
        for item in registry.items
    )

    def items_of(key: Name) -> ItemsOf:
        own = [_item(item, refs[item.place], ciphertext(item.digest)) for item in registry.items if item.key_id == key]
        return ItemsOf(
            tuple(i for i in own if i.usage is ItemUsage.PASSWORD), tuple(i for i in own if i.usage is ItemUsage.DATA)
        )

    return Packed(content_keys, tuple(_child(key, items_of(key.name)) for key in registry.keys), items_of(drsk))


def _item(item: RegisteredItem, ref: str, ciphertext: bytes) -> Item:
    place = item.place
    return Item(item.usage, place.owner, place.application, place.label, ref, ciphertext)


def item_of(item: RegisteredItem, ciphertext: bytes) -> Item:
    """An item as it would stand in a package of its own."""
    return _item(item, "c0", ciphertext)


def _child(key: RegisteredKey, items: ItemsOf) -> ChildKey:
    place, sealed = key.place, key.key
    return ChildKey(
        key.name, key.parent, place.owner, place.application, place.label, sealed.public, sealed.private,
        items.passwords, items.data,
    )  # fmt: skip


def unpack(
    package: MigrationPackage, drsk: Name, keep: Callable[[bytes], bytes], probe: SealedObject | None
) -> Registry:
    """What a verified package holds below its DRSK, without the probe; `keep` takes each ciphertext."""
    keys = tuple(
        _registered(child) for child in package.child_keys if SealedObject(child.public, child.private) != probe
    )
    content_keys = {c.ref: c for c in package.content_keys}
    items = tuple(
        RegisteredItem(
            place=Place(item.owner, item.application, item.label),
            usage=item.usage,
            key_id=key_id,
            parent=content_keys[item.content_key].parent,
            content_key=SealedObject(content_keys[item.content_key].public, content_keys[item.content_key].private),
            digest=keep(item.ciphertext),
            size=len(item.ciphertext),
        )
        for key_id, item in _items(package, drsk)
    )
    # One entry a place, whatever a package of another program may say; a key goes before an item.
    found: tuple[Entry, ...] = (*items, *keys)
    entries = {entry.place: entry for entry in found}.values()
    return Registry(
        tuple(e for e in entries if isinstance(e, RegisteredKey)),
        tuple(e for e in entries if isinstance(e, RegisteredItem)),
    ).rooted(drsk)


def _registered(child: ChildKey) -> RegisteredKey:
    place = Place(child.owner, child.application, child.label)
    return RegisteredKey(place, child.key_id, child.parent, SealedObject(child.public, child.private))


def _items(package: MigrationPackage, drsk: Name) -> Iterator[tuple[Name, Item]]:
    own: list[MigratingKey | ChildKey] = [key for key in package.migrating_keys if key.key_id == drsk]
    for key in (*own, *package.child_keys):
        for item in (*key.passwords, *key.data):
            yield key.key_id, item
