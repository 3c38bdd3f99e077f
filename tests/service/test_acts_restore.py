"""`restore` as an act: which way it goes by what it is given, what it asks for, and which sheet it believes."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import NamedTuple

import pytest

from lms.errors import (
    ApprovalPending,
    AuthorityUnreachable,
    BadRequest,
    OwnerMismatch,
    SheetMismatch,
    SheetStale,
    UnconfirmedPackage,
    WrongPassword,
)
from lms.model.jobs import Awaiting
from lms.model.tpm import SealedObject
from lms.names import RECOVERY_SHEET
from lms.service.acts.restore import POLL_S
from lms.wire.certificates import OwnerSigner
from lms.wire.signature import sign
from lms.wire.token_v1 import read_sheet, write_sheet
from lms.wire.trust_list import read_trust_list
from tests.support.acts import act, call_of, run
from tests.support.documents import NOW, PASSWORD, make_owner, signed_token, uuid
from tests.support.migration import Authority, Office, archived_at
from tests.support.opening import OpenedHere
from tests.support.platform import OWNER_AUTH, PRECIOUS, Platform, no_authority

_ASKED = {"unverified-tpm": True}
_SECRETS = {"owner_auth": OWNER_AUTH.reveal()}


class Lost(NamedTuple):
    """A machine that is switched off, who has its keys, and what hung below them."""

    machine: Platform
    office: Office
    authority: Authority
    child: SealedObject

    @property
    def sheet(self) -> bytes:
        """What its owner has of it on paper."""
        return self.office.sheets[self.machine.state.platform_id]

    @property
    def named(self) -> dict:
        """The options of who has the sheet alone."""
        return {**_ASKED, "fingerprint": self.office.token.fingerprint}

    @property
    def token(self) -> dict[str, bytes]:
        """The owner's token and its password."""
        return {"token": signed_token(self.office.world), "token_password": PASSWORD.reveal(), **_SECRETS}

    def signed(self, **changes) -> bytes:
        """Another sheet of the owner's."""
        world = self.office.world
        signer = OwnerSigner(world.keys.ca, world.owner.ca_certificate)
        return sign(write_sheet(replace(read_sheet(self.sheet)[0], **changes)), signer)

    def approval(self, board: Platform) -> bytes:
        """The owner approves what a board asked for; the authority says what it has."""
        pending = board.store.load_pending()
        return self.office.approve(pending.document, self.authority.annex(pending.request_id))

    def at_work(self, board: Platform) -> Platform:
        """The board in this world."""
        board.now, board.connect, board.opener = NOW, self.authority.connect, OpenedHere
        return board


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """With the token and an authority enrolled, and archived."""
    with archived_at(Authority, tmp_path_factory.mktemp("world"), token=True) as world:
        yield Lost(*world)


@pytest.fixture
def lost(world, tmp_path):
    """The same, with an authority and an owner of its own."""
    authority = world.authority.copied_to(tmp_path)
    yield world._replace(office=authority.office, authority=authority)
    authority.close()


@pytest.fixture
def board(lost, machines) -> Platform:
    """Another board with the old disk."""
    return lost.at_work(machines(disk_of=lost.machine.directory))


@pytest.fixture
def bare(lost, machines) -> Platform:
    """A machine that knows nothing."""
    return lost.at_work(machines())


def test_a_bare_machine_asks_by_its_sheet_and_carries_the_request_by_hand(lost, bare):
    with pytest.raises(ApprovalPending):
        act(bare, "restore", lost.named, sheet=lost.sheet, **_SECRETS)
    asked = act(bare, "restore", {**lost.named, "request": True}, sheet=lost.sheet, **_SECRETS)
    assert asked["waiting"] == "approval"
    assert base64.b64decode(asked["document"]) == bare.store.load_pending().document
    answer = act(bare, "restore", lost.named, sheet=lost.sheet, approval=lost.approval(bare), **_SECRETS)
    assert (answer["changed"], answer["was"]) == (True, "no-state")
    assert bare.unseal(lost.child) == PRECIOUS


def test_who_can_be_asked_waits_for_the_approval(lost, board):
    call = call_of(_ASKED, waits=True, **_SECRETS)
    with pytest.raises(Awaiting) as waits:
        run(board, "restore", call)
    assert (waits.value.words, waits.value.poll_s, waits.value.error) == (("approval",), POLL_S, None)
    assert call.offered["approval"].reveal() == board.store.load_pending().document
    board.connect = no_authority
    with pytest.raises(Awaiting, match="the owner has to approve") as waits:
        run(board, "restore", call)
    assert waits.value.error == AuthorityUnreachable.__name__
    board.connect = lost.authority.connect
    given = call_of(_ASKED, waits=True, approval=lost.approval(board), **_SECRETS)
    assert run(board, "restore", given)["changed"]
    assert board.unseal(lost.child) == PRECIOUS


def test_a_request_can_be_carried_where_nobody_is_reached(lost, bare):
    bare.connect = no_authority
    with pytest.raises(AuthorityUnreachable):
        act(bare, "restore", lost.named, sheet=lost.sheet, **_SECRETS)
    asked = act(bare, "restore", {**lost.named, "request": True}, sheet=lost.sheet, **_SECRETS)
    assert base64.b64decode(asked["document"]) == bare.store.load_pending().document


def test_the_token_opens_the_package_at_hand_and_gives_the_new_tpm_its_word(lost, board):
    before = read_trust_list(board.state.trust_list, lost.office.world.owner)
    answer = act(board, "restore", _ASKED, **lost.token)
    assert (answer["was"], answer["age-known"], answer["approved"]) == ("other-tpm", True, True)
    assert board.unseal(lost.child) == PRECIOUS
    after = read_trust_list(board.state.trust_list, lost.office.world.owner)
    assert after.number > before.number


def test_a_newer_list_of_the_owners_is_kept_though_the_keys_are_here(lost, machines):
    machine = lost.at_work(machines(disk_of=lost.machine.directory, tpm_of=lost.machine.directory))
    known = read_trust_list(lost.office.trust_list, lost.office.world.owner)
    newer = lost.office.withdraw(known.authorities[0].role_identity)
    assert machine.state.trust_list != newer
    answer = act(machine, "restore", _ASKED, grant=newer, **lost.token)
    assert answer["was"] == "intact"
    assert base64.b64decode(answer["trust-list"]) == machine.state.trust_list == newer


def test_without_any_package_the_token_is_of_no_use(lost, bare, tmp_path):
    with pytest.raises(BadRequest, match="no package is at hand"):
        act(bare, "restore", _ASKED, tmp_path / "boot", **lost.token)
    with pytest.raises(UnconfirmedPackage):
        act(bare, "restore", _ASKED, package=lost.machine.packages[-1].read_bytes(), **lost.token)
    assert bare.store.load() is None


def test_the_package_that_a_rescue_system_finds_is_taken_with_its_sheet(lost, bare, machines, tmp_path):
    boot = tmp_path / "boot"
    machine = lost.at_work(machines(disk_of=lost.machine.directory, tpm_of=lost.machine.directory))
    act(machine, "archive", boot=boot)
    answer = act(bare, "restore", _ASKED, boot, sheet=lost.sheet, **lost.token)
    assert (answer["was"], answer["platform"]) == ("no-state", str(machine.state.platform_id))
    assert bare.unseal(lost.child) == PRECIOUS


def test_token_and_sheet_without_a_package_lead_to_the_authority(lost, bare):
    with pytest.raises(WrongPassword):
        act(bare, "restore", _ASKED, sheet=lost.sheet, **lost.token | {"token_password": b"guessed"})
    assert bare.store.load_pending() is None
    with pytest.raises(ApprovalPending):
        act(bare, "restore", _ASKED, sheet=lost.sheet, **lost.token)
    assert bare.store.load_pending() is not None


# Which sheet is believed.


def test_a_sheet_of_another_owner_or_platform_is_not_for_this_machine(lost, board, provisioned):
    provisioned.now = NOW
    with pytest.raises(OwnerMismatch):
        act(provisioned, "restore", lost.named, sheet=lost.sheet, **_SECRETS)
    with pytest.raises(SheetMismatch):
        act(board, "restore", lost.named, sheet=lost.signed(platform_id=uuid("another")), **_SECRETS)
    with pytest.raises(ApprovalPending):
        act(board, "restore", lost.named, sheet=lost.sheet, **_SECRETS)


def test_of_two_sheets_of_a_platform_the_older_one_is_stale(lost, board, bare, tmp_path):
    old, new = lost.signed(sequence=1), lost.signed(sequence=9)
    (tmp_path / "boot").mkdir()
    lying = tmp_path / "boot" / RECOVERY_SHEET
    for machine in (board, bare):
        lying.write_bytes(new)
        with pytest.raises(SheetStale, match="its Sequence is 1, 9 is known"):
            act(machine, "restore", lost.named, tmp_path / "boot", sheet=old, **_SECRETS)
        assert machine.store.load_pending() is None
    for nothing_to_it in (lost.signed(platform_id=uuid("another"), sequence=9), new.replace(b">9<", b">8<")):
        lying.write_bytes(nothing_to_it)
        with pytest.raises(ApprovalPending):
            act(bare, "restore", lost.named, tmp_path / "boot", sheet=old, **_SECRETS)


def test_a_strangers_sheet_in_boot_says_nothing(lost, bare, tmp_path):
    stranger = make_owner("stranger")
    boot = tmp_path / "boot"
    boot.mkdir()
    forged = sign(write_sheet(replace(read_sheet(lost.sheet)[0], sequence=9)), stranger.signer)
    (boot / RECOVERY_SHEET).write_bytes(forged)
    with pytest.raises(ApprovalPending):
        act(bare, "restore", lost.named, boot, sheet=lost.sheet, **_SECRETS)
