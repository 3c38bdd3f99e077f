"""A bus, and a service on it that has one of everything."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lms.errors import WrongPassword
from lms.link.connection import Connection, Target
from lms.link.descriptors import sealed
from lms.link.objects import Exported
from lms.link.service import BusService
from lms.link.tables import Answer, Call, Interface, Method, Property
from lms.link.values import variant
from tests.support.bus import PrivateBus

NAME = "org.example.Service"
ROOT = "/org/example"
CLOCK = "org.example.Clock"
TARGET = Target(NAME, ROOT, CLOCK)
SECRET = "hunter2"


class Clock:
    """What the service offers; `gate` holds back the answers of Wait, `waiting` counts them."""

    def __init__(self, service: BusService) -> None:
        self.service = service
        self.time = 1
        self.gate = asyncio.Event()
        self.waiting = asyncio.Semaphore(0)
        self.asked: list[Call] = []
        methods = {
            "Echo": Method("v value", "s said", self.echo),
            "Set": Method("t time", "", self.set),
            "Wait": Method("", "", self.wait),
            "Hold": Method("ah descriptors", "", self.wait),
            "Read": Method("a{sh} secrets, h other", "s content", self.read),
            "Make": Method("s content", "h descriptor", self.make),
            "Fail": Method("", "", self.fail),
            "Break": Method("", "", self.break_),
            "Large": Method("", "s text", self.large),
            "Nul": Method("", "s text", self.nul),
        }
        properties = {"Time": Property("t", lambda: self.time), "Zone": Property("s", lambda: "UTC", constant=True)}
        self.interface = Interface(CLOCK, methods, properties, {"Struck": "t time"})

    async def echo(self, call: Call) -> Answer:
        self.asked.append(call)
        return Answer((repr(call.body[0]),))

    async def set(self, call: Call) -> Answer:
        (self.time,) = call.body
        self.service.changed(ROOT)
        return Answer()

    async def wait(self, call: Call) -> Answer:
        self.waiting.release()
        await self.gate.wait()
        return Answer()

    async def read(self, call: Call) -> Answer:
        secrets, other = call.body
        contents = [call.descriptors.content(index, 100) for index in (*secrets.values(), other)]
        return Answer((b" ".join(contents).decode(),))

    async def make(self, call: Call) -> Answer:
        return Answer((0,), (sealed(call.body[0].encode()),))

    async def fail(self, call: Call) -> Answer:
        raise WrongPassword("cannot open it")

    async def break_(self, call: Call) -> Answer:
        raise ValueError(SECRET)

    async def nul(self, call: Call) -> Answer:
        return Answer(("a\0b\udcff",))

    async def large(self, call: Call) -> Answer:
        return Answer(("x" * (17 << 20),))


@asynccontextmanager
async def served(bus: PrivateBus) -> AsyncIterator[Clock]:
    """The service on the bus."""
    service = BusService(bus.address, NAME, ROOT)
    clock = Clock(service)
    service.export(ROOT, Exported((clock.interface,)))
    await service.start()
    try:
        yield clock
    finally:
        await service.stop()


@asynccontextmanager
async def both(bus: PrivateBus) -> AsyncIterator[tuple[Clock, Connection]]:
    """The service and a client that the bus and the service know already."""
    async with served(bus) as clock, await Connection.open(bus.address) as client:
        await client.call(TARGET, "Echo", "v", nothing())
        yield clock, client


def nothing():
    """A variant that means nothing."""
    return variant("b", False)


def open_descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def memory_file(content: bytes) -> int:
    """A memory file that is not sealed."""
    descriptor = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(descriptor, content)
    return descriptor


@pytest.fixture
def bus():
    """A private bus."""
    with PrivateBus() as bus:
        yield bus
