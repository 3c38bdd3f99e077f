"""`lms-authority approve` of a restore request: by file, from the approver's register."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lms.files import locked_beside
from lms.model.exchange import Entry
from lms.model.keys import digits
from lms.model.trust import Pair, TrustedPlatform
from lms.wire.exchange_v1 import ENROLMENT_REQUEST
from lms.wire.restoration import read_restore_approval, read_restore_request
from lms.wire.signature import sign
from lms.wire.token_v1 import read_sheet, write_sheet
from lms.wire.trust_list import read_trust_list
from tests.cli.test_authority import approve, assert_refused
from tests.support.documents import PASSWORD, adopted_package, make_platform, signed_token
from tests.support.exchange import platform_request
from tests.support.restoring import (
    AUTHORITY,
    annex_to,
    register,
    signed_annex,
    signed_list,
    signed_request,
    signed_sheet,
)

OURS, CHIP, SECOND_CHIP = make_platform(), make_platform("new board"), make_platform("second new board")
WORLD = OURS.world
LONG_AGO = datetime(2020, 1, 2, tzinfo=UTC)
EARLIER = bytes(range(32))


def shown(request: bytes) -> str:
    """What the machine shows."""
    return digits(read_restore_request(request).request_id)


@pytest.fixture
def desk(tmp_path):
    """An approver's station with its register; the platform was enrolled here."""
    paths = {name: tmp_path / name for name in ("token", "password", "request", "trust", "grant", "annex")}
    paths["sheet"] = tmp_path / "sheets" / f"{OURS.id}.xml"
    paths["sheet"].parent.mkdir()
    paths["sheet"].write_bytes(signed_sheet(OURS))
    paths["token"].write_bytes(signed_token(WORLD))
    paths["password"].write_bytes(PASSWORD.reveal())
    paths["trust"].write_bytes(signed_list(register(OURS, issued=LONG_AGO)))
    return paths


def ask(desk, chip=CHIP, **parts) -> bytes:
    """Lay a request on the desk."""
    request = signed_request(OURS, chip, **parts)
    desk["request"].write_bytes(request)
    return request


def approval_in(desk):
    return read_restore_approval(desk["grant"].read_bytes(), WORLD.owner, desk["trust"].read_bytes())


def test_a_restore_is_approved_by_file(desk):
    request = ask(desk)
    said = approve(desk, "--digits", shown(request))
    assert (said.exit_code, said.stderr) == (0, "")
    assert said.json["request"] == shown(request)
    assert (said.json["platform"], said.json["tpm"], said.json["claimed-by"]) == (str(OURS.id), "new", "the machine")
    assert (said.json["keys"], said.json["sequence"]) == ([OURS.drsk.name.digits], 7)
    assert said.json["weaker"] is None
    approval = approval_in(desk)
    assert approval.not_after - approval.not_before == timedelta(days=7, minutes=5)
    assert not approval.stolen
    trust_list = read_trust_list(desk["trust"].read_bytes(), WORLD.owner)
    assert approval.trust_list == desk["trust"].read_bytes()
    assert (trust_list.number, trust_list.platform(OURS.id).pairs[1]) == (4, Pair(CHIP.ek.name, CHIP.srk.name))
    assert approval.sheet == desk["sheet"].read_bytes()
    assert read_sheet(approval.sheet)[0].platform_id == OURS.id


def test_a_restore_of_an_adopted_key_is_shown_as_that_of_a_weaker_one(desk):
    (key,) = adopted_package(OURS).migrating_keys
    sheet = replace(read_sheet(signed_sheet(OURS))[0], policy=key.policy, drsk=key.public)
    listed = TrustedPlatform(OURS.id, (Pair(OURS.ek.name, OURS.srk.name),), (key.key_id,))
    desk["sheet"].write_bytes(sign(write_sheet(sheet), WORLD.signer))
    desk["trust"].write_bytes(signed_list(replace(register(issued=LONG_AGO), platforms=(listed,))))
    request = ask(desk, entries=(Entry(key.key_id, str(AUTHORITY), key.blobs[0].inner_keys),))
    said = approve(desk, "--digits", shown(request))
    assert (said.exit_code, said.json["keys"]) == (0, [key.key_id.digits])
    assert "owner authorisation alone" in said.json["weaker"]
    renewed = read_sheet(approval_in(desk).sheet)[0]
    assert (renewed.policy, renewed.drsk) == (key.policy, key.public)


def test_the_next_approval_ends_those_before(desk):
    first, second = signed_request(OURS, CHIP), signed_request(OURS, SECOND_CHIP)
    for request in (first, first, second):
        desk["request"].write_bytes(request)
        desk["grant"].unlink(missing_ok=True)
        said = approve(desk, "--digits", shown(request))
        assert said.exit_code == 0
    assert said.json["was-approved"] == [shown(first)]
    assert said.json["tpm"] == "new"
    assert approval_in(desk).supersedes == (read_restore_request(first).request_id,)


def test_what_an_authority_claims_is_shown_as_its_claim(desk):
    request = ask(desk, at_hand=False)
    assert_refused(approve(desk, "--digits", shown(request)), 2, "BadRequest")
    desk["annex"].write_bytes(signed_annex(annex_to(request, OURS, earlier_releases=(EARLIER,))))
    said = approve(desk, "--annex", desk["annex"], "--digits", shown(request))
    assert said.exit_code == 0
    assert said.json["claimed-by"] == f"authority {AUTHORITY}"
    assert said.json["was-released"] == [digits(EARLIER)]
    assert approval_in(desk).supersedes == (EARLIER,)


def test_an_annex_to_another_request_is_refused_before_anybody_is_asked(desk):
    ask(desk, at_hand=False)
    other = signed_request(OURS, SECOND_CHIP, at_hand=False)
    desk["annex"].write_bytes(signed_annex(annex_to(other, OURS)))
    assert_refused(approve(desk, "--annex", desk["annex"]), 6, "RequestInvalid")


def test_a_stolen_tpm_is_retired_when_it_is_said(desk):
    request = ask(desk)
    assert approve(desk, "--stolen", "--digits", shown(request)).json["stolen"] is True
    assert approval_in(desk).stolen
    trust_list = read_trust_list(desk["trust"].read_bytes(), WORLD.owner)
    assert trust_list.platform(OURS.id).pairs == (Pair(CHIP.ek.name, CHIP.srk.name),)


def test_the_end_of_an_approval_can_be_said(desk):
    request = ask(desk)
    for bad, error in (("tomorrow", "BadRequest"), ("2020-01-01T00:00:00Z", "BadRequest")):
        assert_refused(approve(desk, "--expires", bad, "--digits", shown(request)), 2, error)
    assert approve(desk, "--expires", "9000-01-02T03:04:05Z", "--digits", shown(request)).exit_code == 0
    assert approval_in(desk).not_after == datetime(9000, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_nothing_is_kept_without_the_digits(desk):
    before = desk["trust"].read_bytes()
    ask(desk)
    assert_refused(approve(desk), 2, "BadRequest")
    assert_refused(approve(desk, "--digits", "AAAA-AAAA-AAAA-AAAA"), 6, "DigitsDiffer")
    assert desk["trust"].read_bytes() == before
    assert not desk["grant"].exists()
    assert not (desk["trust"].parent / "approvals").exists()


def test_a_person_sees_what_is_asked_and_claimed_before_the_digits(desk):
    request = ask(desk, at_hand=False)
    desk["annex"].write_bytes(signed_annex(annex_to(request, OURS, earlier_releases=(EARLIER,))))
    command = [
        sys.executable, "-m", "lms.authority.main", "approve", desk["request"], "--annex", desk["annex"], "--vouch",
        "--token", desk["token"], "--token-password", desk["password"], "--trust-list", desk["trust"],
        "--output", desk["grant"],
    ]  # fmt: skip
    keyboard, terminal = pty.openpty()
    os.write(keyboard, shown(request).encode() + b"\n")
    done = subprocess.run(command, stdin=terminal, capture_output=True, check=False)
    os.close(terminal)
    os.close(keyboard)
    assert done.returncode == 0
    lines = dict(line.split(":", 1) for line in done.stderr.decode().splitlines() if ": " in line)
    assert lines["platform"].strip() == str(OURS.id)
    assert lines["claimed-by"].strip() == f"authority {AUTHORITY}"
    assert lines["was-released"].strip() == digits(EARLIER)
    assert shown(request) not in done.stderr.decode()
    assert approval_in(desk).supersedes == (EARLIER,)


def test_two_do_not_approve_from_one_register_at_once(desk):
    """Each would give the next number to a list of its own."""
    request = ask(desk)
    with locked_beside(desk["trust"]):
        assert_refused(approve(desk, "--digits", shown(request)), 7, "Busy")
        assert not desk["grant"].exists()
    assert approve(desk, "--digits", shown(request)).exit_code == 0


def test_an_answer_that_was_lost_is_given_again_under_the_same_number(desk):
    """The trust list is safe before the answer is written; what ends in between is only asked for again."""
    request, output = ask(desk), desk["grant"]
    desk["grant"] = output.parent / "absent" / "approval"
    assert_refused(approve(desk, "--digits", shown(request)), 2, "FileProblem")
    kept = desk["trust"].read_bytes()
    assert read_trust_list(kept, WORLD.owner).number == 4
    desk["grant"] = output
    assert approve(desk, "--digits", shown(request)).exit_code == 0
    assert (desk["trust"].read_bytes(), approval_in(desk).supersedes) == (kept, ())


def test_a_sheet_that_is_not_kept_here_is_given(desk):
    request = ask(desk)
    given = desk["sheet"].rename(desk["trust"].parent / "printed")
    said = approve(desk, "--digits", shown(request))
    assert_refused(said, 7, "NotEnrolled")
    assert "--sheet" in said.json["message"]
    assert approve(desk, "--sheet", given, "--digits", shown(request)).exit_code == 0
    assert desk["sheet"].exists()


@pytest.mark.parametrize("option", [("--stolen",), ("--annex", "FILE"), ("--expires", "9000-01-01")])
def test_what_is_said_of_a_restore_is_not_said_of_an_enrolment(desk, option):
    desk["request"].write_bytes(sign(ENROLMENT_REQUEST.write(platform_request()), OURS.self_issued))
    said = approve(desk, *option, "--digits", "AAAA-AAAA-AAAA-AAAA")
    assert_refused(said, 2, "BadRequest")
    assert option[0] in said.json["message"]


def test_a_restore_begins_no_trust_list(desk):
    request = ask(desk)
    desk["trust"].unlink()
    assert_refused(approve(desk, "--digits", shown(request)), 2, "BadRequest")
