"""What `lmsctl` refuses instead of ignoring or hanging, and how it says so; no daemon is needed for any of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from tpm2_pytss.constants import ESYS_TR

from lms.errors import AUTHORITY_PROGRAM, AuthFailed, EkUntrusted, HandleOccupied, NotProvisioned, TpmLockedOut
from lms.model.keys import SRK_HANDLE
from lms.model.secret import Secret
from lms.wire.tpm.public import Attributes, sealed_template
from tests.adapters.tpm.bench import plain_esapi
from tests.support.platform import OWNER_AUTH, lmsctl


def assert_refused(said, exit_code, error) -> str:
    """An error in all its forms; its text."""
    assert (said.exit_code, said.json["error"]) == (exit_code, error)
    assert said.stderr == f"lmsctl: {said.json['message']}\nlmsctl: hint: {said.json['hint']}\n"
    return said.json["message"]


@pytest.fixture
def auth(tmp_path):
    path = tmp_path / "auth"
    path.write_bytes(OWNER_AUTH.reveal())
    return path


@pytest.mark.parametrize(
    "wrong",
    [(), ("frob",), ("provision",), ("status", "--frob"), ("token",), ("restore", "--accept-stale", "seven")],
    ids=lambda words: " ".join(words) or "nothing",
)
def test_a_wrong_command_line_is_told_in_json_where_json_is_asked_for(wrong):
    message = assert_refused(lmsctl(*wrong), 2, "BadRequest")
    assert message.startswith("cannot read the command line: ")
    plain = lmsctl(*wrong, as_json=False)
    assert (plain.exit_code, plain.stdout) == (2, "")


def test_what_goes_for_every_verb_may_stand_behind_it(archived):
    config = archived.write_config()
    archived.let_go()
    before = lmsctl("status", config=config)
    behind = lmsctl("status", "--json", "--config", config, as_json=False)
    assert (behind.exit_code, behind.json) == (0, before.json)
    assert lmsctl("token", "show", "/nowhere", "--json", as_json=False).json["error"] == "FileProblem"


def test_options_of_another_destination_are_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"")
    for order in (
        ("token", "--grant", path),
        ("token", "--id", "x"),
        ("token", "--via", "x"),
        ("ma", "--request-to", path),
    ):
        assert "it is of no use there" in assert_refused(lmsctl("enroll", *order), 2, "BadRequest")


def test_standard_input_is_read_for_one_thing_only(archived, auth):
    order = ("archive", "--endorsement-auth", "-")
    config = archived.write_config()
    archived.let_go()
    assert lmsctl(*order, config=config, stdin=b"").exit_code == 0
    order = ("enroll", "token", "--owner-auth", "-", "--endorsement-auth", "-")
    message = assert_refused(lmsctl(*order, config=config, stdin=OWNER_AUTH.reveal()), 2, "BadRequest")
    assert "--owner-auth and --endorsement-auth" in message


@pytest.mark.parametrize("verb", ["inspect", "verify"])
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path, token, package, verb):
    owner, good, bad, pipe = (tmp_path / name for name in ("owner", "good", "bad", "pipe"))
    owner.write_bytes(token.owner.document)
    good.write_bytes(package)
    bad.write_bytes(package[:-20])
    os.mkfifo(pipe)
    more = ("--owner", owner, "--fingerprint", token.fingerprint) if verb == "verify" else ()
    for path, error in ((tmp_path, "FileProblem"), (pipe, "FileProblem"), (bad, "MalformedXml")):
        message = assert_refused(lmsctl(verb, path, *more), 2 if error == "FileProblem" else 6, error)
        assert f"'{path}'" in message
    if verb == "inspect":
        assert lmsctl(verb, good).exit_code == 0
    else:
        assert f"'{good}'" in assert_refused(lmsctl(verb, good, *more), 6, "UntrustedSigner")
        pipe_of_owner = ("--owner", pipe, "--fingerprint", token.fingerprint)
        assert f"'{pipe}'" in assert_refused(lmsctl(verb, good, *pipe_of_owner), 2, "FileProblem")


@pytest.mark.parametrize("name", ["x" * 300, "loop", "loop/within"], ids=["long", "loop", "below-loop"])
@pytest.mark.parametrize(
    "verb",
    [
        ("token", "create"),
        ("token", "show"),
        ("retrieve", "--application", "a", "--label", "b", "--output"),
        ("collect", "1", "owner-auth"),
        ("restore", "--sheet"),
        ("csp", "add"),
        ("csp", "export"),
        ("csp", "token", "--label", "a"),
        ("evm", "create", "--directory"),
        ("doctor", "--device"),
        ("status", "--config"),
    ],
    ids=lambda words: words[0],
)
def test_a_path_that_nobody_can_follow_is_told(platform, tmp_path, verb, name):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    config = () if "--config" in verb else ("--config", platform.write_config())
    said = lmsctl(*config, *verb, tmp_path / name)
    assert f"'{tmp_path / name}" in assert_refused(said, 2, "FileProblem")


@pytest.mark.parametrize(
    ("verb", "option"),
    [
        (("token", "create", "new.xml"), "--token-password"),
        (("restore", "--token", "/dev/null"), "--token-password"),
        (("register", "--application", "a", "--label", "b"), "--password"),
    ],
    ids=["token", "restore", "register"],
)
def test_where_nobody_can_be_asked_the_option_is_named(platform, tmp_path, verb, option):
    words = [str(tmp_path / word) if word == "new.xml" else word for word in verb]
    said = lmsctl(*words, config=platform.write_config(), stdin=b"")
    assert f"this is no terminal, give {option} FILE" in assert_refused(said, 2, "BadRequest")


def test_the_root_is_no_file(platform):
    config = platform.write_config()
    assert_refused(lmsctl("csp", "add", "/", config=config), 2, "BadRequest")
    assert_refused(lmsctl("status", "--config", "/"), 2, "FileProblem")


def test_an_archive_says_where_it_is(archived):
    config = archived.write_config(recovery_directory=f'"{archived.directory}/boot"')
    archived.let_go()
    said = lmsctl("archive", config=config).json
    newest = str(archived.packages[-1])
    assert said["places"] == [newest, f"{archived.directory}/boot/lms-package.xml"]
    listed = lmsctl("packages", config=config).json
    (package,) = listed["packages"]
    assert (package["sequence"], package["age-days"], listed["places"]) == (2, 0, said["places"])
    status = lmsctl("status", config=config).json
    assert (status["age-days"], status["archived"]) == (0, package["archived"])
    assert "one destination alone" in status["meaning"]
    assert status["findings"] == ["lockout-auth-unset"]


def test_a_tpm_that_is_locked_out_is_told_with_what_to_do(provisioned):
    config = provisioned.write_config()
    guessed(provisioned)
    said = lmsctl("status", config=config).json
    assert "locked-out" in said["findings"]
    assert said["locked-out"] == TpmLockedOut.hint
    with plain_esapi(provisioned.machine.tcti) as esapi:
        esapi.dictionary_attack_lock_reset(lock_handle=ESYS_TR.LOCKOUT)
    said = lmsctl("status", config=config).json
    assert "locked-out" not in {*said, *said["findings"]}


def guessed(platform) -> None:
    """Somebody guessed another program's password at this TPM."""
    platform.tpm.trust_salt(platform.state.srk_name)
    template = sealed_template(Attributes.USER_WITH_AUTH)
    guarded = platform.tpm.create(SRK_HANDLE, template, auth=Secret(b"pin"), data=Secret(b"another's"))
    with plain_esapi(platform.machine.tcti) as esapi:
        esapi.dictionary_attack_parameters(
            new_max_tries=1, new_recovery_time=1000, lockout_recovery=1000, lock_handle=ESYS_TR.LOCKOUT
        )
    with pytest.raises((AuthFailed, TpmLockedOut)):  # a power cut counts as a guess
        platform.tpm.unseal(SRK_HANDLE, guarded, auth=Secret(b"guessed"))
    platform.let_go()


@pytest.mark.parametrize("verb", [("archive",), ("enroll", "token"), ("enroll", "ma")], ids=" ".join)
def test_on_another_tpm_a_restore_is_named_first(machines, archived_machine, verb):
    other = machines(disk_of=archived_machine)
    other.let_go()
    said = lmsctl(*verb, config=other.write_config())
    assert "another TPM" in assert_refused(said, 7, "RestoreFirst")
    assert "lmsctl restore" in said.json["hint"]


def test_a_damaged_state_is_named_and_what_to_do_about_it(archived):
    config = archived.write_config()
    archived.let_go()
    assert lmsctl("status", config=config).exit_code == 0
    state = archived.state_directory / "state.json"
    state.write_bytes(state.read_bytes()[:-100])
    said = lmsctl("status", config=config)
    assert f"'{state}'" in assert_refused(said, 7, "StateDamaged")
    assert "backup" in said.json["hint"]


def test_a_machine_that_lost_its_state_is_told_to_restore(archived, token, tmp_path):
    config = archived.write_config()
    archived.let_go()
    (archived.state_directory / "state.json").unlink()
    owner = tmp_path / "owner"
    owner.write_bytes(token.owner.document)
    said = lmsctl("provision", "--owner", owner, "--fingerprint", token.fingerprint, "--unverified-tpm", config=config)
    assert_refused(said, 4, "HandleOccupied")
    assert "lmsctl restore" in said.json["hint"]


def test_each_program_says_hints_in_its_own_words(tmp_path):
    for kind in (HandleOccupied, EkUntrusted):
        assert kind("").hint_at("lmsctl") == kind.hint
        assert "lmsctl" not in kind("").hint_at(AUTHORITY_PROGRAM)
        assert kind("").hint_at(AUTHORITY_PROGRAM) != kind.hint
    assert NotProvisioned("").hint_at(AUTHORITY_PROGRAM) == NotProvisioned.hint
    command = [sys.executable, "-m", "lms.authority.main", "--json", "--config", str(tmp_path / "none"), "serve"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert json.loads(done.stdout)["hint"]
