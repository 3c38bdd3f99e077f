"""What is registered, in a package and back; its weight is never less than what it takes there."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lms.model.keys import Name
from lms.model.packages import ItemUsage
from lms.model.registered import Place, RegisteredItem, RegisteredKey, Registry
from lms.model.tpm import SealedObject
from lms.service.archive import build_package
from lms.service.packing import unpack
from lms.wire.package_v1 import write_package
from tests.support.platform import NOW

PACKAGE_ID = UUID(int=1)
OWNERS = ("system", "1000:anna", '4294967295:"' + "&" * 63)
_words = st.text(st.characters(exclude_categories=("C",), max_codepoint=0x2FFFF), max_size=255) | st.just('"' * 255)
_places = st.builds(Place, st.sampled_from(OWNERS), _words, _words)
_blobs = st.builds(SealedObject, st.binary(min_size=1, max_size=200), st.binary(min_size=1, max_size=200))


def _name(seed: int) -> Name:
    return Name(b"\0\x0b" + hashlib.sha256(bytes([seed])).digest())


class Files:
    """Ciphertexts by their digests."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}

    def keep(self, ciphertext: bytes) -> bytes:
        """Keep; its digest."""
        digest = hashlib.sha256(ciphertext).digest()
        self.kept[digest] = ciphertext
        return digest


@st.composite
def registries(draw, root: Name):
    """Keys below the DRSK or each other, items below any of them, and their ciphertexts."""
    places = draw(st.lists(_places, min_size=1, max_size=6, unique=True))
    names, registry, files = [root], Registry(), Files()
    for number, place in enumerate(places):
        above = draw(st.sampled_from(names))
        if draw(st.booleans()):
            entry = RegisteredKey(place, _name(number), above, draw(_blobs))
            names.append(entry.name)
        else:
            ciphertext = draw(st.binary(min_size=1, max_size=500))
            usage = draw(st.sampled_from(ItemUsage))
            entry = RegisteredItem(place, usage, above, above, draw(_blobs), files.keep(ciphertext), len(ciphertext))
        registry = registry.with_entry(entry)
    return registry, files


@pytest.fixture
def state(archived):
    """A state with one destination and nothing registered."""
    return archived.state


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_registry_comes_back_and_weighs_at_least_what_it_takes(state, data):
    drsk = state.require_drsk()
    registry, files = data.draw(registries(drsk.name))

    def package(of):
        return build_package(replace(state, registry=of), "host", NOW, PACKAGE_ID, files.kept.__getitem__)

    back = unpack(package(registry), drsk.name, Files().keep, drsk.probe)
    assert set(back.keys) == set(registry.keys)
    assert set(back.items) == set(registry.items)
    taken = len(write_package(package(registry))) - len(write_package(package(Registry())))
    assert taken <= sum(entry.weight for entry in registry.entries)


def test_what_hangs_below_nothing_is_left_out(state):
    drsk, blob = state.require_drsk().name, SealedObject(b"x", b"y")
    rooted = RegisteredKey(Place("system", "a", "1"), _name(1), drsk, blob)
    circle = [
        RegisteredKey(Place("system", "a", "2"), _name(2), _name(3), blob),
        RegisteredKey(Place("system", "a", "3"), _name(3), _name(2), blob),
    ]
    item = RegisteredItem(Place("system", "a", "4"), ItemUsage.DATA, drsk, _name(9), blob, bytes(32), 1)
    good = replace(item, place=Place("system", "a", "5"), parent=rooted.name)
    registry = Registry((rooted, *circle), (item, good))
    assert registry.rooted(drsk) == Registry((rooted,), (good,))


def test_the_newer_of_two_registries_goes_first_and_loses_nothing():
    blob, root = SealedObject(b"x", b"y"), _name(0)
    old = RegisteredKey(Place("system", "a", "1"), _name(1), root, blob)
    new = replace(old, name=_name(2))
    only_old = replace(old, place=Place("system", "a", "2"), name=_name(3))
    assert Registry((new,)).over(Registry((old, only_old))) == Registry((new, only_old))
