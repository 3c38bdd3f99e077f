"""A key with an offline branch: a copy of its package opens nothing, and neither does the token without its password.

The control is both together, at the same chip of the thief's: whoever has package, token and password has the keys.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from tpm2_pytss.TSS2_Exception import TSS2_Exception

from lms.adapters.tpm import TpmDevice
from lms.errors import (
    BlobRefused,
    InnerKeyMismatch,
    KeyNotFound,
    MalformedStructure,
    WrongDestination,
    WrongPassword,
)
from lms.model.keys import SRK_HANDLE, Algorithm
from lms.model.policies import BranchKind
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.opener import open_token
from lms.service.setting import NO_SECRET
from lms.wire.package_v1 import read_package
from lms.wire.tpm.credential import open_credential
from lms.wire.tpm.wrap import rewrap
from tests.adapters.tpm.bench import plain_esapi
from tests.support.documents import NOW, PASSWORD, OwnerWorld, make_owner, signed_token
from tests.support.operator import GUESSES, Loot, SoftwareKey, Thief
from tests.support.platform import PRECIOUS, Platform, Token
from tests.support.swtpm import SoftwareTpm


class Scene(NamedTuple):
    """The owner of a machine that is gone, its package, and what hung below its key."""

    world: OwnerWorld
    token: Token
    package: bytes
    loot: Loot
    child: SealedObject


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    world = make_owner()
    token = Token(signed_token(world), world.owner, PASSWORD.reveal())
    with Platform(tmp_path_factory.mktemp("machine")) as machine:
        machine.now = NOW
        machine.provision(token)
        machine.enroll()
        machine.archive()
        child, package = machine.seal(), machine.packages[-1].read_bytes()
    content = read_package(package).content
    (key,) = content.migrating_keys
    (blob,) = key.blobs
    return Scene(world, token, package, Loot(content, key, blob), child)


@pytest.fixture
def thief(scene, tmp_path):
    """At a TPM of his own, with the package and what hung below its key; and his SRK."""
    machine = SoftwareTpm(tmp_path / "own").start()
    with TpmDevice(machine.tcti) as tpm:
        srk = tpm.ensure_srk(SRK_HANDLE, Algorithm.ECC_P256, NO_SECRET)
    with plain_esapi(machine.tcti) as esapi:
        yield Thief(esapi, scene.loot, scene.child), srk
    machine.remove()


def test_the_key_may_leave_without_an_authority(scene):
    kinds = {branch.kind for branch in scene.loot.key.policy.branches}
    assert BranchKind.OFFLINE in kinds


def test_the_package_gives_a_tpm_of_the_thiefs_nothing_to_use(scene, thief):
    own, srk = thief
    with pytest.raises(TSS2_Exception):
        own.unsealed(own.srk, scene.child)
    for guess in GUESSES:
        with pytest.raises(TSS2_Exception):
            own.imported(own.srk, scene.loot.blob.outer, guess)
    recovery, name = scene.world.keys.recovery, scene.loot.key.key_id
    outer = rewrap(recovery, scene.world.owner.recovery_key, srk, name, scene.loot.blob.outer)
    for guess in GUESSES:
        with pytest.raises(TSS2_Exception):
            own.imported(own.srk, outer, guess)
    assert own.imported(own.srk, outer, scene.loot.inner_key(scene.world)) == PRECIOUS.reveal()


def test_the_package_gives_a_key_in_software_nothing_to_use(scene):
    loot, own = scene.loot, SoftwareKey()
    (inner,) = loot.blob.inner_keys
    with pytest.raises(InnerKeyMismatch):
        open_credential(own.private, own.public, scene.world.owner.recovery_key_name, inner.credential)
    inner_key = loot.inner_key(scene.world)
    with pytest.raises(BlobRefused):
        own.opens(loot, loot.blob.outer, inner_key)
    owner = SoftwareKey(scene.world.keys.recovery)
    for guess in GUESSES:
        with pytest.raises((BlobRefused, MalformedStructure)):
            owner.opens(loot, loot.blob.outer, guess)
    assert owner.opens(loot, loot.blob.outer, inner_key)


@pytest.mark.slow
def test_a_token_opens_by_nothing_that_is_written_in_it(scene):
    document, owner = scene.token.document, scene.world.owner
    for guess in (b"", owner.token_id.encode(), scene.token.fingerprint.encode(), PASSWORD.reveal().swapcase()):
        with pytest.raises(WrongPassword):
            open_token(document, Secret(guess))
    opened, keys = open_token(document, PASSWORD)
    assert opened == owner
    assert keys.recovery.private_numbers() == scene.world.keys.recovery.private_numbers()


def test_only_package_and_token_and_password_bring_the_keys_to_another_machine(scene, stranger, machines):
    board, named = machines(), scene.loot.key.key_id.digits
    board.now = NOW
    others = Token(stranger.document, scene.token.owner, stranger.password)
    for token, password, error in (
        (stranger, None, WrongDestination),
        (others, None, WrongDestination),
        (scene.token, b"a guessed password", WrongPassword),
    ):
        with pytest.raises(error):
            board.restore(token, scene.package, password, confirmed_key=named)
        assert (board.key_at(), board.store.load()) == (None, None)
    with pytest.raises(KeyNotFound):
        board.unseal(scene.child)
    assert board.restore(scene.token, scene.package, confirmed_key=named).changed
    assert board.unseal(scene.child) == PRECIOUS
