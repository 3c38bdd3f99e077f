"""What is let out, to whom and how often (PROTOCOL §3, §6): every way that a release can go."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

import pytest

from lms.errors import (
    AlreadyReleased,
    ApprovalExpired,
    ApprovalPending,
    Denied,
    NotAtAuthority,
    NotAuthorised,
    OwnerMismatch,
    UntrustedSigner,
    WrongDestination,
)
from lms.model.authorities import Kind
from lms.model.exchange import Entry
from lms.wire.exchange_v1 import RELEASED_PACKAGE, RESTORE_ANNEX, RESTORE_APPROVAL
from lms.wire.restoration import read_released_package
from lms.wire.signature import sign
from lms.wire.tpm.wrap import unwrap_outer
from tests.support.asking import House, id_of, pair_of
from tests.support.documents import Platform, make_owner, make_platform, uuid

BOARD, NEXT_BOARD = make_platform("board"), make_platform("next board")


class Case(NamedTuple):
    """A platform with packages at an authority, and a board that asks for its keys."""

    house: House
    platform: Platform

    def ask(self, board=BOARD, nonce=b"sixteen of bytes") -> bytes:
        request = self.house.restore_request(self.platform, board, nonce)
        self.at(board).upload(request)
        return request

    def at(self, board):
        return self.house.asker(board, self.platform.id)

    def approve(self, request, **changes) -> bytes:
        approval = self.house.approval(self.platform, request, **changes)
        self.house.station().upload(approval)
        return approval

    def fetch(self, request, board=BOARD) -> bytes:
        return self.at(board).download(Kind.RELEASED_PACKAGE, id_of(request))

    def archive(self, sequence, board=BOARD):
        return self.at(board).upload(self.house.package(self.platform, sequence, chip=board))

    def altered(self, approval, **changes) -> bytes:
        """The owner's word, otherwise put."""
        value, _ = RESTORE_APPROVAL.read(approval)
        return sign(RESTORE_APPROVAL.write(replace(value, **changes)), self.platform.world.signer)


@pytest.fixture
def case(house, platform):
    house.asker(platform).upload(house.package(platform, 1))
    return Case(house, platform)


# --- whether ---


def test_what_is_approved_is_released_below_the_new_srk(case):
    request = case.ask()
    case.approve(request)
    world = case.platform.world
    released = read_released_package(case.fetch(request), case.house.identity.ma_id, world.owner, case.house.list_of())
    (blob,) = released.blobs
    assert blob.key_id == case.platform.drsk.name
    # The outer wrap is the board's to open; the inner one is still on.
    inner = unwrap_outer(BOARD.srk.private, BOARD.srk.public, blob.key_id, blob.outer)
    assert case.platform.drsk.sensitive.sensitive not in inner
    assert released.package == case.house.asker(case.platform).download(
        Kind.PACKAGE, str(case.house.kept(case.platform)[0].package_id)
    )


def test_a_request_that_nobody_answered_waits(case):
    request = case.ask()
    with pytest.raises(ApprovalPending) as caught:
        case.fetch(request)
    assert caught.value.request_id.hex().upper() == id_of(request)
    assert case.house.releases(case.platform) == ()


def test_an_approval_goes_to_no_other_tpm(case):
    request = case.ask()
    case.approve(request)
    for other in (NEXT_BOARD, case.platform):
        with pytest.raises(NotAtAuthority):
            case.fetch(request, other)
    assert case.fetch(request)


def test_an_enrolment_is_no_restore(case):
    request = case.house.enrolment_request(BOARD)
    receipt = case.house.asker(BOARD).upload(request)
    with pytest.raises(NotAtAuthority):
        case.house.asker(BOARD).download(Kind.RELEASED_PACKAGE, receipt.id)
    with pytest.raises(ApprovalPending):
        case.house.asker(BOARD).download(Kind.ENROLMENT_GRANT, receipt.id)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_denial_stays_though_the_approval_is_brought_again(case, when):
    request = case.ask()
    approval = case.house.approval(case.platform, request)
    if when == "after":
        case.house.station().upload(approval)
    case.house.station().delete(id_of(request))
    with pytest.raises(Denied):
        case.at(BOARD).upload(approval)
    case.at(BOARD).upload(request)
    with pytest.raises(Denied):
        case.fetch(request)
    anew = case.ask(nonce=bytes(16))
    case.approve(anew)
    assert case.fetch(anew)


def test_an_approval_is_taken_within_its_time_only(case):
    approval = case.house.approval(case.platform, case.ask())
    value, _ = RESTORE_APPROVAL.read(approval)
    for when in (value.not_after, value.not_before - timedelta(seconds=1)):
        case.house.now = when
        with pytest.raises(ApprovalExpired):
            case.house.station().upload(approval)
    case.house.now = value.not_before
    assert case.house.station().upload(approval).changed


def test_a_release_begins_within_the_approvals_time_and_is_repeated_afterwards_too(case):
    request = case.ask()
    case.approve(request)
    case.house.later(days=7)
    with pytest.raises(ApprovalExpired):
        case.fetch(request)
    assert case.house.releases(case.platform) == ()
    case.house.later(days=-1)
    first = RELEASED_PACKAGE.read(case.fetch(request))[0]
    case.house.later(days=30)
    assert RELEASED_PACKAGE.read(case.fetch(request))[0].package == first.package


def test_an_approval_for_a_request_or_a_package_that_is_not_here_is_not_taken(case):
    approval = case.house.approval(case.platform, case.ask())
    for changes in ({"request_id": bytes(32)}, {"package_id": uuid("another package")}):
        with pytest.raises(NotAtAuthority):
            case.house.station().upload(case.altered(approval, **changes))
    assert case.house.station().upload(approval).changed


def test_a_package_that_went_meanwhile_is_not_released(case):
    for sequence in (2, 3):
        case.house.later(days=1)
        case.archive(sequence, case.platform)
    request = case.ask()
    second = next(p for p in case.house.kept(case.platform) if p.sequence == 2)
    approval = case.altered(case.house.approval(case.platform, request), package_id=second.package_id)
    approval = case.altered(approval, not_after=case.house.now + timedelta(days=300))
    case.house.station().upload(approval)
    case.house.asker(case.platform).delete(str(second.package_id))
    case.house.later(days=91)
    case.archive(4, case.platform)
    with pytest.raises(NotAtAuthority):
        case.fetch(request)
    assert case.house.releases(case.platform) == ()


@pytest.mark.parametrize("entries", ["none", "another key", "another authority", "one key too many"])
def test_an_approval_whose_entries_do_not_fit_releases_nothing(case, entries):
    request = case.ask()
    approval = case.house.approval(case.platform, request)
    (entry,) = RESTORE_APPROVAL.read(approval)[0].entries
    odd = {
        "none": (),
        "another key": (replace(entry, key_id=BOARD.drsk.name),),
        "another authority": (replace(entry, destination_id=str(uuid("elsewhere"))),),
        "one key too many": (entry, Entry(BOARD.drsk.name, entry.destination_id, entry.inner_keys)),
    }[entries]
    if odd:
        case.house.station().upload(case.altered(approval, entries=odd))
        with pytest.raises(WrongDestination):
            case.fetch(request)
    assert case.house.releases(case.platform) == ()
    case.house.station().upload(approval)
    assert case.fetch(request)


def test_an_entry_for_another_authority_beside_ours_is_that_ones(case):
    request = case.ask()
    approval = case.house.approval(case.platform, request)
    (entry,) = RESTORE_APPROVAL.read(approval)[0].entries
    both = (entry, replace(entry, destination_id=str(uuid("elsewhere"))))
    case.house.station().upload(case.altered(approval, entries=both))
    assert len(RELEASED_PACKAGE.read(case.fetch(request))[0].blobs) == 1


@pytest.mark.parametrize("taken_back", ["the platform", "its TPM"])
def test_what_the_owner_took_back_after_the_approval_is_not_released(case, taken_back):
    request = case.ask()
    case.approve(request)
    if taken_back == "the platform":
        case.house.withdraw(case.platform.identity)
    else:
        case.house.enrol(case.platform)
    with pytest.raises((NotAuthorised, ApprovalExpired)):
        case.fetch(request)


# --- how often ---


def test_a_release_is_repeated_until_its_board_has_archived(case):
    request = case.ask()
    case.approve(request)
    for _ in range(3):
        assert case.fetch(request)
    assert len(case.house.releases(case.platform)) == 1
    case.house.later(seconds=1)
    case.archive(2)
    (release,) = case.house.releases(case.platform)
    assert (release.confirmed, release.ended) == (True, False)
    with pytest.raises(AlreadyReleased):
        case.fetch(request)


def test_the_old_tpm_archives_until_the_new_one_has(case):
    request = case.ask()
    case.approve(request)
    case.fetch(request)
    assert case.archive(2, case.platform).changed
    assert not case.house.releases(case.platform)[0].confirmed
    case.archive(3)
    with pytest.raises(NotAuthorised):
        case.archive(4, case.platform)
    assert case.archive(4).changed


def test_where_the_old_tpm_was_stolen_it_ends_at_once(case):
    request = case.ask()
    case.approve(request, stolen=True)
    with pytest.raises(NotAuthorised):
        case.archive(2, case.platform)
    assert case.fetch(request)
    assert case.house.releases(case.platform)[0].stolen
    assert case.archive(2).changed


def test_the_same_tpm_asks_anew_before_it_has_archived(case):
    first = case.ask()
    case.approve(first)
    case.fetch(first)
    case.house.later(seconds=1)
    second = case.ask(nonce=bytes(16))
    case.approve(second)
    assert case.fetch(second)
    assert [r.ended for r in case.house.releases(case.platform)] == [False, True]
    with pytest.raises(AlreadyReleased):
        case.fetch(first)


def without_superseding(case, request):
    """As an approver that knows of no release before."""
    approval = case.house.approval(case.platform, request)
    case.house.station().upload(case.altered(approval, supersedes=()))


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_second_tpm_gets_nothing_unless_the_first_release_is_superseded(case, confirmed):
    first = case.ask()
    case.approve(first)
    case.fetch(first)
    case.house.later(seconds=1)
    if confirmed:
        case.archive(2)
    second = case.ask(NEXT_BOARD)
    without_superseding(case, second)
    with pytest.raises(AlreadyReleased):
        case.fetch(second, NEXT_BOARD)
    case.approve(second)  # the annex names the earlier one
    case.house.later(seconds=1)
    assert case.fetch(second, NEXT_BOARD)
    with pytest.raises(AlreadyReleased):
        case.fetch(first)


def test_after_it_has_archived_the_same_tpm_needs_superseding_too(case):
    first = case.ask()
    case.approve(first)
    case.fetch(first)
    case.house.later(seconds=1)
    case.archive(2)
    second = case.ask(nonce=bytes(16))
    without_superseding(case, second)
    with pytest.raises(AlreadyReleased):
        case.fetch(second)
    case.approve(second)
    assert case.fetch(second)


def test_a_tpm_whose_release_was_superseded_before_it_had_archived_never_acts_for_the_platform(case):
    first = case.ask()
    case.approve(first)
    case.fetch(first)
    case.house.later(seconds=1)
    second = case.ask(NEXT_BOARD)
    case.approve(second)
    case.fetch(second, NEXT_BOARD)
    with pytest.raises(NotAuthorised):
        case.archive(2)
    case.archive(2, NEXT_BOARD)
    assert [r.confirmed for r in case.house.releases(case.platform)] == [True, False]
    # Approved once more, and superseding, it does.
    case.house.later(seconds=1)
    third = case.ask(nonce=bytes(16))
    case.approve(third)
    case.fetch(third)
    assert case.archive(3).changed
    with pytest.raises(NotAuthorised):
        case.archive(4, NEXT_BOARD)


def test_a_retired_tpm_asks_as_a_stranger_does(case):
    request = case.ask()
    case.approve(request)
    case.fetch(request)
    case.archive(2)
    old = case.house.asker(case.platform)
    assert (old.query().packages, old.query().trust_list_number) == ((), 0)
    with pytest.raises(NotAuthorised):
        old.download(Kind.TRUST_LIST, "")
    assert old.upload(case.house.restore_request(case.platform, case.platform)).changed


# --- annexes ---


def test_an_annex_names_the_newest_package_and_every_release_that_stands(case):
    first = case.ask()
    case.approve(first)
    case.fetch(first)
    case.archive(2)
    second = case.ask(NEXT_BOARD)
    annex, _ = RESTORE_ANNEX.read(case.house.annex(case.platform, bytes.fromhex(id_of(second))))
    assert (annex.sequence, annex.stored) == (2, case.house.now)
    assert annex.earlier_releases == (bytes.fromhex(id_of(first)),)
    assert annex.digest == case.house.kept(case.platform)[0].digest


# --- an authority of two owners ---


@pytest.fixture
def neighbours(shared):
    """Two owners, one of whom says that the other's platform is his own, on a chip that he has."""
    platform = shared.enrol(make_platform())
    shared.asker(platform).upload(shared.package(platform, 1))
    shared.later(days=1)
    same_id = shared.enrol(Platform(make_owner("neighbour"), platform.label), NEXT_BOARD)
    return shared, platform, same_id


def test_an_owner_sees_nothing_of_anothers_platform_by_naming_it(neighbours):
    shared, platform, _ = neighbours
    theirs = shared.asker(NEXT_BOARD, platform.id)
    (package,) = shared.kept(platform)
    assert theirs.query().packages == ()
    for act in (theirs.delete, lambda id: theirs.download(Kind.PACKAGE, id)):
        with pytest.raises(NotAtAuthority):
            act(str(package.package_id))
    assert len(shared.asker(platform).query().packages) == 1


def test_an_owner_takes_no_number_and_no_room_from_anothers_platform(neighbours):
    shared, platform, same_id = neighbours
    theirs = shared.asker(NEXT_BOARD, platform.id)
    for sequence in (2, 3):
        assert theirs.upload(shared.package(same_id, sequence, chip=NEXT_BOARD)).changed
    assert shared.asker(platform).upload(shared.package(platform, 2)).changed
    assert shared.sequences(platform) == [1, 2]
    assert shared.sequences(same_id) == [2, 3]


def test_an_owner_retires_nobody_of_anothers_platform(neighbours):
    shared, platform, same_id = neighbours
    shared.asker(NEXT_BOARD, platform.id).upload(shared.package(same_id, 1, chip=NEXT_BOARD))
    request = shared.restore_request(platform, BOARD)
    shared.asker(BOARD, platform.id).upload(request)
    # Whose queue? That of the owner whose package was here first.
    assert len(shared.station(platform.world).query().requests) == 1
    assert shared.station(same_id.world).query().requests == ()
    approval = shared.approval(platform, request)
    value, _ = RESTORE_APPROVAL.read(approval)
    own = {"trust_list": shared.signed_list(same_id.world), "sheet": shared.sheet(same_id)}
    forged = replace(value, **own, stolen=True)
    with pytest.raises(NotAtAuthority):
        shared.station(same_id.world).upload(sign(RESTORE_APPROVAL.write(forged), same_id.world.signer))
    assert shared.asker(platform).upload(shared.package(platform, 2)).changed
    shared.station(platform.world).upload(approval)
    assert shared.asker(BOARD, platform.id).download(Kind.RELEASED_PACKAGE, id_of(request))


def test_an_owner_who_was_there_first_retires_nobody_of_anothers_platform(shared):
    """He names platform and TPM before their owner does, and releases and confirms among his own."""
    platform = make_platform()
    same_id = shared.enrol(Platform(make_owner("neighbour"), platform.label), NEXT_BOARD, platform)
    shared.asker(NEXT_BOARD, platform.id).upload(shared.package(same_id, 1, chip=NEXT_BOARD))
    request = shared.restore_request(same_id, BOARD)
    board = shared.asker(BOARD, platform.id)
    board.upload(request)
    shared.station(same_id.world).upload(shared.approval(same_id, request))
    assert board.download(Kind.RELEASED_PACKAGE, id_of(request))
    assert board.upload(shared.package(same_id, 2, chip=BOARD)).changed
    assert pair_of(platform) in shared.releases(same_id)[0].retires
    shared.enrol(platform)
    assert shared.asker(platform).upload(shared.package(platform, 1)).changed
    assert shared.releases(platform) == ()


def test_an_owners_list_that_names_anothers_very_tpm_does_not_draw_it_over(neighbours):
    shared, platform, same_id = neighbours
    shared.enrol(same_id, NEXT_BOARD, platform)
    assert pair_of(platform) in shared.list_of(same_id.world).platforms[0].pairs
    assert shared.asker(platform).download(Kind.TRUST_LIST, "") == shared.signed_list(platform.world)
    assert shared.asker(platform).upload(shared.package(platform, 2)).changed


def test_an_approval_by_another_owner_is_refused(neighbours):
    shared, platform, same_id = neighbours
    request = shared.restore_request(platform, BOARD)
    shared.asker(BOARD, platform.id).upload(request)
    value, _ = RESTORE_APPROVAL.read(shared.approval(platform, request))
    by_another = sign(RESTORE_APPROVAL.write(value), same_id.world.signer)
    with pytest.raises((UntrustedSigner, OwnerMismatch)):
        shared.station(same_id.world).upload(by_another)
    with pytest.raises(ApprovalPending):
        shared.asker(BOARD, platform.id).download(Kind.RELEASED_PACKAGE, id_of(request))


def test_a_station_sees_and_denies_in_its_owners_queue_only(neighbours):
    shared, platform, same_id = neighbours
    request = shared.restore_request(platform, BOARD)
    shared.asker(BOARD, platform.id).upload(request)
    other = shared.station(same_id.world)
    for act in (
        lambda: other.download(Kind.RESTORE_REQUEST, id_of(request)),
        lambda: other.download(Kind.RESTORE_ANNEX, id_of(request)),
        lambda: other.delete(id_of(request)),
    ):
        with pytest.raises(NotAtAuthority):
            act()
    own = shared.station(platform.world)
    assert own.download(Kind.RESTORE_REQUEST, id_of(request)) == request
    assert own.delete(id_of(request)).changed
