"""The notification server of this session (Desktop Notifications Specification 1.2), which comes and goes.

What was on the screen when a server went away is shown by the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from html import escape
from typing import Final

from lms.agent.notices import LABELS, Notice, Urgency
from lms.errors import BusRefused, BusUnavailable, NoAnswer
from lms.link.connection import Connection, Signal, Target
from lms.link.values import variant

NAME: Final = "org.freedesktop.Notifications"
PATH: Final = "/org/freedesktop/Notifications"
_SERVER: Final = Target(NAME, PATH, NAME)
_PROGRAM: Final = "Local Migration Service"
_ICONS: Final = {
    Urgency.LOW: "dialog-information",
    Urgency.NORMAL: "dialog-information",
    Urgency.CRITICAL: "dialog-warning",
}
_SERVERS_CHOICE: Final = -1
_NEVER: Final = 0
# Servers come back; a bus that went away ends the session, and us.
_PASSING: Final = (BusRefused, BusUnavailable, NoAnswer)
_LOG: Final = logging.getLogger("lms-agent")


class Notifications:
    """All notifications of ours; `signals` are the server's, `owners` the changes of who it is."""

    def __init__(self, connection: Connection, signals: asyncio.Queue[Signal], owners: asyncio.Queue[Signal]) -> None:
        self._connection = connection
        self._signals = signals
        self._owners = owners
        self._slots: list[Slot] = []
        self._abilities: frozenset[str] | None = None
        # A click may be here before we know the number of what was clicked.
        self._turn = asyncio.Lock()

    def slot(self, clicked: Callable[[str], None], shown: Callable[[], None] = lambda: None) -> Slot:
        """A place for one notification. `clicked` hears of its actions, `shown` when it is on the screen."""
        slot = Slot(self, clicked, shown)
        self._slots.append(slot)
        return slot

    async def hear(self) -> None:
        """Hear of clicks and of what is closed, until cancelled."""
        while True:
            signal = await self._signals.get()
            async with self._turn:
                for slot in self._slots:
                    if slot.number and slot.number == signal.arg0:
                        await self._happened(slot, signal)

    async def _happened(self, slot: Slot, signal: Signal) -> None:
        if signal.member == "NotificationClosed":
            slot.is_open, slot.number = False, 0
        elif signal.member == "ActionInvoked":
            await self.close(slot)
            slot.clicked(signal.body[1])

    async def greet(self) -> None:
        """Show a new server what is to be seen, until cancelled."""
        while True:
            _, before, owner = (await self._owners.get()).body
            async with self._turn:
                self._abilities = None
                for slot in self._slots:
                    slot.number = 0 if before else slot.number  # one that our own call started has shown it
                    if owner and slot.is_open:
                        await self.put(slot)

    async def show(self, slot: Slot) -> None:
        """Put the notice of a slot on the screen, in the place of its last one."""
        async with self._turn:
            slot.is_open = True
            await self.put(slot)

    async def take(self, slot: Slot) -> None:
        """Take it away."""
        async with self._turn:
            await self.close(slot)

    async def put(self, slot: Slot) -> None:
        """The same as `show`, for who has his turn. A server that is not there is awaited by `greet`."""
        assert slot.notice is not None
        try:
            body = await self._spelled(slot.number, slot.notice)
            (slot.number,) = await self._connection.call(_SERVER, "Notify", "susssasa{sv}i", *body)
        except _PASSING as error:
            _LOG.info("cannot show '%s' yet: %s", slot.notice.title, error)
        else:
            slot.shown()

    async def close(self, slot: Slot) -> None:
        """The same as `take`, for who has his turn."""
        number, slot.number, slot.is_open = slot.number, 0, False
        if number:
            try:
                await self._connection.call(_SERVER, "CloseNotification", "u", number)
            except _PASSING as error:
                _LOG.info("cannot close a notification: %s", error)

    async def _spelled(self, number: int, notice: Notice) -> tuple[object, ...]:
        """What Notify takes, as this server can show it."""
        if self._abilities is None:
            (found,) = await self._connection.call(_SERVER, "GetCapabilities")
            self._abilities = frozenset(found)
        if "actions" not in self._abilities:
            notice = notice.without_actions()
        text = escape(notice.body, quote=False) if "body-markup" in self._abilities else notice.body
        actions = [word for action in notice.actions for word in (action, LABELS[action])]
        hints = {"urgency": variant("y", notice.urgency.value), "category": variant("s", "device")}
        shown_for = _NEVER if notice.lasting else _SERVERS_CHOICE
        return _PROGRAM, number, _ICONS[notice.urgency], notice.title, text, actions, hints, shown_for


class Slot:
    """A place for one notification: what it shows is replaced in it."""

    def __init__(self, server: Notifications, clicked: Callable[[str], None], shown: Callable[[], None]) -> None:
        self._server = server
        self.clicked = clicked
        self.shown = shown
        self.notice: Notice | None = None
        self.number = 0
        self.is_open = False

    async def show(self, notice: Notice) -> None:
        """Show this, where it is not to be seen already."""
        if self.is_open and self.notice == notice:
            return
        self.notice = notice
        await self._server.show(self)

    async def update(self, notice: Notice) -> None:
        """Show what becomes of the same thing, unless the person has put it away."""
        if self.is_open or self.notice is None or self.notice.title != notice.title:
            await self.show(notice)

    async def clear(self) -> None:
        """Show nothing more."""
        if self.is_open:
            await self._server.take(self)
