"""Other users of the machine: what polkit gives them, what they see, and what they never get."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from lms.errors import BusRefused, NotAuthorized, TooManyJobs
from lms.link.connection import Target
from lms.link.descriptors import sealed
from lms.link.objects import OBJECT_MANAGER
from lms.names import BUS_NAME, JOB, MANAGER, ROOT_PATH
from tests.support.agent import agent
from tests.support.asynchronous import HANGS_S, in_loop
from tests.support.bus import NOBODY, owned
from tests.support.daemon import THE_MANAGER, client

_OBJECTS = Target(BUS_NAME, ROOT_PATH, OBJECT_MANAGER)
_POLKIT = "org.freedesktop.PolicyKit1"


@pytest.fixture
def allowed(allowed) -> tuple[str, ...]:
    """One thing more, so that a job of nobody's can wait."""
    return (*allowed, "restore")


@in_loop
async def test_without_polkit_other_users_see_health_and_nothing_else(bus, archived, daemons):
    daemons(archived)
    async with client(bus.address) as root, client(bus.address, NOBODY) as them:
        assert (await them.properties())["State"] == "at-risk"
        for member in ("Archive", "Provision", "Restore", "Register", "Status", "Inspect"):
            with pytest.raises(NotAuthorized):
                await them.verb(member)
        assert (await root.connection.call(_OBJECTS, "GetManagedObjects"))[0]
        assert await them.connection.call(_OBJECTS, "GetManagedObjects") == ({},)


@in_loop
async def test_polkit_is_asked_for_the_verb(bus, archived, daemons, polkitd, package):
    daemons(archived)
    async with client(bus.address) as root, client(bus.address, NOBODY) as them:
        await owned(root.connection, _POLKIT)
        (status,) = await them.verb("Status")
        assert status["state"] == "at-risk"
        assert status.keys() <= {"state", "meaning", "reason", "explanation"}
        assert "platform" in (await root.verb("Status"))[0]
        (said,) = await them.verb("Inspect", {}, {"package": package})
        assert said["sequence"] == 1
        with pytest.raises(NotAuthorized, match=r"org\.localmigration1\.archive"):
            await them.verb("Archive")
        assert (await root.act("Archive")).result == "done"


@in_loop
async def test_a_person_is_asked_only_where_the_flags_say_so(bus, archived, daemons, polkitd):
    daemons(archived)
    async with client(bus.address) as root, client(bus.address, NOBODY) as them:
        await owned(root.connection, _POLKIT)
        async with agent(bus, answers=True) as asked:
            with pytest.raises(NotAuthorized, match="takes a password"):
                await them.verb("Archive")
            assert not asked
            _, path = await them.verb("Archive", flags=1)
            assert asked == ["org.localmigration1.archive"]
            assert (await them.until(path, "finished"))["Result"] == "done"


@in_loop
async def test_nobody_sees_or_touches_the_job_of_another(bus, archived, daemons, polkitd, token):
    daemons(archived)
    async with (
        client(bus.address) as root,
        client(bus.address, NOBODY) as them,
        them.connection.listening(BUS_NAME, interface=MANAGER) as heard,
        root.connection.listening(BUS_NAME, interface=MANAGER) as heard_by_root,
    ):
        await owned(root.connection, _POLKIT)
        await them.properties()
        await root.properties()
        _, path = await root.verb("Restore", {}, {"token": token.document})
        await root.until(path, "waiting")
        descriptor = sealed(b"x")
        for attempt in (
            them.job(path),
            them.cancel(path),
            them.supply(path, "token-password", b"x"),
            them.collect(path, "owner-auth"),
        ):
            with pytest.raises(BusRefused, match="UnknownObject"):
                await attempt
        os.close(descriptor)
        assert (await heard_by_root.get()).body[1] == path
        await root.cancel(path)
        assert (await heard_by_root.get()).member == "JobRemoved"
        _, own = await them.verb("Restore", {}, {"token": token.document})
        first = await heard.get()
        assert (first.member, first.body[1]) == ("JobNew", own)


@in_loop
async def test_a_user_has_his_own_jobs_and_root_sees_but_never_collects(bus, archived, daemons, polkitd, token):
    daemons(archived)
    place = {"application": "test", "label": "a password"}
    given = {"password": b"precious", "user-password": b"my own"}
    async with client(bus.address) as root, client(bus.address, NOBODY) as them:
        await owned(root.connection, _POLKIT)
        assert (await them.act("Register", place, given)).result == "done"
        (listed,) = await them.verb("Keys")
        assert "a password" in [entry["label"] for entry in listed["entries"]]
        _, path = await them.verb("Retrieve", place, {"user-password": b"my own"})
        assert (await them.until(path, "finished"))["Result"] == "done"
        assert (await root.job(path))["User"] == NOBODY
        with pytest.raises(NotAuthorized, match="owner of the job alone"):
            await root.collect(path, "password")
        assert await them.collect(path, "password") == b"precious"
        (found,) = await them.connection.call(_OBJECTS, "GetManagedObjects")
        assert {properties["User"] for one in found.values() for name, properties in one.items() if name == JOB} == {
            NOBODY
        }


@in_loop
async def test_a_user_has_so_many_unfinished_jobs_and_no_more(bus, archived, daemons, polkitd, token):
    daemons(archived)
    async with client(bus.address) as root, client(bus.address, NOBODY) as them:
        await owned(root.connection, _POLKIT)
        paths = [(await them.verb("Restore", {}, {"token": token.document}))[1] for _ in range(16)]
        for path in paths:
            await them.until(path, "waiting")
        with pytest.raises(TooManyJobs):
            await them.verb("Restore")
        assert (await root.act("Archive")).result == "done"
        await them.cancel(paths[0])
        await them.until(paths[0], "finished")
        assert await them.verb("Restore", {}, {"token": token.document})


@in_loop
async def test_a_wrong_type_of_call_names_no_internals(bus, archived, daemons):
    daemons(archived)
    async with client(bus.address) as us:
        with pytest.raises(BusRefused, match="InvalidArgs"):
            await us.connection.call(THE_MANAGER, "Provision", "a{sv}", {})
        with pytest.raises(BusRefused, match="UnknownMethod"):
            await us.connection.call(THE_MANAGER, "Destroy")


def descriptors_of(daemon) -> int:
    """How many it has open."""
    return len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))


@in_loop
async def test_a_flood_of_calls_and_descriptors_leaves_the_daemon_as_it_was(bus, archived, daemons):
    """Of another user, over many connections, who reads no answer before he has sent all."""
    daemon = daemons(archived)
    given = [sealed(b"x") for _ in range(16)]
    indices = {str(index): index for index in range(len(given))}
    async with client(bus.address) as us:
        await us.properties()
        before = descriptors_of(daemon)
        async with AsyncExitStack() as closing:
            flood = [await closing.enter_async_context(client(bus.address, NOBODY)) for _ in range(20)]
            calls = [
                them.connection.call(
                    THE_MANAGER, "Archive", "a{sv}a{sh}t", {}, indices, 0, descriptors=given, deadline_s=HANGS_S
                )
                for them in flood
                for _ in range(100)
            ]
            answers = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(answer, NotAuthorized | BusRefused) for answer in answers)
        refused = [str(answer) for answer in answers if isinstance(answer, BusRefused)]
        assert refused
        assert all("LimitsExceeded" in text for text in refused)
        assert (await us.act("Archive")).result == "done"
        # When a job ended it looks at its state and its TPM once more; what the flood had left would stay.
        while descriptors_of(daemon) != before:
            await us.properties()
        assert "Traceback" not in daemon.log
    for descriptor in given:
        os.close(descriptor)


@in_loop
async def test_jobs_that_are_begun_at_once_are_counted_as_well(bus, archived, daemons, polkitd, token):
    daemons(archived)
    async with client(bus.address) as root, client(bus.address, NOBODY) as them:
        await owned(root.connection, _POLKIT)
        given = {}, {"token": token.document}
        began = await asyncio.gather(*(them.verb("Restore", *given) for _ in range(30)), return_exceptions=True)
        paths = [one[1] for one in began if not isinstance(one, Exception)]
        assert len(paths) == 16
        assert {type(one) for one in began if isinstance(one, Exception)} == {TooManyJobs}
        for path in paths:
            await them.until(path, "waiting")
            await them.cancel(path)
            await them.until(path, "finished")
        assert (await them.verb("Restore", *given))[1] not in paths


@in_loop
async def test_the_jobs_of_a_user_hold_so_many_bytes_and_no_more(bus, archived, daemons, polkitd, token):
    """What a job was given stays with it while it waits, whether or not its act has any use for it."""
    daemons(archived)
    place = {"application": "test", "label": "large"}
    given = {"data": bytes(32 << 20), "grant": bytes(16 << 20), "approval": bytes(16 << 20)}
    async with client(bus.address) as root, client(bus.address, NOBODY) as them:
        await owned(root.connection, _POLKIT)
        paths = [(await them.verb("Register", place, given))[1] for _ in range(2)]
        for path in paths:
            await them.until(path, "waiting")
        with pytest.raises(TooManyJobs):
            await them.verb("Register", place, {"data": b"x"})
        await them.cancel(paths[0])
        await them.until(paths[0], "finished")
        await them.verb("Register", place, {"data": b"x"})
