"""`lms-authority approve`: a request by file, its grant by file."""

from __future__ import annotations

import json

import pytest

from lms.wire.token_v1 import read_sheet
from lms.wire.tpm.public import name_of
from lms.wire.trust_list import read_trust_list
from tests.support.authority import authority
from tests.support.platform import OWNER_AUTH, Said, lmsctl


@pytest.fixture
def desk(tmp_path, token):
    """Paths at the approver's station; the token is there, the rest comes to be."""
    (tmp_path / "token").write_bytes(token.document)
    (tmp_path / "password").write_bytes(token.password + b"\n")
    return {name: tmp_path / name for name in ("token", "password", "request", "trust", "grant")}


@pytest.fixture
def asked(provisioned, desk):
    """A machine that wrote its request: its configuration, and the digits that it shows."""
    config = provisioned.write_config()
    provisioned.let_go()
    said = lmsctl("enroll", "msa", "--request-to", desk["request"], config=config)
    assert (said.exit_code, said.stderr) == (0, "")
    assert set(said.json) == {"request"}
    return config, said.json["request"]


def approve(desk, *more: object) -> Said:
    first = () if desk["trust"].exists() else ("--new-trust-list",)
    return authority(
        "approve", desk["request"], "--token", desk["token"], "--token-password", desk["password"],
        "--trust-list", desk["trust"], *first, "--vouch", "--output", desk["grant"], *more,
    )  # fmt: skip


def assert_refused(said, exit_code, error) -> None:
    assert (said.exit_code, said.json["error"]) == (exit_code, error)
    assert said.stderr == f"lms-authority: {said.json['message']}\nlms-authority: hint: {said.json['hint']}\n"


def test_a_wrong_command_line_is_told_in_json_where_json_is_asked_for():
    for wrong in ((), ("frob",), ("approve", "--frob"), ("station",)):
        said = authority(*wrong)
        assert_refused(said, 2, "BadRequest")
        assert said.json["message"].startswith("cannot read the command line: ")


def test_what_goes_for_every_verb_may_stand_behind_it(tmp_path):
    config = tmp_path / "lms.toml"
    config.write_text(f'[authority]\nstate_directory = "{tmp_path}/nothing"\n')
    before = authority("--config", config, "serve")
    behind = authority("serve", "--config", config)
    assert_refused(before, 7, "NotInitialised")
    assert (behind.exit_code, behind.json) == (before.exit_code, before.json)


def test_standard_input_is_read_for_one_thing_only(desk):
    auths = ("--owner-auth", "-", "--endorsement-auth", "-")
    said = authority("init", "--address", "https://ma.example:8443", "--output", desk["request"], *auths)
    assert_refused(said, 2, "BadRequest")
    assert "--owner-auth and --endorsement-auth" in said.json["message"]


def test_a_machine_is_enrolled_by_two_files(asked, desk, token, tmp_path):
    config, shown = asked
    assert lmsctl("status", config=config).json["approved"] is False
    done = approve(desk, "--digits", shown)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.json["request"] == shown
    assert done.json["birth-evidence"] is True
    assert read_trust_list(desk["trust"].read_bytes(), token.owner).number == 1
    kept, _ = read_sheet((tmp_path / "sheets" / f"{done.json['platform']}.xml").read_bytes())
    assert name_of(kept.drsk).digits == done.json["key"]
    taken = lmsctl("enroll", "msa", "--grant", desk["grant"], config=config)
    assert (taken.exit_code, taken.stderr) == (0, "")
    status = lmsctl("status", config=config).json
    assert (status["approved"], status["platform"]) == (True, done.json["platform"])
    (tmp_path / "auth").write_bytes(OWNER_AUTH.reveal())
    assert lmsctl("enroll", "token", "--owner-auth", tmp_path / "auth", config=config).exit_code == 0
    assert lmsctl("archive", config=config).json["approved"] is True


def test_nothing_is_approved_without_the_digits(asked, desk):
    said = approve(desk)
    assert_refused(said, 2, "BadRequest")
    assert "--digits" in said.json["message"]
    assert_refused(approve(desk, "--digits", "AAAA-AAAA-AAAA-AAAA"), 6, "DigitsDiffer")
    assert not desk["grant"].exists()
    assert not desk["trust"].exists()
    assert approve(desk, "--digits", asked[1].lower().replace("-", "")).exit_code == 0


def test_a_grant_is_never_written_over(asked, desk):
    desk["grant"].write_bytes(b"kept")
    assert_refused(approve(desk, "--digits", asked[1]), 2, "FileExists")
    assert desk["grant"].read_bytes() == b"kept"
    assert not desk["trust"].exists()
    desk["grant"].unlink()
    assert approve(desk, "--digits", asked[1]).exit_code == 0
    assert json.loads(approve(desk, "--digits", asked[1]).stdout)["error"] == "FileExists"


def test_a_request_is_never_written_over(asked, desk):
    config, _ = asked
    before = desk["request"].read_bytes()
    assert lmsctl("enroll", "msa", "--request-to", desk["request"], config=config).exit_code == 2
    assert desk["request"].read_bytes() == before


@pytest.mark.parametrize("both", [False, True])
def test_the_machine_wants_either_a_place_or_a_grant(asked, desk, both):
    config, _ = asked
    words = ("--request-to", desk["request"], "--grant", desk["request"]) if both else ()
    said = lmsctl("enroll", "msa", *words, config=config)
    assert (said.exit_code, said.json["error"]) == (2, "BadRequest")
    assert "--request-to" in said.json["message"]


@pytest.mark.parametrize("begun", ["7BPZ", "7bpz-…", "7BPZ-AAAA-2345"])
def test_some_of_the_digits_name_no_request(desk, begun):
    said = authority("approve", begun, "--token", desk["token"], "--trust-list", desk["trust"])
    assert_refused(said, 2, "BadRequest")
    assert "all 16 digits" in said.json["message"]


def test_a_trust_list_begins_only_once_and_only_when_it_is_said(asked, desk):
    arguments = ("approve", desk["request"], "--token", desk["token"], "--token-password", desk["password"])
    arguments += ("--trust-list", desk["trust"], "--vouch", "--output", desk["grant"], "--digits", asked[1])
    refused = authority(*arguments)
    assert_refused(refused, 2, "RegisterAbsent")
    assert "--new-trust-list" in refused.json["message"]
    for words in (refused.json["message"], refused.json["hint"]):
        assert words.index("--trust-list") < words.index("`trust_list`") < words.index("--new-trust-list")
    desk["trust"].write_bytes(b"the list of a station")
    assert_refused(authority(*arguments, "--new-trust-list"), 2, "BadRequest")
    assert desk["trust"].read_bytes() == b"the list of a station"
    desk["trust"].unlink()
    assert authority(*arguments, "--new-trust-list").exit_code == 0
