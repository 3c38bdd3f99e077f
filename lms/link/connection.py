"""A connection to a bus, for programs that call and for services: calls with deadlines, signals, callers' credentials.

A connection ends once; who wants to go on opens another one (`lms.link.service`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from dbus_next import Message, MessageFlag, MessageType

from lms import errors
from lms.errors import BusNameTaken, BusRefused, BusUnavailable, LmsError, NoAnswer
from lms.link.descriptors import Descriptors
from lms.link.transport import Transport
from lms.link.values import plain
from lms.names import ERROR_PREFIX

CALL_DEADLINE_S: Final = 25.0
_BUS_NAME: Final = "org.freedesktop.DBus"
_TRY_S: Final = 2.0
_TRIES: Final = 5
_DO_NOT_QUEUE: Final = 4
_OWNER: Final = 1
_DISAPPEARED: Final = f"type='signal',sender='{_BUS_NAME}',member='NameOwnerChanged',arg2=''"


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a call goes to: bus name, object path, interface."""

    destination: str
    path: str
    interface: str


BUS: Final = Target(_BUS_NAME, "/org/freedesktop/DBus", _BUS_NAME)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who sent a message, as the bus knows it."""

    uid: int


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal as it came, its body in plain values."""

    sender: str
    path: str
    interface: str
    member: str
    body: tuple[Any, ...]

    @property
    def arg0(self) -> Any:
        """The first value of the body, as rules of the bus name it."""
        return self.body[0] if self.body else None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call returned; closing it closes its descriptors."""

    body: tuple[Any, ...]
    descriptors: Descriptors


def _error(member: str, message: Message) -> LmsError:
    """The error of ours that a peer named; BusRefused for all others."""
    name = str(message.error_name)
    text = str(message.body[0]) if message.body else ""
    kind = getattr(errors, name.removeprefix(ERROR_PREFIX), None) if name.startswith(ERROR_PREFIX) else None
    if isinstance(kind, type) and issubclass(kind, LmsError):
        return kind(text)
    return BusRefused(f"cannot call '{member}': {name}: {text}")


class Connection:
    """One connection: `unique_name`, calls, signals. `lost` is done when it ended."""

    def __init__(self) -> None:
        self.unique_name = ""
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_call: Callable[[Message], None] | None = None
        self._transport: Transport
        self._serial = 0
        self._replies: dict[int, asyncio.Future[Message]] = {}
        self._listeners: list[Callable[[Signal], None]] = [self._on_bus_signal]
        self._credentials: dict[str, asyncio.Task[Credentials]] = {}

    @classmethod
    async def open(cls, bus: str, deadline_s: float = CALL_DEADLINE_S) -> Connection:
        """Connect to `system`, `session` or an address. Raises BusUnavailable, BadConfiguration."""
        self = cls()
        self._transport = await Transport.connect(bus, self._received, self._on_lost, deadline_s)
        try:
            (self.unique_name,) = await self.call(BUS, "Hello", deadline_s=deadline_s)
            await self.call(BUS, "AddMatch", "s", _DISAPPEARED, deadline_s=deadline_s)
        except BaseException:
            self.close()
            raise
        return self

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; a second time does nothing."""
        self._transport.close()

    async def call(
        self,
        target: Target,
        member: str,
        signature: str = "",
        *body: Any,
        descriptors: Sequence[int] = (),
        interactive: bool = False,
        deadline_s: float = CALL_DEADLINE_S,
    ) -> tuple[Any, ...]:
        """Call a method and return its answer in plain values; descriptors of the answer are closed.

        `h` in the body is an index of `descriptors`. Raises what the peer named, BusRefused, NoAnswer, BusUnavailable.
        """
        reply = await self.exchange(
            target, member, signature, *body, descriptors=descriptors, interactive=interactive, deadline_s=deadline_s
        )
        reply.descriptors.close()
        return reply.body

    async def exchange(
        self,
        target: Target,
        member: str,
        signature: str = "",
        *body: Any,
        descriptors: Sequence[int] = (),
        interactive: bool = False,
        deadline_s: float = CALL_DEADLINE_S,
    ) -> Reply:
        """As `call`, for an answer with descriptors, which the caller closes."""
        flags = MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION if interactive else MessageFlag.NONE
        message = Message(
            destination=target.destination,
            path=target.path,
            interface=target.interface or None,
            member=member,
            signature=signature,
            body=list(body),
            unix_fds=list(descriptors),
            flags=flags,
        )
        answer = await self._answer(message, deadline_s)
        received = Descriptors(answer.unix_fds)
        if answer.message_type is MessageType.ERROR:
            received.close()
            raise _error(member, answer)
        return Reply(tuple(plain(answer.body)), received)

    def send(self, message: Message) -> None:
        """Send a message that wants no answer; its descriptors stay the caller's."""
        self._serial += 1
        message.serial = self._serial
        self._transport.send(message)

    def signal(
        self, target: Target, member: str, signature: str, body: Sequence[Any], descriptors: Sequence[int] = ()
    ) -> None:
        """Emit a signal from path and interface of `target`: to its destination, or to all where that is empty."""
        message = Message(
            message_type=MessageType.SIGNAL,
            destination=target.destination or None,
            path=target.path,
            interface=target.interface,
            member=member,
            signature=signature,
            body=list(body),
            unix_fds=list(descriptors),
        )
        self.send(message)

    async def request_name(self, name: str) -> None:
        """Own a name, now or not at all. Raises BusNameTaken, BusRefused."""
        (answer,) = await self.call(BUS, "RequestName", "su", name, _DO_NOT_QUEUE)
        if answer != _OWNER:
            raise BusNameTaken(f"cannot own '{name}' on the bus: another program does")

    async def credentials(self, sender: str) -> Credentials:
        """Who has this unique name. Asked once, forgotten when it disappears. Raises BusRefused."""
        if sender not in self._credentials:
            self._credentials[sender] = asyncio.create_task(self._ask_credentials(sender))
            self._credentials[sender].add_done_callback(partial(self._on_credentials, sender))
        return await asyncio.shield(self._credentials[sender])

    def known(self) -> Mapping[str, Credentials]:
        """All unique names that have called, and are still there."""
        return {
            name: asked.result()
            for name, asked in self._credentials.items()
            if asked.done() and not asked.cancelled() and asked.exception() is None
        }

    @asynccontextmanager
    async def listening(
        self, sender: str, into: asyncio.Queue[Signal] | None = None, **match: str
    ) -> AsyncIterator[asyncio.Queue[Signal]]:
        """A queue, or this one, of the signals from who owns the name `sender`.

        `match` may hold path, interface, member and arg0.
        """
        queue: asyncio.Queue[Signal] = asyncio.Queue() if into is None else into
        owner = ""

        def heard(signal: Signal) -> None:
            nonlocal owner
            if signal.sender == _BUS_NAME and signal.member == "NameOwnerChanged" and signal.body[0] == sender:
                owner = signal.body[2]
            # Anybody may send us any signal: whose it is decides, not what it is called.
            if signal.sender == owner and all(getattr(signal, key) == value for key, value in match.items()):
                queue.put_nowait(signal)

        changed = f"type='signal',sender='{_BUS_NAME}',member='NameOwnerChanged',arg0='{sender}'"
        wanted = f"type='signal',sender='{sender}'" + "".join(f",{key}='{value}'" for key, value in match.items())
        self._listeners.append(heard)
        try:
            for rule in (changed, wanted):
                await self.call(BUS, "AddMatch", "s", rule)
            owner = await self._owner(sender)
            yield queue
        finally:
            self._listeners.remove(heard)
            with suppress(LmsError):  # a bus that went away has forgotten it already
                for rule in (changed, wanted):
                    await self.call(BUS, "RemoveMatch", "s", rule)

    async def _owner(self, name: str) -> str:
        try:
            (owner,) = await self.call(BUS, "GetNameOwner", "s", name)
        except BusRefused:
            return ""
        return str(owner)

    async def _ask_credentials(self, sender: str) -> Credentials:
        # A bus drops its own answers to us while somebody fills our queue: asking again costs nothing.
        for _ in range(_TRIES - 1):
            with suppress(NoAnswer):
                return await self._ask_credentials_once(sender)
        return await self._ask_credentials_once(sender)

    async def _ask_credentials_once(self, sender: str) -> Credentials:
        (found,) = await self.call(BUS, "GetConnectionCredentials", "s", sender, deadline_s=_TRY_S)
        return Credentials(uid=found["UnixUserID"])

    async def _answer(self, message: Message, deadline_s: float) -> Message:
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._replies[self._serial + 1] = future
        try:
            self.send(message)
            async with asyncio.timeout(deadline_s):
                return await future
        except TimeoutError:
            raise NoAnswer(f"cannot call '{message.member}': no answer within {deadline_s:g} s") from None
        finally:
            self._replies.pop(message.serial, None)

    def _received(self, message: Message) -> None:
        if message.message_type is MessageType.SIGNAL:
            self._close_descriptors(message)
            self._on_signal(message)
        elif message.message_type is MessageType.METHOD_CALL and self.on_call is not None:
            self.on_call(message)
        elif (future := self._replies.pop(message.reply_serial or 0, None)) is not None and not future.done():
            future.set_result(message)
        else:
            self._close_descriptors(message)

    @staticmethod
    def _close_descriptors(message: Message) -> None:
        for descriptor in message.unix_fds:
            os.close(descriptor)

    def _on_signal(self, message: Message) -> None:
        origin = (str(message.sender), str(message.path), str(message.interface), str(message.member))
        signal = Signal(*origin, tuple(plain(message.body)))
        for listener in tuple(self._listeners):
            listener(signal)

    def _on_bus_signal(self, signal: Signal) -> None:
        """What the bus itself tells: a caller went away, or a name was taken from us."""
        if signal.sender != _BUS_NAME:
            return
        if signal.member == "NameOwnerChanged" and not signal.body[2]:
            self._credentials.pop(signal.body[0], None)
        elif signal.member == "NameLost":
            self.close()

    def _on_credentials(self, sender: str, asked: asyncio.Task[Credentials]) -> None:
        """Who is gone already will not be told to be gone: his failure is not kept."""
        if (asked.cancelled() or asked.exception() is not None) and self._credentials.get(sender) is asked:
            del self._credentials[sender]

    def _on_lost(self) -> None:
        for future in self._replies.values():
            if not future.done():
                future.set_exception(BusUnavailable("cannot go on: the bus went away"))
        self._replies.clear()
        if not self.lost.done():
            self.lost.set_result(None)
