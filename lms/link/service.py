"""A service on a bus: owns a name, offers objects, tells their changes, and outlives the bus.

A bus that went away is awaited: objects stay, callers begin anew. What has an audience is told to those of its members
who called before, each by himself; everything else is broadcast.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from lms.errors import BusNameTaken, BusUnavailable, LmsError
from lms.link.connection import Connection, Target
from lms.link.dispatch import Dispatcher
from lms.link.objects import OBJECT_MANAGER, PROPERTIES, Audience, Exported, Objects, values
from lms.link.tables import signature_of

_LOG: Final = logging.getLogger(__name__)
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 5.0


class BusService:
    """Objects below `root` under a well-known name; used from one event loop only."""

    def __init__(self, bus: str, name: str, root: str) -> None:
        self._bus = bus
        self._name = name
        self._objects = Objects(root)
        self._connection: Connection | None = None
        self._dispatcher: Dispatcher | None = None

    @property
    def connection(self) -> Connection:
        """The connection of now, for calls to others. Raises BusUnavailable."""
        if self._connection is None:
            raise BusUnavailable("cannot call: the bus went away")
        return self._connection

    async def start(self) -> None:
        """Connect and own the name. Raises BusUnavailable, BusNameTaken, BadConfiguration."""
        connection = await Connection.open(self._bus)
        self._dispatcher = Dispatcher(connection, self._objects)
        try:
            await connection.request_name(self._name)
        except BaseException:
            await self._dispatcher.close()
            connection.close()
            raise
        self._connection = connection

    async def run(self, told: Callable[[str], None]) -> None:
        """Serve until cancelled; `told` is called with the state of the connection whenever it changes."""
        while True:
            await asyncio.shield(self.connection.lost)
            told("the bus went away")
            await self.stop()
            await self._restart()
            told("on the bus")

    async def stop(self) -> None:
        """Leave the bus."""
        connection, self._connection = self._connection, None
        if connection is not None and self._dispatcher is not None:
            await self._dispatcher.close()
            connection.close()

    async def _restart(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await self.start()
            except (BusUnavailable, BusNameTaken) as error:
                _LOG.warning("%s", error)
            except LmsError as error:
                _LOG.warning("cannot use the bus: %s", error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def export(self, path: str, exported: Exported) -> None:
        """Offer an object, and say so."""
        self._objects.add(path, exported)
        offered = {one.name: values(one) for one in exported.interfaces}
        self._tell(self._objects.root, OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", [path, offered], exported)

    def withdraw(self, path: str) -> None:
        """Take an object back, and say so."""
        exported = self._objects.remove(path)
        names = [one.name for one in exported.interfaces]
        self._tell(self._objects.root, OBJECT_MANAGER, "InterfacesRemoved", "oas", [path, names], exported)

    def emit(self, path: str, interface: str, member: str, *body: Any, audience: Audience | None = None) -> None:
        """Emit a signal of an object's table: to an audience, or to all."""
        (table,) = (one for one in self._objects.at(path).interfaces if one.name == interface)
        self._tell(path, interface, member, signature_of(table.signals[member]), list(body), Exported((), audience))

    def changed(self, path: str) -> None:
        """Tell the properties of an object as they are now, to who may see it."""
        exported = self._objects.at(path)
        for one in exported.interfaces:
            now = {name: value for name, value in values(one).items() if not one.properties[name].constant}
            if now:
                self._tell(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", [one.name, now, []], exported)

    def _tell(self, path: str, interface: str, member: str, signature: str, body: list[Any], of: Exported) -> None:
        if self._connection is None or self._connection.lost.done():
            return  # nobody is there; who comes back reads the properties
        names = [""]
        if of.audience is not None:
            names = [name for name, who in self._connection.known().items() if of.visible_to(who)]
        try:
            for name in names:
                self._connection.signal(Target(name, path, interface), member, signature, body)
        except (BusUnavailable, ValueError) as error:
            _LOG.error("cannot tell %s of '%s': %s", member, path, error)
