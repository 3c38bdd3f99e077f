"""Keys come back through a Migration Authority: only when its owner approved, and to the chip that was approved."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

import pytest

from lms.errors import (
    AlreadyReleased,
    ApprovalExpired,
    ApprovalPending,
    AuthorityUnreachable,
    Denied,
    GrantMismatch,
    HandleOccupied,
    NoAuthority,
    NotAuthorised,
    PackageStale,
    PlatformUnknown,
    UntrustedSigner,
)
from lms.model.authorities import Kind
from lms.model.keys import SRK_HANDLE
from lms.model.platform import Health
from lms.model.tpm import SealedObject
from lms.service.archive import archive
from lms.service.diagnosis import Reason
from lms.service.line import Chip, Whereabouts, open_line
from lms.service.setting import NO_SECRET
from lms.wire.exchange_v1 import RESTORE_APPROVAL
from lms.wire.signature import sign
from lms.wire.token_v1 import read_sheet
from tests.support.documents import NOW, make_owner
from tests.support.migration import ADDRESS, BOTH_MODES, Authority, Office, archived_at, restore
from tests.support.platform import PRECIOUS, Platform, no_authority


class Lost(NamedTuple):
    """A board that needs its keys, and who can give them back."""

    board: Platform
    office: Office
    authority: Authority
    child: SealedObject


@pytest.fixture(scope="module", **BOTH_MODES)
def world(tmp_path_factory, request):
    with archived_at(request.param, tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def lost(world, machines, tmp_path):
    """Its disk in a new board."""
    authority = world.authority.copied_to(tmp_path)
    board = machines(disk_of=world.machine.directory)
    board.now, board.connect = NOW, authority.connect
    yield Lost(board, authority.office, authority, world.child)
    authority.close()


def request_of(board):
    return board.store.load_pending().document


def test_the_keys_come_back_after_the_owners_approval(lost):
    board, office, authority, child = lost.board, lost.office, lost.authority, lost.child
    with pytest.raises(ApprovalPending):
        restore(board)
    office_answer = office.approve(request_of(board))
    restored = restore(board, approval=office_answer)
    assert restored.reason is Reason.OTHER_TPM
    assert restored.changed
    assert board.unseal(child) == PRECIOUS
    assert board.state.health is Health.AT_RISK
    assert [d.identity for d in board.state.destinations] == [authority.identity.destination]
    assert len(authority.packages(board.state.platform_id)) == 2
    assert board.store.load_pending() is None


def test_the_same_request_is_asked_again_and_again(lost):
    board = lost.board
    for _ in range(2):
        with pytest.raises(ApprovalPending):
            restore(board)
    document = request_of(board)
    with pytest.raises(ApprovalPending):
        restore(board)
    assert request_of(board) == document


def test_a_machine_without_its_package_is_approved_by_the_authoritys_annex(lost):
    board, office, authority, child = lost.board, lost.office, lost.authority, lost.child
    (board.state_directory / "package.xml").unlink()
    with pytest.raises(ApprovalPending):
        restore(board)
    annex = authority.annex(board.store.load_pending().request_id)
    restore(board, approval=office.approve(request_of(board), annex))
    assert board.unseal(child) == PRECIOUS


def test_a_denied_request_says_so(lost):
    board, authority = lost.board, lost.authority
    with pytest.raises(ApprovalPending):
        restore(board)
    denied = board.store.load_pending().request_id
    authority.station.delete(b"", denied.hex().upper())
    with pytest.raises(Denied):
        restore(board)
    with pytest.raises(ApprovalPending):  # whoever begins again asks anew
        restore(board)
    assert board.store.load_pending().request_id != denied
    restore(board, approval=lost.office.approve(request_of(board)))


def test_what_is_in_its_place_stays(lost):
    board, office = lost.board, lost.office
    with pytest.raises(ApprovalPending):
        restore(board)
    restore(board, approval=office.approve(request_of(board)))
    again = restore(board)
    assert (again.reason, again.changed) == (Reason.INTACT, False)


def test_the_old_board_is_retired_by_the_new_ones_archive(lost, world, machines):
    board, office, authority = lost.board, lost.office, lost.authority
    old = machines(disk_of=world.machine.directory, tpm_of=world.machine.directory)
    old.now, old.connect = NOW, authority.connect
    archive(old.setting)  # it may, until then
    with pytest.raises(ApprovalPending):
        restore(board)
    with pytest.raises(PackageStale):  # the board's own copy is older than what the old one archived since
        restore(board, approval=office.approve(request_of(board)))
    with pytest.raises(ApprovalPending):
        restore(board)
    annex = authority.annex(board.store.load_pending().request_id)
    restore(board, approval=office.approve(request_of(board), annex))
    assert board.state.sequence == 3
    with pytest.raises(NotAuthorised):
        archive(old.setting)


def test_a_board_that_dies_between_release_and_confirmation_leaves_the_keys_to_the_next(lost, machines):
    board, office, authority, child = lost.board, lost.office, lost.authority, lost.child
    with pytest.raises(ApprovalPending):
        restore(board)
    first = board.store.load_pending().request_id
    approval = office.approve(request_of(board))
    disk = board.directory
    next_board = machines(disk_of=disk)
    next_board.now, next_board.connect = NOW, authority.connect
    # Released, and dead before anything was imported.
    ek = board.tpm.endorsement_keys()[0]
    chip = Chip(ek, board.tpm.read_public(SRK_HANDLE), SRK_HANDLE)
    where = Whereabouts(authority.identity.ma_id, (ADDRESS,), office.world.owner, None)
    line = open_line(board.setting, where, board.state.platform_id, chip, NO_SECRET)
    line.upload(approval)
    line.download(Kind.RELEASED_PACKAGE, first.hex().upper())
    next_board.store.save_pending(None)
    with pytest.raises(ApprovalPending):
        restore(next_board)
    with pytest.raises(AlreadyReleased):
        restore(next_board, approval=office.approve(request_of(next_board)))
    restore(next_board, approval=office.approve(request_of(next_board), supersedes=(first,)))
    assert next_board.unseal(child) == PRECIOUS


def test_a_foreign_key_at_the_handle_stays_unless_it_is_named(lost):
    board, office, child = lost.board, lost.office, lost.child
    foreign = board.place_foreign_key()
    with pytest.raises(HandleOccupied):
        restore(board)
    with pytest.raises(ApprovalPending):
        restore(board, replace_foreign=foreign)
    restore(board, replace_foreign=foreign, approval=office.approve(request_of(board)))
    assert board.unseal(child) == PRECIOUS


def test_an_authority_out_of_reach_loses_nothing(lost):
    board, authority = lost.board, lost.authority
    board.connect = no_authority
    with pytest.raises(AuthorityUnreachable):
        restore(board)
    board.connect = authority.connect
    with pytest.raises(ApprovalPending):
        restore(board)


def test_an_approval_that_came_too_late_releases_nothing(lost):
    board, office, authority = lost.board, lost.office, lost.authority
    with pytest.raises(ApprovalPending):
        restore(board)
    approval = office.approve(request_of(board))
    authority.now = NOW + timedelta(days=8)
    with pytest.raises(ApprovalExpired):
        restore(board, approval=approval)


def test_a_key_that_no_authority_holds_is_said_to_be_so(machines):
    office = Office()
    platform = machines()
    platform.now = NOW
    platform.provision(office.token)
    platform.enroll()
    platform.evict()
    platform.lose_blob()
    with pytest.raises(NoAuthority):
        restore(platform)


def test_a_bare_machine_begins_with_the_recovery_sheet(lost, machines):
    board, office, authority, child = lost
    sheet, _ = read_sheet(board.state.enrolment.sheet)
    bare = machines()
    bare.now, bare.connect = NOW, authority.connect
    with pytest.raises(ApprovalPending):
        restore(bare, sheet=sheet, owner=office.world.owner)
    pending = bare.store.load_pending()
    annex = authority.annex(pending.request_id)
    restored = restore(bare, sheet=sheet, owner=office.world.owner, approval=office.approve(pending.document, annex))
    assert restored.reason is Reason.NO_STATE
    assert bare.unseal(child) == PRECIOUS
    assert bare.state.platform_id == board.state.platform_id
    assert [d.identity for d in bare.state.destinations] == [authority.identity.destination]


def test_a_bare_machine_without_a_sheet_is_told_what_it_lacks(machines):
    bare = machines()
    with pytest.raises(PlatformUnknown):
        restore(bare)


@pytest.mark.parametrize("bare", [True, False], ids=["bare", "with its state"])
def test_every_address_of_the_sheet_is_tried(lost, machines, bare):
    board, office, authority = lost.board, lost.office, lost.authority
    sheet, _ = read_sheet(board.state.enrolment.sheet)
    (known,) = sheet.authorities
    moved = replace(known, address="https://moved.example:8443")
    sheet = replace(sheet, authorities=(replace(known, address="https://gone.example:8443"), moved))
    tried = []

    def connect(address, ma_id, owner, trust_list):
        tried.append(address)
        if address != moved.address:
            raise AuthorityUnreachable("cannot reach it")
        return authority.connect(ADDRESS, ma_id, owner, trust_list)

    machine = machines() if bare else board
    machine.now, machine.connect = NOW, connect
    with pytest.raises(ApprovalPending):
        restore(machine, sheet=sheet, owner=office.world.owner)
    assert tried[-2:] == ["https://gone.example:8443", moved.address]
    assert tried[:-2] == ([] if bare else [ADDRESS])


def test_an_approval_that_is_of_no_use_here_is_not_sent(lost, machines):
    board, office = lost.board, lost.office
    other = machines(disk_of=board.directory)
    other.now, other.connect = NOW, board.connect
    for asking in (board, other):
        with pytest.raises(ApprovalPending):
            restore(asking)
    of_another = office.approve(request_of(other))
    approval, _ = RESTORE_APPROVAL.read(of_another)
    by_a_stranger = sign(RESTORE_APPROVAL.write(approval), make_owner("stranger").signer)
    board.connect = no_authority
    with pytest.raises(GrantMismatch):
        restore(board, approval=of_another)
    with pytest.raises(UntrustedSigner):
        restore(board, approval=by_a_stranger)
    with pytest.raises(AuthorityUnreachable):
        restore(board, approval=office.approve(request_of(board)))


def test_another_board_asks_anew(lost, machines):
    board, office, child = lost.board, lost.office, lost.child
    with pytest.raises(ApprovalPending):
        restore(board)
    first = board.store.load_pending().request_id
    third = machines(disk_of=board.directory)
    third.now, third.connect = NOW, board.connect
    with pytest.raises(ApprovalPending):
        restore(third)
    assert third.store.load_pending().request_id != first
    restore(third, approval=office.approve(request_of(third)))
    assert third.unseal(child) == PRECIOUS


def test_a_cleared_tpm_gets_its_keys_back(lost, world, machines):
    _, office, authority, child = lost
    cleared = machines(disk_of=world.machine.directory, tpm_of=world.machine.directory)
    cleared.now, cleared.connect = NOW, authority.connect
    cleared.clear()
    with pytest.raises(ApprovalPending):
        restore(cleared)
    restored = restore(cleared, approval=office.approve(request_of(cleared)))
    assert restored.reason is Reason.CLEARED_TPM
    assert cleared.unseal(child) == PRECIOUS
