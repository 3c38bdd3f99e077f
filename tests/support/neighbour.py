"""What a hostile user does to the service over the system bus: a program, run in the guest with the libraries of lmsd.

    python -I - < neighbour.py

It says as JSON how each call was answered, by its member: the name of the error, or `answered`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from dbus_next import Message, Variant
from dbus_next.aio import MessageBus
from dbus_next.constants import BusType

_NAME, _ROOT = "org.localmigration1", "/org/localmigration1"
_MANAGER, _JOB, _PROPERTIES = f"{_NAME}.Manager", f"{_NAME}.Job", "org.freedesktop.DBus.Properties"
_QUESTION = "a{sv}a{sh}t"
_CONNECTIONS, _CALLS = 20, 200
_HOLE = 1 << 40


def _message(member: str, signature: str = "", *body: object, files: tuple[int, ...] = (), **more: str) -> Message:
    where = {"destination": _NAME, "path": _ROOT, "interface": _MANAGER} | more
    return Message(member=member, signature=signature, body=list(body), unix_fds=list(files), **where)


async def _open() -> MessageBus:
    return await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()


async def _ask(bus: MessageBus, message: Message) -> str:
    answer = await bus.call(message)
    assert answer is not None
    return answer.error_name or "answered"


def _files() -> dict[str, int]:
    """What no honest user hands over: a file that is all hole, and a pipe at whose end nobody speaks."""
    hole = os.memfd_create("hole")
    os.truncate(hole, _HOLE)
    pipe, _ = os.pipe()
    return {"owner-auth": hole, "token": pipe}


async def _every_verb(bus: MessageBus) -> dict[str, str]:
    """Each method of the Manager and of jobs that may be there, with descriptors where it takes them."""
    files = _files()
    secrets = {word: number for number, word in enumerate(files)}
    said = {}
    node = await bus.introspect(_NAME, _ROOT)
    (manager,) = (one for one in node.interfaces if one.name == _MANAGER)
    for method in manager.methods:
        assert method.in_signature == _QUESTION, method.name
        said[method.name] = await _ask(bus, _message(method.name, _QUESTION, {}, {}, 1))
        await _ask(bus, _message(method.name, _QUESTION, {}, secrets, 0, files=tuple(files.values())))
    job = {"path": f"{_ROOT}/job/1", "interface": _JOB}
    said["Collect"] = await _ask(bus, _message("Collect", "s", "owner-auth", **job))
    said["Cancel"] = await _ask(bus, _message("Cancel", **job))
    said["Supply"] = await _ask(bus, _message("Supply", "sh", "owner-auth", 0, files=(files["token"],), **job))
    ready = _message("Set", "ssv", _MANAGER, "State", Variant("s", "ready"), interface=_PROPERTIES)
    return said | {"Set": await _ask(bus, ready)}


async def _storm() -> None:
    """More calls than anybody may have, from many at once, half of whom leave before an answer."""
    flood = [await _open() for _ in range(_CONNECTIONS)]
    asked = {
        bus: [asyncio.ensure_future(bus.call(_message("Keys", _QUESTION, {}, {}, 0))) for _ in range(_CALLS)]
        for bus in flood
    }
    for bus in flood[::2]:
        bus.disconnect()
        for call in asked.pop(bus):
            call.cancel()
    for calls in asked.values():
        await asyncio.gather(*calls)


async def _attack() -> dict[str, str]:
    bus = await _open()
    said = await _every_verb(bus)
    await _storm()
    return said


json.dump(asyncio.run(_attack()), sys.stdout)
