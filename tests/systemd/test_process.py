"""Programs of ours that cannot be started, and what an administrator gave them as systemd credentials."""

from __future__ import annotations

import sys

import pytest

from lms.errors import FileProblem, LmsError, ProgramNotStarted
from lms.model.secret import Secret
from lms.names import ENDORSEMENT_AUTH, OWNER_AUTH
from lms.process import provided_secrets, run_program
from tests.support.asynchronous import in_loop
from tests.support.daemon import client
from tests.support.platform import OWNER_AUTH as GENUINE
from tests.support.platform import lmsctl

PROVIDED = b"what the administrator chose"


@pytest.fixture
def credentials(tmp_path, monkeypatch):
    """The directory that systemd makes, with an owner authorisation in it."""
    directory = tmp_path / "credentials"
    directory.mkdir()
    (directory / "lms.owner-auth").write_bytes(PROVIDED + b"\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    return directory


def provisioning(token) -> tuple[dict, dict]:
    """Options and secrets of `provision`, without an owner authorisation."""
    options = {"fingerprint": token.fingerprint, "offline-token": True, "unverified-tpm": True}
    return options, {"owner": token.owner.document}


def test_a_program_that_cannot_be_started_is_an_error_of_ours(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ProgramNotStarted, match=r"cannot start 'lms\.opener': no such file"):
        run_program("lms.opener", ["create"], {})


def test_what_was_provided_is_found_and_what_was_not_is_left_out(credentials):
    assert provided_secrets(OWNER_AUTH, ENDORSEMENT_AUTH) == {OWNER_AUTH: Secret(PROVIDED)}


def test_without_systemd_nothing_is_provided(monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert provided_secrets(OWNER_AUTH) == {}


def test_a_credential_that_cannot_be_read_is_no_absent_one(credentials):
    (credentials / "lms.endorsement-auth").mkdir()
    with pytest.raises(FileProblem, match=r"lms\.endorsement-auth"):
        provided_secrets(ENDORSEMENT_AUTH)


@in_loop
async def test_the_service_uses_what_was_provided(bus, platform, daemons, token, credentials):
    daemon = daemons(platform)
    options, secrets = provisioning(token)
    async with client(bus.address) as us:
        assert (await us.act("Provision", options, secrets)).result == "done"
        (status,) = await us.verb("Status")
        assert status["owner-auth-set"] is True
        assert (await us.act("Enroll", {"destination": "token"})).result == "done"
    assert PROVIDED.decode() not in daemon.log


@in_loop
async def test_what_comes_with_an_act_goes_before_what_was_provided(bus, provisioned, daemons, credentials):
    """The TPM has another owner authorisation than the one provided: that is asked for, and the supplied one used."""
    daemons(provisioned)
    async with client(bus.address) as us:
        _, path = await us.verb("Enroll", {"destination": "token"})
        waiting = await us.until(path, "waiting")
        assert waiting["Waiting"] == ["owner-auth"]
        await us.supply(path, "owner-auth", GENUINE.reveal())
        assert (await us.until(path, "finished"))["Result"] == "done"


def test_one_act_without_a_daemon_uses_what_was_provided(platform, token, credentials, tmp_path):
    config = platform.write_config()
    platform.let_go()
    (tmp_path / "owner").write_bytes(token.owner.document)
    order = ("provision", "--owner", tmp_path / "owner", "--fingerprint", token.fingerprint, "--offline-token")
    assert lmsctl(*order, "--unverified-tpm", config=config).exit_code == 0
    assert lmsctl("status", config=config).json["owner-auth-set"] is True
    assert lmsctl("enroll", "token", config=config).exit_code == 0


def test_a_defect_of_a_program_is_named_and_its_words_are_not():
    """What it says is a traceback; its last line may hold a secret."""
    with pytest.raises(LmsError, match=r"lms\.opener failed unexpectedly with ValueError") as caught:
        run_program("lms.opener", ["create"], {"token-password": b"a secret", "request": b"hunter2"})
    assert "hunter2" not in str(caught.value)
