"""The service as installed, started by systemd on a machine of its own (`make test-systemd`)."""

from __future__ import annotations

import json
import signal
import ssl
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from lms.errors import NotAuthorized
from lms.link.connection import BUS, Connection
from lms.names import BUS_NAME, DEFAULT_AUTHORITY_DIRECTORY, DEFAULT_RECOVERY_DIRECTORY, DEFAULT_STATE_DIRECTORY
from tests.support.asynchronous import in_loop
from tests.support.bus import NOBODY
from tests.support.daemon import Client, client
from tests.support.keeping import make_authority
from tests.support.machine import AUTHORITY, SERVICE, Machine, run

pytestmark = pytest.mark.machine

# The directories in which a process may make files, and whether it could execute them there.
_WRITABLE = """
import os
for path, names, _ in os.walk("/"):
    names[:] = (name for name in names if os.path.join(path, name) not in ("/proc", "/sys"))
    if os.access(path, os.W_OK):
        print(path, "noexec" if os.statvfs(path).f_flag & os.ST_NOEXEC else "exec")
"""
OWNER_AUTH = b"what only the owner knows"


async def provision(us: Client, token, **secrets: bytes) -> None:
    """Provision, enroll the token, archive; `owner_auth` where the machine has none."""
    given = {word.replace("_", "-"): value for word, value in secrets.items()}
    options = {"fingerprint": token.fingerprint, "offline-token": True, "unverified-tpm": True}
    for verb, order, documents in (
        ("Provision", options, {"owner": token.owner.document}),
        ("Enroll", {"destination": "token"}, {}),
        ("Archive", {}, {}),
    ):
        done = await us.act(verb, order, documents | (given if verb != "Archive" else {}))
        assert (done.result, done.message) == ("done", "")


async def next_owner(connection: Connection, act, *words: str) -> None:
    """Do something, and return when another process owns the name."""
    async with connection.listening(BUS.destination, member="NameOwnerChanged") as signals:
        act(*words)
        while True:
            name, _, owner = (await signals.get()).body
            if name == BUS_NAME and owner:
                return


def test_it_is_active_when_it_is_on_the_bus(machine):
    run("systemctl", "start", SERVICE)
    assert (machine.show("ActiveState"), machine.show("NRestarts")) == ("active", "0")
    assert machine.show("StatusText") == "on the bus"
    assert BUS_NAME in run("busctl", "list", "--acquired", "--no-legend")
    assert machine.show("WatchdogUSec") == "30s"


def test_a_call_starts_it(machine):
    run("systemctl", "enable", SERVICE)
    assert machine.show("ActiveState") == "inactive"
    where = (BUS_NAME, "/org/localmigration1", "org.localmigration1.Manager")
    assert run("busctl", "get-property", *where, "State") == 's "unprovisioned"\n'
    assert machine.show("ActiveState") == "active"
    assert '"unprovisioned"' in run("busctl", "call", *where, "Status", "a{sv}a{sh}t", 0, 0, 0)


def test_it_runs_in_its_sandbox(machine):
    run("systemctl", "start", SERVICE)
    assert machine.status("Uid").split()[0] == run("id", "-u", "lms").strip()
    assert int(machine.status("CapBnd"), 16) == int(machine.status("CapEff"), 16) == 0
    assert (machine.status("NoNewPrivs"), machine.status("Seccomp")) == ("1", "2")
    pid = machine.show("MainPID")
    assert Path(f"/proc/{pid}/mem").stat().st_uid == 0  # not dumpable: it is not the user's
    inside = ("nsenter", "--target", pid, "--mount", "setpriv", "--reuid=lms", "--regid=lms", "--clear-groups")
    found = dict(line.split() for line in run(*inside, "/usr/bin/python3", "-c", _WRITABLE).splitlines())
    ours = {DEFAULT_STATE_DIRECTORY, DEFAULT_RECOVERY_DIRECTORY, str(machine.archive)}
    assert found == dict.fromkeys(ours | {"/tmp", "/var/tmp", "/dev/mqueue"}, "noexec")


@in_loop
async def test_keys_survive_their_tpm_inside_the_sandbox(machine, token):
    run("systemctl", "start", SERVICE)
    async with client("system") as us:
        await provision(us, token, owner_auth=OWNER_AUTH)
        (before,) = await us.verb("Status")
        assert (before["state"], before["reason"]) == ("at-risk", "intact")
    (package,) = machine.packages()
    assert list(Path(DEFAULT_RECOVERY_DIRECTORY).iterdir())
    run("systemctl", "stop", SERVICE)
    machine.new_tpm()
    run("systemctl", "start", SERVICE)
    async with client("system") as us:
        assert (await us.properties())["State"] == "restore-needed"
        secrets = {"token": token.document, "token-password": token.password, "owner-auth": OWNER_AUTH}
        restored = await us.act("Restore", {"unverified-tpm": True}, secrets)
        assert (restored.result, restored.message) == ("done", "")
        (after,) = await us.verb("Status")
        assert (after["state"], after["reason"]) == ("at-risk", "intact")
    written = machine.journal()
    assert {"MESSAGE=lmsd: on the bus", "LMS_VERB=restore", "LMS_RESULT=done"} <= {*written.splitlines()}
    for secret in (OWNER_AUTH, token.password):
        assert secret.decode() not in written
    assert package.exists()


@pytest.mark.parametrize("provide", [Machine.provide, Machine.provide_encrypted])
@in_loop
async def test_an_authorisation_that_an_administrator_keeps_is_used(machine, token, provide):
    provide(machine, OWNER_AUTH)
    run("systemctl", "start", SERVICE)
    async with client("system") as us:
        await provision(us, token)
        (status,) = await us.verb("Status")
        assert status["owner-auth-set"] is True
    assert OWNER_AUTH.decode() not in machine.journal()


@in_loop
async def test_a_killed_service_is_back_and_knows_its_state(machine, token):
    run("systemctl", "start", SERVICE)
    async with client("system") as us:
        await provision(us, token, owner_auth=OWNER_AUTH)
        await next_owner(us.connection, run, "systemctl", "kill", "--signal=KILL", SERVICE)
        assert (await us.properties())["State"] == "at-risk"
    assert machine.show("NRestarts") == "1"


@in_loop
async def test_a_service_that_hangs_is_started_again(machine):
    machine.drop_in(SERVICE, "WatchdogSec=1s", "LimitCORE=0")
    run("systemctl", "start", SERVICE)
    async with client("system") as us:
        await next_owner(us.connection, run, "systemctl", "kill", f"--signal={signal.SIGSTOP.name}", SERVICE)
        assert (await us.properties())["State"] == "unprovisioned"
    assert machine.show("NRestarts") == "1"
    assert "watchdog" in machine.journal().lower()


def test_lmsctl_asks_the_service_and_the_service_asks_polkit(machine):
    run("systemctl", "enable", "--now", SERVICE)
    assert json.loads(run("lmsctl", "--json", "status"))["state"] == "unprovisioned"
    as_nobody = ("runuser", "-u", "nobody", "--", "lmsctl", "--json")
    assert json.loads(run(*as_nobody, "status"))["state"] == "unprovisioned"
    with pytest.raises(CalledProcessError) as refused:
        run(*as_nobody, "archive")
    assert json.loads(refused.value.stdout)["error"] == "NotAuthorized"
    with pytest.raises(CalledProcessError) as failed:
        run("lmsctl", "--json", "archive")
    assert json.loads(failed.value.stdout)["error"] == "NotProvisioned"


@in_loop
async def test_polkit_lets_a_user_look_and_nothing_else(machine, token):
    run("systemctl", "start", SERVICE)
    async with client("system") as root, client("system", NOBODY) as them:
        await provision(root, token, owner_auth=OWNER_AUTH)
        (status,) = await them.verb("Status")  # so polkit was asked, and answered a service that is not root
        assert status["state"] == "at-risk"
        for member in ("Provision", "Enroll", "Archive", "Restore"):
            with pytest.raises(NotAuthorized, match=f"org.localmigration1.{member.lower()}'"):
                await them.verb(member)


def test_a_configuration_that_is_wrong_is_not_tried_again(machine):
    Path("/etc/lms/lms.toml").write_text('colour = "red"\n')
    with pytest.raises(CalledProcessError):
        run("systemctl", "start", SERVICE)
    assert (machine.show("ExecMainStatus"), machine.show("NRestarts")) == ("2", "0")
    assert "line 1, key 'colour'" in machine.journal()


@in_loop
async def test_what_root_wrote_without_the_service_becomes_its_own(machine, token, tmp_path):
    """As after a rescue system: `systemd-tmpfiles` runs at each boot."""
    files = {"owner": token.owner.document, "auth": OWNER_AUTH}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    order = ["provision", "--owner", tmp_path / "owner", "--fingerprint", token.fingerprint, "--offline-token"]
    said = run("lmsctl", "--json", *order, "--no-daemon", "--unverified-tpm", "--owner-auth", tmp_path / "auth")
    assert json.loads(said)["state"] == "created"
    run("systemd-tmpfiles", "--create", "lms.tmpfiles.conf")
    run("systemctl", "start", SERVICE)
    async with client("system") as us:
        assert (await us.properties())["State"] == "created"


def test_an_authority_serves(machine):
    directory = Path(DEFAULT_AUTHORITY_DIRECTORY)
    directory.mkdir(mode=0o700)
    authority = make_authority(directory)
    authority.store.close()
    run("systemctl", "start", AUTHORITY)
    assert machine.show("ActiveState", AUTHORITY) == "active"
    shown = ssl.get_server_certificate(("::1", 8443))
    assert ssl.PEM_cert_to_DER_cert(shown) == authority.leaf
    assert {path.owner() for path in (directory, *directory.iterdir())} == {"lms-authority"}
