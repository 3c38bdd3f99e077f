"""What an owner takes back is used nowhere any more: by the MSA, by authorities, by machines (PROTOCOL §5)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

import pytest

from lms.errors import (
    ApprovalPending,
    AuthorityUnknown,
    BadRequest,
    NotAuthorised,
    NotEnrolled,
    NothingEnrolled,
    SignerWithdrawn,
    TrustListConflict,
)
from lms.model.keys import digits
from lms.model.platform import Health
from lms.model.release import EnrolmentOrder, WithdrawalOrder
from lms.model.trust import Identity, Pair, Role, TrustedPlatform
from lms.service.acts import ACTS
from lms.service.acts.call import Call
from lms.service.approving import approve_restore
from lms.service.archive import archive
from lms.service.enroll import enroll_authority
from lms.service.enrolment import accept_grant, request_enrolment
from lms.service.granting import grant
from lms.service.setting import NO_SECRET
from lms.service.withdrawing import withdraw
from lms.wire.exchange_v1 import ENROLMENT_REQUEST, TRUST_LIST
from lms.wire.package_v1 import read_package
from lms.wire.restoration import read_restore_approval
from lms.wire.signature import sign
from lms.wire.token_v1 import read_sheet
from lms.wire.tpm.public import SRK_ATTRIBUTES
from lms.wire.trust_list import newer, read_trust_list
from tests.support.documents import NOW, make_platform, software_key, uuid
from tests.support.exchange import platform_request
from tests.support.migration import BOTH_MODES, Authority, Office, approve_platform, enrolled, restore
from tests.support.platform import OWNER_AUTH, PRECIOUS, Platform
from tests.support.restoring import (
    AUTHORITY,
    entry_of,
    order_for,
    register,
    requester,
    signed_list,
    signed_request,
)

OURS, CHIP = make_platform(), make_platform("new board")
WORLD = OURS.world
LATER = NOW + timedelta(days=1)
SECOND = replace(
    register().authorities[0], ma_id=uuid("second"), vault=software_key("their vault", SRK_ATTRIBUTES).public
)
IDENTITIES = {
    "platform": OURS.identity,
    "authority": Identity(Role.MIGRATION_AUTHORITY, AUTHORITY),
    "station": Identity(Role.STATION, uuid("station")),
    "signer": Identity(Role.SIGNER, uuid("signer")),
}
OLD_PAIR, NEW_PAIR = Pair(OURS.ek.name, OURS.srk.name), Pair(CHIP.ek.name, CHIP.srk.name)


def withdrawn(identity, pair=None, known=None, now=LATER) -> bytes:
    order = WithdrawalOrder(identity, pair, known or signed_list(register(OURS)), now)
    return withdraw(order, WORLD.owner, WORLD.keys).trust_list


# The trust list


@pytest.mark.parametrize("identity", IDENTITIES.values(), ids=IDENTITIES)
def test_what_is_withdrawn_stands_in_the_next_trust_list(identity):
    known = signed_list(register(OURS))
    document = withdrawn(identity, known=known)
    before, after = (read_trust_list(d, WORLD.owner) for d in (known, document))
    assert (after.number, after.issued) == (before.number + 1, LATER)
    assert after.withdrawn_since(identity) == LATER
    assert (after.platforms, after.authorities) == (before.platforms, before.authorities)
    assert newer(known, document, WORLD.owner) == document


@pytest.mark.parametrize("identity", IDENTITIES.values(), ids=IDENTITIES)
def test_who_is_withdrawn_twice_was_withdrawn_the_first_time(identity):
    once = withdrawn(identity)
    assert withdrawn(identity, known=once, now=LATER + timedelta(days=1)) == once


def test_earlier_withdrawals_stay():
    document = signed_list(register(OURS))
    for number, identity in enumerate(IDENTITIES.values()):
        document = withdrawn(identity, known=document, now=LATER + timedelta(days=number))
    after = read_trust_list(document, WORLD.owner)
    assert [w.identity for w in after.withdrawn] == list(IDENTITIES.values())
    assert after.withdrawn_since(OURS.identity) == LATER


def test_the_owner_is_not_withdrawn():
    with pytest.raises(BadRequest, match="succeeded"):
        withdrawn(Identity(Role.OWNER, None))


def test_nothing_is_dated_before_the_newest_trust_list():
    with pytest.raises(TrustListConflict, match="clock"):
        withdrawn(OURS.identity, now=NOW - timedelta(seconds=1))
    assert withdrawn(OURS.identity, now=NOW)


# One TPM of a platform


def on_two_chips() -> bytes:
    return signed_list(register().with_platform(TrustedPlatform(OURS.id, (OLD_PAIR, NEW_PAIR), (OURS.drsk.name,))))


def test_one_tpm_of_a_platform_is_taken_back():
    document = withdrawn(OURS.identity, OLD_PAIR, on_two_chips())
    after = read_trust_list(document, WORLD.owner)
    assert (after.platform(OURS.id).pairs, after.withdrawn) == ((NEW_PAIR,), ())
    assert withdrawn(OURS.identity, OLD_PAIR, document) == document


def test_the_last_tpm_of_a_platform_is_not_taken_back():
    with pytest.raises(BadRequest, match="last TPM"):
        withdrawn(OURS.identity, NEW_PAIR, withdrawn(OURS.identity, OLD_PAIR, on_two_chips()))


@pytest.mark.parametrize("identity", [IDENTITIES["station"], make_platform("other").identity], ids=["station", "other"])
def test_a_tpm_is_taken_back_from_a_platform_that_is_known(identity):
    with pytest.raises(NotEnrolled):
        withdrawn(identity, OLD_PAIR, on_two_chips())


# The MSA


def enrolment(trust_list: bytes):
    request = sign(ENROLMENT_REQUEST.write(platform_request()), requester(OURS, OURS))
    shown = digits(platform_request().base.request_id)
    return grant(EnrolmentOrder(request, shown, (), True, trust_list, LATER), WORLD.owner, WORLD.keys)


def test_a_withdrawn_platform_is_not_enrolled_again_under_its_id():
    assert enrolment(signed_list(register(OURS))).grant
    with pytest.raises(SignerWithdrawn):
        enrolment(withdrawn(OURS.identity))
    assert enrolment(withdrawn(make_platform("other").identity)).grant


def with_second(*gone) -> bytes:
    """Two authorities are known, these withdrawn."""
    document = signed_list(register(OURS, authorities=(*register(OURS).authorities, SECOND)))
    for identity in gone:
        document = withdrawn(identity, known=document)
    return document


def approval(trust_list: bytes):
    request = signed_request(OURS, CHIP, entries=(entry_of(OURS), entry_of(OURS, str(SECOND.ma_id))))
    order = order_for(request, OURS, trust_list=trust_list, now=LATER, not_after=LATER + timedelta(days=7))
    answer = approve_restore(order, WORLD.owner, WORLD.keys)
    sheet, _ = read_sheet(answer.sheet)
    approved = read_restore_approval(answer.approval, WORLD.owner, None, LATER)
    named = dict.fromkeys(str(a.ma_id) for a in sheet.authorities)  # one may have several addresses
    return [e.destination_id for e in approved.entries], list(named)


def test_nothing_is_approved_at_a_withdrawn_authority_and_no_sheet_names_it():
    """The machine, which does not know it yet, named both."""
    both, left = [str(AUTHORITY), str(SECOND.ma_id)], [str(AUTHORITY)]
    assert approval(with_second()) == (both, both)
    assert approval(with_second(SECOND.role_identity)) == (left, left)
    with pytest.raises(SignerWithdrawn):
        approval(with_second(SECOND.role_identity, IDENTITIES["authority"]))


# Machines and authorities


class Fleet(NamedTuple):
    """A machine that archived at two authorities of its owner."""

    machine: Platform
    office: Office
    first: Authority
    second: Authority

    def connect(self, address, ma_id, owner, trust_list):
        """The way to the one that is meant."""
        at = {a.identity.ma_id: a for a in (self.first, self.second)}[ma_id]
        return at.connect(address, ma_id, owner, trust_list)

    def withdraw(self, authority: Authority) -> bytes:
        return self.office.withdraw(Identity(Role.MIGRATION_AUTHORITY, authority.identity.ma_id))

    def take(self, trust_list: bytes) -> None:
        """By file, as `lmsctl enroll msa --grant`."""
        accept_grant(self.machine.setting, trust_list, NO_SECRET)

    def status(self) -> dict:
        return ACTS["status"](Call({}, {}), self.machine.setting)

    def held(self) -> tuple[int, int]:
        """How many packages each authority has."""
        platform_id = self.machine.state.platform_id
        return len(self.first.packages(platform_id)), len(self.second.packages(platform_id))


@pytest.fixture(**BOTH_MODES)
def fleet(tmp_path, machines, request):
    directory, office = tmp_path / "world", Office()
    directory.mkdir()
    first = request.param(directory, office, "first")
    machine = enrolled(machines(), office, first)
    second = request.param(directory, office, "second")
    made = Fleet(machine, office, first, second)
    machine.connect = made.connect
    made.take(office.trust_list)
    enroll_authority(machine.setting, second.identity.ma_id, OWNER_AUTH)
    archive(machine.setting)
    yield made
    first.close()
    second.close()


def test_a_machine_says_that_a_destination_was_withdrawn_and_archives_without_it(fleet):
    gone = fleet.second.identity.destination
    assert (fleet.status()["state"], fleet.held()) == ("protected", (2, 1))
    fleet.take(fleet.withdraw(fleet.second))
    shown = fleet.status()
    assert (shown["state"], shown["withdrawn"]) == ("stale", [gone])
    assert "withdrawn" in shown["findings"]
    assert f"withdrew authority {gone}" in shown["explanation"]
    archive(fleet.machine.setting)
    assert fleet.held() == (3, 1)
    shown = fleet.status()
    assert (shown["state"], shown["withdrawn"]) == (Health.AT_RISK.value, [gone])
    newest = read_package(fleet.machine.store.load_package()).content
    assert [d.identity for d in newest.header.destinations] == [fleet.first.identity.destination]
    with pytest.raises(AuthorityUnknown):
        enroll_authority(fleet.machine.setting, fleet.second.identity.ma_id, OWNER_AUTH)


def test_an_authority_that_hands_out_its_own_withdrawal_gets_nothing_more(fleet):
    for authority in (fleet.second, fleet.first):
        authority.station.upload(b"", fleet.withdraw(authority))
    before = fleet.held()
    with pytest.raises(NothingEnrolled, match="withdrew"):
        archive(fleet.machine.setting)
    assert fleet.held() == before
    assert fleet.status()["state"] == "created"


def test_the_keys_come_back_from_the_authority_that_is_left(fleet, machines):
    child = fleet.machine.seal()
    board = machines(disk_of=fleet.machine.directory)
    board.now, board.connect = NOW, fleet.connect
    with pytest.raises(ApprovalPending):
        restore(board)
    trust_list = fleet.withdraw(fleet.first)
    fleet.second.station.upload(b"", trust_list)
    restore(board, approval=fleet.office.approve(board.store.load_pending().document))
    assert board.unseal(child) == PRECIOUS
    assert [d.identity for d in board.state.destinations] == [fleet.second.identity.destination]
    assert ACTS["status"](Call({}, {}), board.setting)["withdrawn"] == [fleet.first.identity.destination]


def test_a_withdrawn_platform_gets_nothing_at_an_authority_and_no_new_grant(fleet):
    machine, office = fleet.machine, fleet.office
    trust_list = office.withdraw(Identity(Role.PLATFORM, machine.state.platform_id))
    fleet.first.station.upload(b"", trust_list)
    with pytest.raises(NotAuthorised):
        archive(machine.setting)
    request, request_id = request_enrolment(machine.setting)
    with pytest.raises(SignerWithdrawn):
        office.grant(request, request_id)


def test_a_tpm_that_is_taken_back_gets_nothing_until_it_is_approved_anew(fleet):
    machine, office = fleet.machine, fleet.office
    known = read_trust_list(office.trust_list, office.world.owner).platform(machine.state.platform_id)
    (own,) = known.pairs
    listed = replace(known, pairs=(own, NEW_PAIR))
    value = read_trust_list(office.trust_list, office.world.owner)
    value = replace(value, number=value.number + 1).with_platform(listed)
    office.trust_list = sign_list(office, value)
    trust_list = office.withdraw(Identity(Role.PLATFORM, machine.state.platform_id), own)
    fleet.first.station.upload(b"", trust_list)
    fleet.second.station.upload(b"", trust_list)
    with pytest.raises(NotAuthorised):
        archive(machine.setting)
    approve_platform(machine, office, replacement=True)
    fleet.first.station.upload(b"", office.trust_list)
    archive(machine.setting)


def sign_list(office, value) -> bytes:
    return sign(TRUST_LIST.write(value), office.world.signer)
