"""From a message to its handler and back: callers have credentials and quotas, errors have names and no details.

What a handler did not expect is told to the caller as one word: neither text nor traceback of it goes to the bus, and
its text goes to no log either, because it may hold what the caller sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from dbus_next import Message, MessageFlag, MessageType

from lms.errors import BusUnavailable, LmsError
from lms.journal import defect
from lms.link.connection import Connection
from lms.link.descriptors import Descriptors, close_all
from lms.link.objects import Objects, Refused
from lms.link.quota import Quota
from lms.link.tables import Answer, Call, Method, signature_of
from lms.link.values import plain
from lms.names import ERROR_PREFIX

_LOG: Final = logging.getLogger(__name__)


class Dispatcher:
    """Answers the calls that arrive on one connection."""

    def __init__(self, connection: Connection, objects: Objects) -> None:
        self._connection = connection
        self._objects = objects
        self._quota = Quota()
        self._tasks: set[asyncio.Task[None]] = set()
        connection.on_call = self._arrived

    async def close(self) -> None:
        """Abandon what is not answered yet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _arrived(self, message: Message) -> None:
        # Counted here and not in the task: a thousand messages may arrive before the first task runs.
        descriptors = Descriptors(message.unix_fds)
        if not self._quota.hold(message.sender, descriptors):
            descriptors.close()
            self._refuse(message, Refused("LimitsExceeded", "cannot take more calls before some are answered"))
            return
        task = asyncio.create_task(self._serve(message, descriptors))
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            descriptors.close()
            self._quota.release(message.sender, descriptors)

        task.add_done_callback(done)

    async def _serve(self, message: Message, descriptors: Descriptors) -> None:
        try:
            method, answer = await self._answer(message, descriptors)
            self._reply(message, method, answer)
        except Refused as refused:
            self._refuse(message, refused)
        except LmsError as error:
            self._send_error(message, ERROR_PREFIX + type(error).__name__, str(error))
        except Exception as error:  # noqa: BLE001 - the last line before the bus
            _LOG.error("internal error in %s: %s", message.member, defect(error))
            self._send_error(message, ERROR_PREFIX + LmsError.__name__, "cannot go on: internal error")

    async def _answer(self, message: Message, descriptors: Descriptors) -> tuple[Method, Answer]:
        sender, path, member = str(message.sender), str(message.path), str(message.member)
        caller = await self._connection.credentials(sender)
        with self._holding(caller.uid, descriptors):
            method = self._objects.method(path, message.interface, member, caller)
            if message.signature != signature_of(method.takes):
                expected = signature_of(method.takes)
                raise Refused("InvalidArgs", f"cannot call '{member}' with these types: expected '{expected}'")
            call = Call(
                sender=sender,
                caller=caller,
                path=path,
                interface=message.interface or "",
                member=member,
                body=tuple(plain(message.body)),
                descriptors=descriptors,
                interactive=bool(message.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION),
            )
            return method, await method.run(call)

    @contextmanager
    def _holding(self, key: Hashable, descriptors: Descriptors) -> Iterator[None]:
        """A user's share, over all connections that he opens."""
        if not self._quota.hold(key, descriptors):
            raise Refused("LimitsExceeded", "cannot take more calls before some of this user's are answered")
        try:
            yield
        finally:
            self._quota.release(key, descriptors)

    def _reply(self, message: Message, method: Method, answer: Answer) -> None:
        with close_all(answer.descriptors):
            signature = signature_of(method.gives)
            self._send(
                message,
                Message.new_method_return(message, signature, list(answer.body), list(answer.descriptors)),
            )

    def _refuse(self, message: Message, refused: Refused) -> None:
        self._send_error(message, refused.name, str(refused))

    def _send_error(self, message: Message, name: str, text: str) -> None:
        self._send(message, Message.new_error(message, name, text))

    def _send(self, message: Message, reply: Message) -> None:
        if message.flags & MessageFlag.NO_REPLY_EXPECTED or message.message_type is not MessageType.METHOD_CALL:
            return
        try:
            self._connection.send(reply)
        except BusUnavailable:
            _LOG.info("cannot answer %s: the bus went away", message.member)
