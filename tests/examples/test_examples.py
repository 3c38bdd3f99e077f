"""The examples do what their README says, against the real daemon, before and after the TPM is replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.asynchronous import in_loop
from tests.support.daemon import client
from tests.support.platform import OWNER_AUTH

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SECRET = b"what the application cannot lose\0\xff"


@pytest.fixture
def run(bus, tmp_path):
    """Run an example on the private bus."""
    auth = tmp_path / "owner-auth"
    auth.write_bytes(OWNER_AUTH.reveal() + b"\n")

    def run(*command: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        environment = os.environ | {"LMS_BUS": bus.address, "OWNER_AUTH_FILE": str(auth)}
        return subprocess.run(command, input=given, capture_output=True, env=environment, check=False)

    return run


@pytest.fixture
def application(run):
    return lambda verb, given=b"": run(sys.executable, str(EXAMPLES / "application.py"), verb, given=given)


@in_loop
async def test_an_application_keeps_its_secret_over_the_loss_of_the_tpm(
    bus, archived, daemons, machines, token, run, application
):
    daemon = daemons(archived)
    kept = application("keep", SECRET)
    assert (kept.returncode, kept.stdout) == (0, b""), kept.stderr
    done = run(str(EXAMPLES / "archive.sh"))
    assert (done.returncode, done.stdout) == (0, b"archived; the platform is now: at-risk\n"), done.stderr
    assert application("restore").stdout == SECRET
    daemon.stop()
    board = machines(disk_of=archived.directory)
    daemons(board)
    refused = application("restore")
    assert refused.returncode == 1
    assert b"application.py: " in refused.stderr
    await restore(bus, token)
    assert application("restore").stdout == SECRET


def test_an_archive_that_fails_is_told(platform, daemons, run):
    daemons(platform)
    refused = run(str(EXAMPLES / "archive.sh"))
    assert refused.returncode == 1
    assert b"archive.sh: cannot do this before the platform is provisioned" in refused.stderr
    assert b"archive.sh: hint: run `lmsctl provision` first" in refused.stderr


@pytest.mark.parametrize(
    "command", [[str(EXAMPLES / "archive.sh")], [sys.executable, str(EXAMPLES / "application.py"), "keep"]]
)
def test_a_bus_that_is_not_there_is_told(tmp_path, command):
    nowhere = os.environ | {"LMS_BUS": f"unix:path={tmp_path}/nobody"}
    refused = subprocess.run(command, input=b"", capture_output=True, env=nowhere, check=False)
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"No such file or directory" in refused.stderr
    assert b"Traceback" not in refused.stderr


def test_a_bus_that_is_no_address_is_told():
    for address in ("nonsense", "tcp:host=localhost,port=x"):
        command = [sys.executable, str(EXAMPLES / "application.py"), "keep"]
        refused = subprocess.run(
            command, input=b"", capture_output=True, env=os.environ | {"LMS_BUS": address}, check=False
        )
        assert refused.returncode == 1
        assert refused.stderr.startswith(b"application.py: cannot reach the bus: ")


def test_an_authorisation_that_is_not_there_is_told(bus, archived, daemons, tmp_path):
    daemons(archived)
    environment = os.environ | {"LMS_BUS": bus.address, "OWNER_AUTH_FILE": str(tmp_path / "absent")}
    command = [sys.executable, str(EXAMPLES / "application.py"), "restore"]
    refused = subprocess.run(command, input=b"", capture_output=True, env=environment, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(b"application.py: cannot read OWNER_AUTH_FILE")


def test_nobody_is_asked_where_there_is_no_terminal(bus, archived, daemons):
    daemons(archived)
    command = [sys.executable, str(EXAMPLES / "application.py"), "restore"]
    refused = subprocess.run(
        command, input=b"", capture_output=True, env=os.environ | {"LMS_BUS": bus.address}, check=False
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith(b"application.py: cannot ask for the TPM's owner authorisation")


def test_who_watches_hears_of_loss_and_return(bus, archived, daemons, machines, token):
    """The application waits on its pipe, so nothing here sleeps."""
    daemon = daemons(archived)
    watching = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "application.py"), "watch"],
        env=os.environ | {"LMS_BUS": bus.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    try:
        assert watching.stdout.readline() == "watching\n"
        daemon.stop()
        board = machines(disk_of=archived.directory)
        daemons(board)
        assert watching.stdout.readline().startswith("the keys of this machine are gone")
        in_loop(restore)(bus, token)
        assert watching.stdout.readline() == "the keys of this machine are back\n"
        watching.send_signal(signal.SIGINT)
        assert watching.communicate() == ("", "")
        assert watching.returncode == 130
    finally:
        watching.kill()
        watching.communicate()


async def restore(bus, token) -> None:
    secrets = {"token": token.document, "token-password": token.password, "owner-auth": OWNER_AUTH.reveal()}
    async with client(bus.address) as us:
        assert (await us.act("Restore", {"unverified-tpm": True}, secrets)).result == "done"


def test_usage_is_told(application):
    assert application("nonsense").returncode == 2
