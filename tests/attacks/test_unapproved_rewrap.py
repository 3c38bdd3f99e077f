"""What an authority passes on without approval opens in the TPM that had the key, and is of no use to another one.

The attackers have the machine's disk, a TPM of their own, the owner's approval after its time, or the authority. The
positive control is the machine itself, whose key was taken from its handle and whose blob is lost.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

import pytest

from lms.errors import ApprovalExpired, ApprovalPending, BlobRefused, LmsError, NotAtAuthority, NotAuthorised
from lms.model.authorities import Kind
from lms.model.keys import SRK_HANDLE
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.service.line import Chip, Whereabouts, open_line
from lms.service.setting import NO_SECRET
from lms.wire.exchange_v1 import REWRAPPED_PACKAGE
from lms.wire.signature import sign
from lms.wire.tpm.public import name_of
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC
from tests.attacks.test_lying_authority import signer_of
from tests.support.documents import NOW
from tests.support.migration import ADDRESS, BOTH_MODES, Authority, Line, Office, archived_at, enrolled, restore
from tests.support.platform import OWNER_AUTH, PRECIOUS, Platform


class Scene(NamedTuple):
    """A machine that needs its own key, and a board with a copy of its disk; the key's one child."""

    machine: Platform
    board: Platform
    office: Office
    authority: Authority
    child: SealedObject


@pytest.fixture(scope="module", **BOTH_MODES)
def world(tmp_path_factory, request):
    """Two machines that have archived, switched off; neither state has the blob of its key."""
    directory = tmp_path_factory.mktemp("world")
    with archived_at(request.param, directory) as victim:
        with Platform(directory / "other") as other:
            enrolled(other, victim.office, victim.authority)
        for machine in (victim.machine, other):
            machine.lose_blob()
        yield victim, other.directory


@pytest.fixture
def scene(world, machines, tmp_path):
    victim, _ = world
    authority, disk = victim.authority.copied_to(tmp_path), victim.machine.directory
    machine, board = machines(disk_of=disk, tpm_of=disk), machines(disk_of=disk)
    for one in (machine, board):
        one.now, one.connect = NOW, authority.connect
    machine.evict()
    board.set_owner_auth()
    yield Scene(machine, board, authority.office, authority, victim.child)
    authority.close()


def rewrapped_for(chip: Platform, scene: Scene, of: Platform | None = None) -> bytes:
    """What the authority passes on to a chip of its own package, or of another machine's."""
    ek = chip.tpm.endorsement_keys()[0]
    chip.tpm.trust_salt(name_of(ek.public))
    srk = chip.tpm.ensure_srk(SRK_HANDLE, chip.state.algorithm, OWNER_AUTH)
    where = Whereabouts(scene.authority.identity.ma_id, (ADDRESS,), scene.office.world.owner, None)
    line = open_line(chip.setting, where, chip.state.platform_id, Chip(ek, srk, SRK_HANDLE), NO_SECRET)
    (package,) = scene.authority.packages((of or chip).state.platform_id)
    return line.download(Kind.REWRAPPED_PACKAGE, str(package.package_id))


def the_machine_itself_gets_it(scene: Scene) -> None:
    scene.machine.connect = scene.authority.connect
    assert restore(scene.machine).changed
    assert scene.machine.unseal(scene.child) == PRECIOUS


def test_a_copy_of_the_disk_in_another_board_waits_for_the_owner(scene):
    with pytest.raises(NotAuthorised):
        rewrapped_for(scene.board, scene)
    with pytest.raises(ApprovalPending):
        restore(scene.board)
    assert scene.board.key_at() is None
    the_machine_itself_gets_it(scene)


def test_a_state_that_names_the_boards_own_pair_helps_nobody(scene):
    board = scene.board
    with pytest.raises(NotAuthorised):
        rewrapped_for(board, scene)
    ek, srk = (name_of(key) for key in (board.tpm.endorsement_keys()[0].public, board.tpm.read_public(SRK_HANDLE)))
    board.store.save(replace(board.state, ek_name=ek, srk_name=srk))
    with pytest.raises(ApprovalPending):
        restore(board)
    assert board.key_at() is None
    the_machine_itself_gets_it(scene)


def test_an_authority_that_helps_the_board_gives_it_a_wrap_and_no_key(scene):
    """Even with the outer wrap below its own SRK: the inner key is sealed below that of the machine."""
    board, authority = scene.board, scene.authority
    state, srk = board.state, board.tpm.ensure_srk(SRK_HANDLE, board.state.algorithm, OWNER_AUTH)
    (destination,), drsk = state.destinations, state.require_drsk()
    outer = authority.setting.key.rewrap(drsk.name, destination.outer, srk)
    with pytest.raises(BlobRefused):
        board.tpm.unseal_as_owner(SRK_HANDLE, destination.kept_inner_key, OWNER_AUTH)
    with pytest.raises(LmsError):
        board.tpm.import_key(SRK_HANDLE, drsk.key.public, outer, AES_128_CFB_SYMMETRIC, Secret(bytes(16)))
    machine = scene.machine
    inner = machine.tpm.unseal_as_owner(SRK_HANDLE, destination.kept_inner_key, OWNER_AUTH)
    assert board.tpm.import_key(SRK_HANDLE, drsk.key.public, outer, AES_128_CFB_SYMMETRIC, inner).private
    the_machine_itself_gets_it(scene)


def test_an_approval_after_its_time_is_not_made_good(scene):
    """The trust list names the board since then, and its file has the inner key: the outer wrap stays away."""
    board, office, authority = scene.board, scene.office, scene.authority
    with pytest.raises(ApprovalPending):
        restore(board)
    approval = office.approve(board.store.load_pending().document)
    authority.station.upload(b"", office.trust_list)
    authority.now = NOW + timedelta(days=8)
    with pytest.raises(NotAuthorised):
        rewrapped_for(board, scene)
    with pytest.raises(ApprovalExpired):
        restore(board, approval=approval)
    assert board.key_at() is None
    the_machine_itself_gets_it(scene)
    authority.now = NOW
    assert restore(board, approval=approval).changed  # in its time it was good


def test_who_was_replaced_gets_nothing_any_more(scene):
    board, machine, office = scene.board, scene.machine, scene.office
    assert rewrapped_for(machine, scene)
    with pytest.raises(ApprovalPending):
        restore(board)
    restore(board, approval=office.approve(board.store.load_pending().document))
    with pytest.raises(ApprovalPending):
        restore(machine)
    assert machine.key_at() is None
    board.evict()
    assert restore(board).changed  # it is the machine now


def test_another_machine_of_the_owner_gets_nothing_of_this_one(scene, world, machines):
    _, disk = world
    other = machines(disk_of=disk, tpm_of=disk)
    other.now, other.connect = NOW, scene.authority.connect
    assert rewrapped_for(other, scene)
    with pytest.raises(NotAtAuthority):
        rewrapped_for(other, scene, of=scene.machine)


class LyingLine(Line):
    """The line to an authority that passes on what another machine gets."""

    answer: bytes

    def download(self, session: bytes, kind: Kind, id: str, at_most: int | None = None) -> bytes:
        return self.answer if kind is Kind.REWRAPPED_PACKAGE else super().download(session, kind, id)


@pytest.mark.parametrize("lie", ["for another machine", "with another key's wrap", "by another authority"])
def test_a_lie_puts_nothing_into_place(scene, world, machines, lie):
    _, disk = world
    other = machines(disk_of=disk, tpm_of=disk)
    other.now, other.connect = NOW, scene.authority.connect
    theirs, _ = REWRAPPED_PACKAGE.read(rewrapped_for(other, scene))
    ours, _ = REWRAPPED_PACKAGE.read(rewrapped_for(scene.machine, scene))
    honest, key_id = signer_of(scene.authority), scene.machine.state.require_drsk().name
    crossed = replace(theirs, blobs=(replace(theirs.blobs[0], key_id=key_id),))
    value, signer = {
        "for another machine": (theirs, honest),
        "with another key's wrap": (crossed, honest),
        "by another authority": (ours, scene.office.world.signer),
    }[lie]

    def connect(*arguments):
        line = LyingLine.__new__(LyingLine)
        line.__dict__.update(scene.authority.connect(*arguments).__dict__)
        line.answer = sign(REWRAPPED_PACKAGE.write(value), signer)
        return line

    scene.machine.connect = connect
    with pytest.raises(ApprovalPending):
        restore(scene.machine)
    assert scene.machine.key_at() is None
    the_machine_itself_gets_it(scene)
