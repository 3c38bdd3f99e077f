"""What a service on the bus offers: tables, properties, signals, introspection, objects that not all may see."""

from __future__ import annotations

import asyncio
import subprocess

import pytest
from lxml import etree

from lms.errors import BusNameTaken, BusRefused, BusUnavailable
from lms.link.connection import Connection, Target
from lms.link.objects import OBJECT_MANAGER, PROPERTIES, Exported
from lms.link.service import BusService
from lms.link.tables import Interface, Property
from lms.link.values import variant, variants
from tests.link.conftest import CLOCK, NAME, ROOT, TARGET, both, served
from tests.support.asynchronous import in_loop

_PROPERTIES = Target(NAME, ROOT, PROPERTIES)
_PEER = Target(NAME, ROOT, "org.freedesktop.DBus.Peer")


@in_loop
async def test_a_call_carries_sender_credentials_and_plain_values(bus):
    async with both(bus) as (clock, client):
        value = variants({"a": [1, "b"], "c": {"d": 2**40}, "none": None, "e": ["x"], "f": b"\0", "g": 1.5, "h": True})
        (said,) = await client.call(TARGET, "Echo", "v", variant("a{sv}", value))
        plain = {"a": [1, "b"], "c": {"d": 2**40}, "e": ["x"], "f": b"\0", "g": 1.5, "h": True}
        assert said == repr(plain)
        call = clock.asked[-1]
        assert (call.sender, call.caller.uid, call.path, call.member) == (client.unique_name, 0, ROOT, "Echo")
        assert not call.interactive
        await client.call(TARGET, "Echo", "v", variant("s", ""), interactive=True)
        assert clock.asked[-1].interactive


@in_loop
async def test_a_call_without_interface_is_answered(bus):
    async with both(bus) as (_, client):
        assert await client.call(Target(NAME, ROOT, ""), "Echo", "v", variant("s", "x")) == ("'x'",)


@in_loop
async def test_properties_are_read_and_never_set(bus):
    async with both(bus) as (clock, client):
        assert await client.call(_PROPERTIES, "Get", "ss", CLOCK, "Time") == (1,)
        assert await client.call(_PROPERTIES, "GetAll", "s", CLOCK) == ({"Time": 1, "Zone": "UTC"},)
        with pytest.raises(BusRefused, match="PropertyReadOnly"):
            await client.call(_PROPERTIES, "Set", "ssv", CLOCK, "Time", variant("t", 2))
        with pytest.raises(BusRefused, match="UnknownProperty"):
            await client.call(_PROPERTIES, "Get", "ss", CLOCK, "Colour")
        with pytest.raises(BusRefused, match="UnknownInterface"):
            await client.call(_PROPERTIES, "GetAll", "s", "org.example.Other")
        async with client.listening(NAME, interface=PROPERTIES) as signals:
            await client.call(TARGET, "Set", "t", 7)
            assert (await signals.get()).body == (CLOCK, {"Time": 7}, [])
        assert clock.time == 7


@in_loop
async def test_signals_are_heard_from_the_owner_of_the_name_only(bus):
    async with (
        both(bus) as (clock, client),
        await Connection.open(bus.address) as liar,
        client.listening(NAME, interface=CLOCK, member="Struck") as signals,
        client.listening(liar.unique_name, interface=CLOCK, member="Struck") as lies,
    ):
        liar.signal(Target(client.unique_name, ROOT, CLOCK), "Struck", "t", [13])
        assert (await lies.get()).body == (13,)
        clock.service.emit(ROOT, CLOCK, "Struck", 12)
        assert (await signals.get()).body == (12,)


@in_loop
async def test_ping_and_machine_id_are_answered_every_time(bus):
    async with both(bus) as (_, client):
        for _ in range(2):
            assert await client.call(_PEER, "Ping") == ()
        try:
            first = await client.call(_PEER, "GetMachineId")
        except BusRefused as error:  # a container may have no identity; it then says so each time
            first = str(error)
        assert first


@in_loop
async def test_introspection_is_made_of_the_tables(bus):
    async with both(bus) as (_, client):
        (text,) = await client.call(Target(NAME, ROOT, "org.freedesktop.DBus.Introspectable"), "Introspect")
        node = etree.fromstring(text.encode())
        arguments = node.xpath(f"interface[@name='{CLOCK}']/method[@name='Read']/arg")
        assert [(a.get("name"), a.get("type"), a.get("direction")) for a in arguments] == [
            ("secrets", "a{sh}", "in"),
            ("other", "h", "in"),
            ("content", "s", "out"),
        ]
        assert node.xpath("interface/signal[@name='Struck']/arg/@type") == ["t"]
        assert node.xpath("interface/property[@name='Zone']/annotation/@value") == ["const"]
        (text,) = await client.call(Target(NAME, "/", "org.freedesktop.DBus.Introspectable"), "Introspect")
        assert etree.fromstring(text.encode()).xpath("node/@name") == ["org"]


def _item(value: int) -> Interface:
    return Interface("org.example.Item", properties={"Value": Property("i", lambda: value)})


@in_loop
async def test_objects_come_and_go_and_only_their_audience_knows(bus):
    manager = Target(NAME, ROOT, OBJECT_MANAGER)
    async with both(bus) as (clock, client), client.listening(NAME, interface=OBJECT_MANAGER) as signals:
        clock.service.export(f"{ROOT}/hidden", Exported((_item(1),), lambda who: who.uid == 4711))
        clock.service.export(f"{ROOT}/open", Exported((_item(2),), lambda who: who.uid == 0))
        facts = {"org.example.Item": {"Value": 2}}
        added = await signals.get()
        assert (added.member, added.body) == ("InterfacesAdded", (f"{ROOT}/open", facts))
        assert await client.call(manager, "GetManagedObjects") == ({f"{ROOT}/open": facts},)
        (text,) = await client.call(Target(NAME, ROOT, "org.freedesktop.DBus.Introspectable"), "Introspect")
        assert etree.fromstring(text.encode()).xpath("node/@name") == ["open"]
        assert await client.call(Target(NAME, f"{ROOT}/open", PROPERTIES), "GetAll", "s", "org.example.Item")
        for path in ("hidden", "nowhere"):
            with pytest.raises(BusRefused, match="UnknownObject"):
                await client.call(Target(NAME, f"{ROOT}/{path}", PROPERTIES), "GetAll", "s", "org.example.Item")
        clock.service.withdraw(f"{ROOT}/hidden")
        clock.service.withdraw(f"{ROOT}/open")
        removed = await signals.get()
        assert (removed.member, removed.body) == ("InterfacesRemoved", (f"{ROOT}/open", ["org.example.Item"]))


@in_loop
async def test_a_name_has_one_owner(bus):
    async with served(bus):
        second = BusService(bus.address, NAME, ROOT)
        with pytest.raises(BusNameTaken):
            await second.start()
        with pytest.raises(BusUnavailable):
            second.connection  # noqa: B018


@in_loop
async def test_no_bus_is_said_in_words():
    with pytest.raises(BusUnavailable, match="no such file"):
        await Connection.open("unix:path=/nowhere/bus")


@in_loop
async def test_another_implementation_understands_us(bus):
    async with served(bus):
        command = ["dbus-send", f"--bus={bus.address}", "--print-reply=literal", f"--dest={NAME}", ROOT]
        call = [*command, f"{CLOCK}.Echo", "variant:string:hello"]
        done = await asyncio.to_thread(subprocess.run, call, capture_output=True, check=True)
        assert done.stdout.decode().strip() == "'hello'"
