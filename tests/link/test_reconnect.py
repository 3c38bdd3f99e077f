"""A bus that goes away: calls end, the service comes back, and no name is kept that another program took."""

from __future__ import annotations

import asyncio

import pytest

from lms.errors import BusNameTaken, BusRefused, BusUnavailable, NoAnswer
from lms.link.connection import BUS, Connection, Target
from tests.link.conftest import NAME, ROOT, TARGET, open_descriptors, served
from tests.support.asynchronous import in_loop

_PEER = Target(NAME, ROOT, "org.freedesktop.DBus.Peer")


@in_loop
async def test_a_call_has_a_deadline_and_leaves_nothing_behind(bus):
    async with served(bus) as clock, await Connection.open(bus.address) as client:
        with pytest.raises(NoAnswer):
            await client.call(TARGET, "Wait", deadline_s=0)
        clock.gate.set()
        assert await client.call(TARGET, "Wait") == ()
        assert not client._replies


@in_loop
async def test_a_call_ends_when_the_bus_does(bus):
    async with served(bus) as clock, await Connection.open(bus.address) as client:
        waiting = asyncio.create_task(client.call(TARGET, "Wait"))
        await clock.waiting.acquire()
        bus.stop()
        with pytest.raises(BusUnavailable):
            await waiting
        with pytest.raises(BusUnavailable):
            await client.call(TARGET, "Wait")


@in_loop
async def test_a_service_outlives_its_bus(bus):
    said: asyncio.Queue[str] = asyncio.Queue()
    async with served(bus) as clock:
        before = open_descriptors()
        serving = asyncio.create_task(clock.service.run(said.put_nowait))
        for _ in range(3):
            bus.stop()
            assert await said.get() == "the bus went away"
            clock.service.changed(ROOT)  # nobody hears it, nothing breaks
            bus.start()
            assert await said.get() == "on the bus"
            async with await Connection.open(bus.address) as client:
                assert await client.call(_PEER, "Ping") == ()
        assert open_descriptors() == before
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@in_loop
async def test_a_name_that_was_taken_is_not_served_on(bus):
    async with served(bus) as clock, await Connection.open(bus.address) as other:
        connection = clock.service.connection
        await connection.call(BUS, "RequestName", "su", NAME, 1)  # from now on it may be replaced
        with pytest.raises(BusNameTaken):
            await other.request_name(NAME)
        await other.call(BUS, "RequestName", "su", NAME, 2)
        await connection.lost


@in_loop
async def test_credentials_are_asked_once_and_forgotten_with_their_owner(bus):
    async with served(bus) as clock:
        connection = clock.service.connection
        async with await Connection.open(bus.address) as client, connection.listening(BUS.destination):
            await client.call(_PEER, "Ping")
            await client.call(_PEER, "Ping")
            assert list(connection.known()) == [client.unique_name]
            name = client.unique_name
        async with await Connection.open(bus.address) as next_one:
            await next_one.call(_PEER, "Ping")
            assert name not in connection.known()


@in_loop
async def test_who_was_gone_before_we_asked_is_not_remembered(bus):
    async with served(bus) as clock:
        connection = clock.service.connection
        with pytest.raises(BusRefused):
            await connection.credentials(":1.4711")
        assert not connection._credentials
