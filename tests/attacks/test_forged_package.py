"""Who can write to an archive forges a package: a genuine blob, an absurd Sequence, entries of his own, his own key.

Anybody may issue the certificate of an unapproved package to himself, and the blob in it opens. On a machine that
knows its own signing key, only that one's word goes without the owner's. The positive control is a package of its own
that is newer than its state, as after an old disk image.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lms.errors import UnconfirmedPackage
from lms.model.packages import ItemUsage, MigrationPackage
from lms.model.registered import ROOT
from lms.model.secret import Secret
from lms.model.trust import Identity, Role
from lms.service.register import Where, register_item
from lms.service.setting import NO_SECRET
from lms.wire.certificates import self_issue
from lms.wire.package_v1 import read_package, write_package
from lms.wire.signature import sign
from tests.support.documents import SoftwareSigner, uuid

PLACE = Where("test", "a password")


def forged(genuine: bytes, now, **changes) -> bytes:
    """A package for the same platform and key, signed by somebody."""
    content: MigrationPackage = read_package(genuine).content
    key = ec.generate_private_key(ec.SECP256R1())
    identity = Identity(Role.PLATFORM, content.header.source.platform_id)
    signer = SoftwareSigner(key, (self_issue(identity, key, now),))
    return sign(write_package(replace(content, header=replace(content.header, **changes))), signer)


@pytest.fixture
def lost(archived, machines):
    """The disk of a machine in a new board, and its two packages; the newer one holds an item."""
    before = archived.state
    register_item(archived.setting, ROOT, PLACE, ItemUsage.PASSWORD, Secret(b"precious"), NO_SECRET)
    after = archived.archive()
    board = machines(disk_of=archived.directory)
    board.now = archived.now
    return board, before, after, [path.read_bytes() for path in archived.packages]


def test_a_forged_package_is_refused_where_the_machine_knows_its_own(lost, token):
    board, _, state, (_, newest) = lost
    with pytest.raises(UnconfirmedPackage):
        board.restore(token, forged(newest, board.now, sequence=10**9))
    assert board.state == state
    assert board.key_at() is None
    board.restore(token, newest)
    assert board.key_at() == state.drsk.name
    assert (board.state.sequence, board.state.registry) == (3, state.registry)


def test_its_own_newer_package_is_believed(lost, token):
    board, old, state, (_, newest) = lost
    board.store.save(old)
    board.restore(token, newest)
    assert (board.state.sequence, board.state.registry) == (3, state.registry)


def test_a_forged_package_that_is_no_newer_brings_nothing_but_the_key(lost, token):
    board, _, state, (_, newest) = lost
    board.restore(token, forged(newest, board.now, package_id=uuid("forged")))
    assert board.key_at() == state.drsk.name
    assert (board.state.sequence, board.state.registry) == (3, state.registry)


def test_the_owner_may_take_it_all_the_same(lost, token):
    board, _, state, (_, newest) = lost
    board.restore(token, forged(newest, board.now, sequence=7), confirmed_key=state.drsk.name.digits)
    assert board.key_at() == state.drsk.name
