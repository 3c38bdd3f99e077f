"""Neighbours on the bus: what they send neither ends the connection, nor fills the service, nor makes it talk."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
import struct
from dataclasses import replace

import dbus_next.aio
import pytest
from dbus_next import Message

from lms.errors import BadRequest, BusRefused, LmsError, WrongPassword
from lms.link.connection import Connection, Target
from lms.link.descriptors import Descriptors, sealed
from lms.link.objects import Exported
from lms.link.quota import MAX_BYTES, MAX_CALLS, MAX_DESCRIPTORS
from lms.link.transport import Transport
from lms.link.values import variant
from tests.link.conftest import CLOCK, NAME, ROOT, SECRET, TARGET, both, memory_file
from tests.support.asynchronous import HANGS_S, in_loop

_MANY = 5000
_PEER = Target(NAME, ROOT, "org.freedesktop.DBus.Peer")


def _call(member: str, signature: str = "", *body, target: Target = TARGET, **more) -> Message:
    return Message(
        destination=target.destination,
        path=target.path,
        interface=target.interface,
        member=member,
        signature=signature,
        body=list(body),
        **more,
    )


@in_loop
async def test_a_full_socket_does_not_end_the_connection(bus):
    """More at once than a socket holds. The control is the library's own writer, which is disconnected by it."""
    victim = await dbus_next.aio.MessageBus(bus_address=bus.address).connect()
    with bus.frozen():
        for _ in range(_MANY):
            sent = victim.send(Message.new_signal(ROOT, CLOCK, "Struck", "s", ["x" * 1000]))
            sent.add_done_callback(lambda done: done.exception())
        with pytest.raises(BlockingIOError):
            await victim.wait_for_disconnect()
    victim._stream.close()
    victim._sock.close()
    async with both(bus) as (clock, client), client.listening(NAME, member="Struck") as signals:
        for number in range(_MANY):
            clock.service.emit(ROOT, CLOCK, "Struck", number)
        assert [(await signals.get()).body[0] for _ in range(_MANY)] == list(range(_MANY))


@in_loop
async def test_pipelined_calls_are_all_answered(bus):
    async with both(bus) as (clock, client):
        name = clock.service.connection.unique_name
        clients = [await Connection.open(bus.address) for _ in range(10)]
        large = variant("s", "x" * 2000)
        flood = [one.call(TARGET, "Echo", "v", large, deadline_s=HANGS_S) for one in clients for _ in range(200)]
        answers = await asyncio.gather(*flood, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, LmsError)]
        assert len(refused) < len(answers)
        assert all("LimitsExceeded" in str(error) for error in refused)
        assert await client.call(_PEER, "Ping") == ()
        assert clock.service.connection.unique_name == name
        for one in clients:
            one.close()


@in_loop
async def test_a_sender_has_so_many_calls_and_no_more(bus):
    async with both(bus) as (clock, client):
        waiting = [asyncio.create_task(client.call(TARGET, "Wait")) for _ in range(MAX_CALLS)]
        for _ in waiting:
            await clock.waiting.acquire()
        with pytest.raises(BusRefused, match="LimitsExceeded"):
            await client.call(TARGET, "Wait")
        async with await Connection.open(bus.address) as second:  # the same user
            with pytest.raises(BusRefused, match="some of this user"):
                await second.call(TARGET, "Wait")
        clock.gate.set()
        assert await asyncio.gather(*waiting) == [()] * MAX_CALLS
        assert await client.call(TARGET, "Wait") == ()


@in_loop
async def test_a_sender_has_so_many_descriptors_and_no_more(bus):
    async with both(bus) as (clock, client):
        given = [sealed(b"x") for _ in range(16)]
        calls = MAX_DESCRIPTORS // len(given)

        async def hold() -> None:
            await client.call(TARGET, "Hold", "ah", list(range(len(given))), descriptors=given)

        waiting = [asyncio.create_task(hold()) for _ in range(calls)]
        for _ in waiting:
            await clock.waiting.acquire()
        with pytest.raises(BusRefused, match="LimitsExceeded"):
            await hold()
        clock.gate.set()
        await asyncio.gather(*waiting)
        await hold()
        for descriptor in given:
            os.close(descriptor)


@in_loop
async def test_a_user_sends_so_many_bytes_and_no_more(bus):
    """Files that are all hole, which cost their sender nothing."""
    async with both(bus) as (clock, client):
        hole = memory_file(b"")
        os.ftruncate(hole, MAX_BYTES // 4)

        async def hold(sender: Connection) -> None:
            await sender.call(TARGET, "Hold", "ah", [0], descriptors=[hole])

        waiting = [asyncio.create_task(hold(client)) for _ in range(4)]
        for _ in waiting:
            await clock.waiting.acquire()
        async with await Connection.open(bus.address) as second:
            for sender in (client, second):
                with pytest.raises(BusRefused, match="LimitsExceeded"):
                    await hold(sender)
            assert await second.call(_PEER, "Ping") == ()
        clock.gate.set()
        await asyncio.gather(*waiting)
        await hold(client)
        os.close(hole)


def test_what_came_is_read_once_and_no_larger_than_it_was_counted():
    grown, given = memory_file(b"x"), sealed(b"content")
    with Descriptors([grown, given]) as descriptors:
        os.write(grown, b"y" * 99)
        fcntl.fcntl(grown, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
        with pytest.raises(BadRequest, match="100 bytes"):
            descriptors.content(0, 1000)
        assert descriptors.content(1, 1000) == b"content"
        with pytest.raises(BadRequest, match="twice"):
            descriptors.content(1, 1000)


@in_loop
async def test_the_bus_hears_no_more_of_an_error_than_its_name(bus, caplog):
    async with both(bus) as (_, client):
        with pytest.raises(WrongPassword, match="cannot open it"):
            await client.call(TARGET, "Fail")
        with caplog.at_level(logging.ERROR), pytest.raises(LmsError) as told:
            await client.call(TARGET, "Break")
        assert type(told.value) is LmsError
        assert str(told.value) == "cannot go on: internal error"
        assert "ValueError" in caplog.text
        assert SECRET not in caplog.text


@in_loop
async def test_what_no_text_of_the_bus_may_have_is_replaced(bus):
    """A bus disconnects who sends it; the control is such a message past us."""
    control = await dbus_next.aio.MessageBus(bus_address=bus.address).connect()
    control.send(Message.new_signal(ROOT, CLOCK, "Struck", "s", ["a\0b"]))
    with pytest.raises((EOFError, ConnectionError)):
        await control.wait_for_disconnect()
    control._stream.close()
    control._sock.close()
    async with both(bus) as (_, client):
        assert await client.call(TARGET, "Nul") == ("a\N{REPLACEMENT CHARACTER}b?",)
        assert await client.call(_PEER, "Ping") == ()


@in_loop
async def test_what_is_too_large_for_a_message_is_told_to_nobody(bus, caplog):
    async with both(bus) as (clock, client), client.listening(NAME, member="Struck") as signals:
        interface = replace(clock.interface, signals={"Struck": "ay bytes"})
        clock.service.export(f"{ROOT}/large", Exported((interface,)))
        with pytest.raises(LmsError, match="internal error"):
            await client.call(TARGET, "Large")
        for size in (17 << 20, 1):
            clock.service.emit(f"{ROOT}/large", CLOCK, "Struck", b"x" * size)
        assert (await signals.get()).body == (b"x",)


@pytest.mark.parametrize(
    ("message", "refusal"),
    [
        (_call("Nothing"), "UnknownMethod"),
        (_call("Echo"), "InvalidArgs"),
        (_call("Echo", "s", "x"), "InvalidArgs"),
        (_call("Read", "a{sh}u", {}, 0), "InvalidArgs"),
        (_call("Echo", target=Target(NAME, ROOT, "org.example.Other")), "UnknownInterface"),
        (_call("Echo", target=Target(NAME, "/org/example/other", CLOCK)), "UnknownObject"),
        (_call("Nothing", target=_PEER), "UnknownMethod"),
    ],
)
def test_a_call_of_what_is_not_there_is_refused_by_the_buss_own_name(bus, message, refusal):
    @in_loop
    async def run():
        async with both(bus) as (_, client):
            target = Target(message.destination, message.path, message.interface)
            with pytest.raises(BusRefused, match=f"org.freedesktop.DBus.Error.{refusal}"):
                await client.call(target, message.member, message.signature, *message.body)
            assert await client.call(TARGET, "Echo", "v", variant("s", "x")) == ("'x'",)

    run()


@in_loop
async def test_a_value_of_any_depth_comes_through(bus):
    async with both(bus) as (_, client):
        value = variant("s", "x")
        for _ in range(30):
            value = variant("v", value)
        assert await client.call(TARGET, "Echo", "v", value) == ("'x'",)


def _frame(kind: int, fields: bytes, body: bytes = b"") -> bytes:
    head = struct.pack("<BBBBIII", ord("l"), kind, 0, 1, len(body), 1, len(fields))
    return head + fields + b"\0" * (-len(fields) % 8) + body


@in_loop
async def test_a_message_that_cannot_be_understood_is_dropped_alone():
    """As a bus of another version may pass them on; the control is the message after it."""
    here, there = socket.socketpair()
    here.setblocking(False)
    received: asyncio.Queue[Message] = asyncio.Queue()
    lost = asyncio.Event()
    transport = Transport(here, received.put_nowait, lost.set)
    unknown_field = b"\xf0\1s\0" + struct.pack("<I", 1) + b"x\0"
    there.sendall(_frame(1, unknown_field))
    there.sendall(_frame(9, b""))
    there.sendall(_frame(1, b""))
    there.sendall(bytes(Message.new_signal("/a", "a.b", "C")._marshall()))
    assert (await received.get()).member == "C"
    assert not lost.is_set()
    there.sendall(b"x" * 16)
    await lost.wait()
    transport.close()
    there.close()
