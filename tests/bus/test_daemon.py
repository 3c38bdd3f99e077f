"""`lmsd` as a process: killed and started again, left by its bus, asked to end, and not alone."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from lms.config import Configuration
from lms.daemon import _privileged
from lms.errors import BadRequest, BusRefused, BusUnavailable, TpmUnavailable
from lms.link.connection import Connection
from lms.names import BUS_NAME, ROOT_PATH
from tests.support.asynchronous import in_loop
from tests.support.bus import NOBODY, as_user, owned
from tests.support.daemon import Daemon, client
from tests.support.platform import OWNER_AUTH


async def restoring(us, token) -> tuple[int, str]:
    """A job that waits for the token's password."""
    given = {"owner-auth": OWNER_AUTH.reveal(), "token": token.document}
    number, path = await us.verb("Restore", {"unverified-tpm": True}, given)
    await us.until(path, "waiting")
    return number, path


@in_loop
async def test_a_job_outlives_a_killed_daemon_and_asks_for_its_secrets_again(bus, archived, daemons, token):
    archived.evict()
    daemon = daemons(archived)
    async with client(bus.address) as us:
        number, path = await restoring(us, token)
        daemon.stop(signal.SIGKILL)
        daemon.start().until("READY=1")
        job = await us.job(path)
        assert (job["Id"], job["Type"], job["State"]) == (number, "restore", "waiting")
        assert job["Waiting"] == ["owner-auth", "token"]
        assert "after a restart" in job["Message"]
        await us.supply(path, "token", token.document)
        await us.supply(path, "owner-auth", OWNER_AUTH.reveal())
        await us.until(path, "waiting", Waiting=["token-password"])
        await us.supply(path, "token-password", token.password)
        end = await us.until(path, "finished")
        assert (end["Result"], end["Answer"]["changed"]) == ("done", True)
        later, _ = await us.verb("Archive")
        assert later > number


@in_loop
async def test_the_daemon_outlives_its_bus_and_so_do_its_jobs(bus, archived, daemons, token):
    archived.evict()
    daemon = daemons(archived)
    async with client(bus.address) as us:
        _, path = await restoring(us, token)
        bus.stop()
        daemon.until("STATUS=the bus went away")
        with pytest.raises(BusUnavailable):
            await us.job(path)
    bus.start()
    daemon.until("STATUS=on the bus")
    async with client(bus.address) as us:
        assert (await us.job(path))["State"] == "waiting"
        await us.supply(path, "token-password", token.password)
        assert (await us.until(path, "finished"))["Result"] == "done"


@in_loop
async def test_the_daemon_outlives_its_tpm(bus, archived, daemons):
    daemons(archived)
    async with client(bus.address) as us:
        archived.machine.stop(signal.SIGKILL)
        failed = await us.act("Archive")
        assert (failed.result, failed.error) == ("failed", TpmUnavailable.__name__)
        archived.machine.start()
        assert (await us.act("Archive")).result == "done"
        (status,) = await us.verb("Status")
        assert (status["state"], status["reason"]) == ("at-risk", "intact")


@contextmanager
def frozen(machine) -> Iterator[None]:
    """Its TPM does not answer."""
    machine.machine.freeze()
    try:
        yield
    finally:
        machine.machine.thaw()


@in_loop
async def test_a_frozen_tpm_holds_up_its_job_and_nobody_else(bus, archived, daemons, package):
    daemon = daemons(archived)
    async with client(bus.address) as us:
        with frozen(archived):
            number, path = await us.verb("Archive")
            await us.until(path, "running")
            assert (await us.properties())["State"] == "at-risk"
            (said,) = await us.verb("Inspect", {}, {"package": package})
            assert said["document"] == "MigrationPackage"
            assert (await us.job(path))["State"] == "running"
            assert daemon.stop(signal.SIGTERM) == 0
        assert "the next process begins it anew" in daemon.log
        daemon.start().until("READY=1")
        assert (await us.job(path))["Id"] == number
        assert (await us.until(path, "finished"))["Result"] == "done"


@pytest.mark.slow
@in_loop
async def test_sigterm_waits_for_no_question_to_a_frozen_tpm(bus, archived, daemons):
    daemon = daemons(archived)
    async with client(bus.address) as us:
        with frozen(archived):
            asked = asyncio.create_task(us.verb("Status"))
            for _ in range(3):  # what was asked first on a line is begun first
                await us.properties()
            assert daemon.stop(signal.SIGTERM) == 0
        assert "it gets no answer" in daemon.log
        with pytest.raises(BusRefused, match="NoReply"):
            await asked


@pytest.fixture
def hurried(bus, archived):
    """An `lmsd` that waits for its TPM three seconds."""
    archived.let_go()
    daemon = Daemon(archived.write_config(bus=f'"{bus.address}"'), "tests.support.hurried")
    daemon.start().until("READY=1")
    yield daemon
    daemon.remove()


@pytest.mark.slow
@in_loop
async def test_what_waits_for_a_frozen_tpm_ends_in_time_and_it_works_again(bus, archived, hurried):
    async with client(bus.address) as us:
        with frozen(archived):
            failed = await us.act("Archive")
            assert (failed.result, failed.error) == ("failed", TpmUnavailable.__name__)
        assert (await us.act("Archive")).result == "done"
        with frozen(archived):
            with pytest.raises(TpmUnavailable):
                await us.verb("Status")
            assert hurried.stop(signal.SIGTERM) == 0


@in_loop
async def test_sigterm_ends_it_in_good_order(bus, archived, daemons, token):
    daemon = daemons(archived)
    async with client(bus.address) as us:
        number, path = await restoring(us, token)
        assert daemon.stop(signal.SIGTERM) == 0
        daemon.start().until("STOPPING=1")
        daemon.until("READY=1")
        assert (await us.job(path))["Id"] == number
        assert "Traceback" not in daemon.log


@pytest.mark.slow
@in_loop
async def test_sigterm_waits_for_no_silent_authority(bus, archived, daemons):
    daemon = daemons(archived)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        via = f"https://127.0.0.1:{silent.getsockname()[1]}"
        async with client(bus.address) as us:
            number, path = await us.verb("Enroll", {"destination": "msa", "via": via, "id": str(uuid4())})
            held, _ = await asyncio.to_thread(silent.accept)
            assert daemon.stop(signal.SIGTERM) == 0
            assert "the next process begins it anew" in daemon.log
            held.close()
    daemon.start().until("READY=1")
    async with client(bus.address) as us:
        assert (await us.job(path))["Id"] == number


@in_loop
async def test_a_bus_and_a_state_directory_have_one_daemon(bus, platform, machines, daemons):
    other = machines()
    other.let_go()
    daemons(platform)
    for machine, address, reason in (
        (other, bus.address, "another program does"),
        (platform, bus.address, "another instance works on it"),
        (other, "unix:path=/nowhere", "cannot reach the bus"),
        (other, "tcp:host=localhost", "key 'bus'"),
    ):
        second = Daemon(machine.write_config(bus=f'"{address}"'))
        try:
            assert second.start().wait() in (2, 7)
            assert reason in second.log
            assert "hint: " in second.log
        finally:
            second.remove()
    async with client(bus.address) as us:
        assert await us.verb("Status")


@in_loop
async def test_a_service_that_systemd_watches_says_that_it_lives(bus, platform, daemons):
    daemon = daemons(platform)
    daemon.stop()
    daemon.start(WATCHDOG_USEC="60000000").until("WATCHDOG=1")


@in_loop
async def test_what_a_call_carries_is_checked_before_a_job_is_made(bus, platform, daemons):
    daemons(platform)
    async with client(bus.address) as us:
        for options, secrets, flags, reason in (
            ({}, {}, 2, "flags 0x2"),
            ({}, {}, 2**63, "flags"),
            ({}, {"colour": b"red"}, 0, "there is no such word"),
            ({}, {"owner-auth": b"x" * 5000}, 0, "at most 4096"),
            ({"fingerprint": "x" * 70_000}, {}, 0, "too long"),
            ({"fingerprint": b"bytes"}, {}, 0, "neither text, number nor flag"),
        ):
            with pytest.raises(BadRequest, match=reason):
                await us.verb("Provision", options, secrets, flags)
        _, path = await us.verb("Provision", {}, {}, 1)
        assert path == f"{ROOT_PATH}/job/1"


@in_loop
async def test_a_daemon_that_ends_gives_its_name_back(bus, platform, daemons):
    daemon = daemons(platform)
    async with await Connection.open(bus.address) as watcher:
        await owned(watcher, BUS_NAME)
        daemon.stop()
        await owned(watcher, BUS_NAME, by_somebody=False)


@in_loop
async def test_the_systems_bus_is_found_by_its_name(bus, platform, daemons):
    daemon = daemons(platform)
    daemon.stop()
    platform.write_config(bus='"system"')
    daemon.start(DBUS_SYSTEM_BUS_ADDRESS=bus.address).until("READY=1")
    async with client(bus.address) as us:
        assert (await us.properties())["State"] == "unprovisioned"


@pytest.mark.parametrize(
    ("named", "passing"), [("system", {0}), ("session", {0, NOBODY}), ("unix:path=/run/private", {0, NOBODY})]
)
def test_the_daemons_own_user_passes_on_a_private_bus_only(named, passing):
    with as_user(NOBODY):
        assert _privileged(Configuration(bus=named)) == passing
