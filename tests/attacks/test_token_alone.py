"""The token with its password, and every package, but no authority: a key without an offline branch stays shut.

The control is what is missing: the authority passes the outer wrap on, and the same keys of the token open it.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from lms.errors import ApprovalPending, BlobRefused, WrongDestination
from lms.model.tpm import SealedObject
from tests.support.documents import NOW, PASSWORD, signed_token
from tests.support.migration import BOTH_MODES, Authority, Office, archived_at, restore
from tests.support.operator import Loot, SoftwareKey, loot_of
from tests.support.platform import PRECIOUS, Platform, Token


class Scene(NamedTuple):
    """A machine whose only destination is an authority, switched off, and what it left there."""

    machine: Platform
    office: Office
    authority: Authority
    loot: Loot
    child: SealedObject


@pytest.fixture(scope="module", **BOTH_MODES)
def scene(tmp_path_factory, request):
    with archived_at(request.param, tmp_path_factory.mktemp("scene")) as (machine, office, authority, child):
        with authority.vault.transaction() as transaction:
            loot = loot_of(transaction, machine.state.platform_id)
        yield Scene(machine, office, authority, loot, child)


def test_no_key_of_the_token_opens_what_the_authority_holds(scene):
    loot, keys = scene.loot, scene.office.world.keys
    inner_key = loot.inner_key(scene.office.world)  # this half the token has
    for key in (keys.ca, keys.approval, keys.recovery):
        with pytest.raises(BlobRefused):
            SoftwareKey(key).opens(loot, loot.blob.outer, inner_key)
    ours = SoftwareKey(keys.recovery)
    assert ours.opens(
        loot, scene.authority.setting.key.rewrap(loot.key.key_id, loot.blob.outer, ours.public), inner_key
    )


def test_with_the_token_and_a_package_nothing_is_restored(scene, machines):
    world, package = scene.office.world, scene.machine.packages[-1].read_bytes()
    token = Token(signed_token(world), world.owner, PASSWORD.reveal())
    board = machines(disk_of=scene.machine.directory)
    board.now, before = NOW, board.state
    with pytest.raises(WrongDestination):
        board.restore(token, package)
    assert (board.key_at(), board.state) == (None, before)
    board.connect = scene.authority.connect
    with pytest.raises(ApprovalPending):
        restore(board)
    assert restore(board, approval=scene.office.approve(board.store.load_pending().document)).changed
    assert board.unseal(scene.child) == PRECIOUS
