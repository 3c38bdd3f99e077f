"""`lmsctl` on a machine: answers, exit codes, hints, and where secrets never stand."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lms.wire.package_v1 import read_package
from tests.support.platform import OWNER_AUTH, lmsctl

# Runs a module of ours, and writes what every program that it starts is given.
_WATCHED = """
import runpy, sys
log, module = sys.argv[1:3]
def watch(event, arguments):
    if event == "subprocess.Popen":
        with open(log, "a") as file:
            print(repr(arguments), file=file)
sys.addaudithook(watch)
sys.argv = [module, *sys.argv[3:]]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def files(tmp_path, token, package):
    """What a person has on a medium."""
    contents = {
        "token": token.document,
        "owner": token.owner.document,
        "package": package,
        "password": token.password + b"\n",
        "auth": OWNER_AUTH.reveal() + b"\n",
        "wrong": b"wrong\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in contents}


def assert_refused(said, exit_code, error) -> None:
    """An error in all its forms."""
    assert (said.exit_code, said.json["error"]) == (exit_code, error)
    assert said.stderr == f"lmsctl: {said.json['message']}\nlmsctl: hint: {said.json['hint']}\n"


def test_a_platform_from_nothing_to_its_archive(platform, token, files):
    config = platform.write_config()
    platform.let_go()
    status = lmsctl("status", config=config).json
    assert status == {"state": "unprovisioned", "owner-auth-set": False}
    order = ("provision", "--owner", files["owner"], "--fingerprint", token.fingerprint, "--offline-token")
    assert_refused(lmsctl(*order, config=config), 7, "EkUntrusted")
    done = lmsctl(*order, "--unverified-tpm", "--owner-auth", files["auth"], config=config)
    assert (done.exit_code, done.stderr) == (0, "")
    assert (done.json["state"], done.json["changed"], done.json["one-party"]) == ("created", True, "token")
    assert_refused(lmsctl("archive", config=config), 7, "NothingEnrolled")
    assert_refused(lmsctl("enroll", "token", "--owner-auth", files["wrong"], config=config), 3, "OwnerAuthFailed")
    enrolled = lmsctl("enroll", "token", "--owner-auth", "-", config=config, stdin=files["auth"].read_bytes())
    assert enrolled.json["meaning"] == "nothing keeps the keys yet: a destination is enrolled, archive"
    assert enrolled.json["destinations"] == [{"kind": "RecoveryToken", "id": token.owner.token_id}]
    shown = lmsctl("archive", config=config, as_json=False)
    assert shown.exit_code == 0
    assert "sequence:       1\n" in shown.stdout
    status = lmsctl("status", config=config).json
    assert (status["state"], status["reason"]) == ("at-risk", "intact")


def test_a_machine_restored_by_its_newest_package(archived, token, files):
    config = archived.write_config()
    archived.evict()
    archived.let_go()
    status = lmsctl("status", config=config).json
    assert (status["state"], status["reason"]) == ("restore-needed", "drsk-absent")
    order = ("restore", "--token", files["token"], "--unverified-tpm", "--owner-auth", files["auth"])
    assert_refused(lmsctl(*order, config=config), 2, "BadRequest")
    assert_refused(lmsctl(*order, "--token-password", files["wrong"], config=config), 3, "WrongPassword")
    done = lmsctl(*order, "--token-password", files["password"], config=config)
    assert (done.exit_code, done.json["changed"], done.json["was"]) == (0, True, "drsk-absent")
    assert "explanation" not in done.json  # of what is no more
    assert not lmsctl(*order, "--token-password", files["password"], config=config).json["changed"]


def test_a_restore_without_state_needs_package_and_confirmation(platform, files, package):
    config = platform.write_config()
    platform.let_go()
    order = ("restore", "--token", files["token"], "--token-password", files["password"], "--unverified-tpm")
    assert_refused(lmsctl(*order, config=config), 2, "BadRequest")
    order = (*order, "--package", files["package"])
    assert_refused(lmsctl(*order, config=config), 7, "UnconfirmedPackage")
    assert_refused(lmsctl(*order, "--replace-foreign", "xyz", config=config), 2, "BadRequest")
    digits = read_package(package).content.migrating_keys[0].key_id.digits
    done = lmsctl(*order, "--confirm-key", digits, config=config)
    assert (done.exit_code, done.json["age-known"]) == (0, False)


@pytest.mark.parametrize(
    ("setting", "exit_code", "error"),
    [
        ({"tcti": "swtpm:path=/nowhere"}, 4, "TpmUnavailable"),
        ({"tcti": "mssim:"}, 2, "BadConfiguration"),
        ({"colour": '"red"'}, 2, "BadConfiguration"),
    ],
)
def test_what_the_configuration_says_wrongly_is_named(platform, setting, exit_code, error):
    assert lmsctl("status", config=platform.write_config()).exit_code == 0
    config = platform.write_config(**setting)
    said = lmsctl("status", config=config)
    assert_refused(said, exit_code, error)
    if "colour" in setting:
        line = config.read_text().splitlines().index('colour = "red"') + 1
        assert f"'{config}', line {line}, key 'colour'" in said.json["message"]


def _watched(log, module, *arguments, **more):
    command = [sys.executable, "-c", _WATCHED, str(log), module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True, **more)


def test_no_secret_stands_in_a_command_line_or_environment(archived, token, files, tmp_path):
    """Of `lms.boot`, started by `lmsctl`, and of `lms.opener`, started by `lms.boot`."""
    archived.evict()
    config = archived.write_config()
    archived.let_go()
    secrets = ("--token-password", files["password"], "--owner-auth", files["auth"])
    log = tmp_path / "started"
    _watched(
        log, "lms.cli.main", "--config", config,
        "restore", "--token", files["token"], "--unverified-tpm", *secrets,
    )  # fmt: skip
    archived.evict()
    archived.let_go()
    (tmp_path / "options").write_text('{"unverified-tpm": true}')
    given = {
        "token": files["token"],
        "token-password": tmp_path / "plain-password",
        "owner-auth": tmp_path / "plain-auth",
        "options": tmp_path / "options",
        "answer": tmp_path / "answer",
    }
    given["token-password"].write_bytes(token.password)
    given["owner-auth"].write_bytes(OWNER_AUTH.reveal())
    opened = {word: path.open("w+b" if word == "answer" else "rb") for word, path in given.items()}
    words = [f"--{word}={file.fileno()}" for word, file in opened.items()]
    _watched(log, "lms.boot", "restore", "--config", config, *words, pass_fds=[f.fileno() for f in opened.values()])
    for file in opened.values():
        file.close()
    started = log.read_text()
    assert "'lms.boot'" in started
    assert "'lms.opener'" in started
    assert f"--token-password={files['password']}" not in started
    for secret in (token.password, OWNER_AUTH.reveal()):
        assert secret.decode() not in started
        assert repr(secret.decode())[1:-1] not in started
    assert archived.key_at() is not None
