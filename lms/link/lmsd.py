"""`lmsd` as a program on its bus sees it: health, verbs, jobs and what changes of them (DESIGN §4).

Knows no person: whom to ask, and what to show, is for the programs that stand on it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from lms.errors import BusRefused, ServiceGone
from lms.link.connection import BUS, Connection, Signal, Target
from lms.link.descriptors import sealed
from lms.link.objects import OBJECT_MANAGER, PROPERTIES
from lms.link.values import variants
from lms.model.jobs import Job, JobResult, JobState
from lms.names import BUS_NAME, JOB, MANAGER, ROOT_PATH

_INTERACTIVE: Final = 1
# As long as a TPM makes a key, or a person looks for a password.
_DEADLINE_S: Final = 300.0
_MAX_COLLECTED: Final = 64 * 1024 * 1024
_MANAGER: Final = Target(BUS_NAME, ROOT_PATH, MANAGER)

Changing = Callable[[], Coroutine[Any, Any, dict[str, Any]]]


class Lmsd:
    """The service at the other end of a connection. Its calls raise the errors of the service, and BusUnavailable."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def can_be_asked(self) -> bool:
        """Whether somebody is it, or would be started as it."""
        (activatable,) = await self._call(BUS, "ListActivatableNames")
        return BUS_NAME in activatable or await self._is_there()

    async def arrival(self) -> None:
        """Return when somebody is it, or the bus went away; nobody is started."""
        async with self._owners(asyncio.Queue()) as owners:
            while not await self._is_there() and await self._heard(owners):
                pass

    async def ask(
        self, member: str, options: Mapping[str, Any], secrets: Mapping[str, bytes], *, interactive: bool
    ) -> tuple[Any, ...]:
        """Call a verb of the Manager: an answer, or number and path of a job.

        `interactive`: polkit may ask who sits there.
        """
        given: list[int] = []
        try:
            given.extend(sealed(content) for content in secrets.values())
            indices = {word: index for index, word in enumerate(secrets)}
            body = (variants(options), indices, _INTERACTIVE if interactive else 0)
            found: tuple[Any, ...] = await self._call(_MANAGER, member, "a{sv}a{sh}t", *body, descriptors=tuple(given))
        except BusRefused:
            if not await self._is_there():
                raise ServiceGone("cannot go on: lmsd went away before it answered") from None
            raise
        else:
            return found
        finally:
            for descriptor in given:
                os.close(descriptor)

    async def jobs(self) -> dict[str, Job]:
        """All jobs that the caller may see, by the paths of their objects, the oldest first."""
        (found,) = await self._call(Target(BUS_NAME, ROOT_PATH, OBJECT_MANAGER), "GetManagedObjects")
        jobs = {path: _job(interfaces[JOB]) for path, interfaces in found.items() if JOB in interfaces}
        return dict(sorted(jobs.items(), key=lambda item: item[1].number))

    async def supply(self, path: str, word: str, value: bytes) -> None:
        """Give a job what it waits for."""
        descriptor = sealed(value)
        try:
            await self._call(Target(BUS_NAME, path, JOB), "Supply", "sh", word, 0, descriptors=(descriptor,))
        finally:
            os.close(descriptor)

    async def collect(self, path: str, word: str) -> bytes:
        """A secret that a job made, once. Raises BadRequest where it has none, NotAuthorized."""
        reply = await self._connection.exchange(Target(BUS_NAME, path, JOB), "Collect", "s", word)
        with reply.descriptors:
            return reply.descriptors.content(reply.body[0], _MAX_COLLECTED)

    async def cancel(self, path: str) -> None:
        """End a job. Raises BadRequest where it is finished."""
        await self._call(Target(BUS_NAME, path, JOB), "Cancel")

    @asynccontextmanager
    async def health(self) -> AsyncIterator[Changing]:
        """What returns the properties of the Manager as they are now, and from then on when they have changed.

        It raises ServiceGone.
        """
        async with self._watching(ROOT_PATH, MANAGER, "this machine's health") as now:
            yield now

    @asynccontextmanager
    async def job(self, path: str) -> AsyncIterator[Callable[[], Coroutine[Any, Any, Job]]]:
        """The same of a job."""
        async with self._watching(path, JOB, "the job") as now:

            async def job() -> Job:
                return _job(await now())

            yield job

    async def _is_there(self) -> bool:
        (owned,) = await self._call(BUS, "NameHasOwner", "s", BUS_NAME)
        return bool(owned)

    async def _call(
        self, target: Target, member: str, signature: str = "", *body: Any, descriptors: tuple[int, ...] = ()
    ) -> tuple[Any, ...]:
        return await self._connection.call(
            target, member, signature, *body, descriptors=descriptors, deadline_s=_DEADLINE_S
        )

    @asynccontextmanager
    async def _watching(self, path: str, interface: str, what: str) -> AsyncIterator[Changing]:
        # One queue for both, so that what the service told before it went away is heard before.
        queue: asyncio.Queue[Signal] = asyncio.Queue()
        properties = self._connection.listening(BUS_NAME, queue, interface=PROPERTIES, path=path, arg0=interface)
        async with properties, self._owners(queue):
            known = await self._settled(path, interface, queue)
            untold = True

            def take(signal: Signal | None) -> None:
                if signal is None:
                    raise ServiceGone(f"cannot follow {what}: the bus went away")
                if signal.interface == PROPERTIES:
                    known.update(signal.body[1])
                elif signal.body[1]:
                    raise ServiceGone(f"cannot follow {what}: lmsd went away")

            async def now() -> dict[str, Any]:
                nonlocal untold
                if not untold:
                    take(await self._heard(queue))
                untold = False
                while not queue.empty():
                    take(queue.get_nowait())
                return known

            yield now

    def _owners(self, queue: asyncio.Queue[Signal]) -> AbstractAsyncContextManager[asyncio.Queue[Signal]]:
        return self._connection.listening(BUS.destination, queue, member="NameOwnerChanged", arg0=BUS_NAME)

    async def _settled(self, path: str, interface: str, queue: asyncio.Queue[Signal]) -> dict[str, Any]:
        """All properties of an object, with nothing in `queue` that is older, or that is newer and would be lost."""
        while True:
            while not queue.empty():
                queue.get_nowait()
            (known,) = await self._connection.call(Target(BUS_NAME, path, PROPERTIES), "GetAll", "s", interface)
            if queue.empty():
                found: dict[str, Any] = known
                return found

    async def _heard(self, queue: asyncio.Queue[Signal]) -> Signal | None:
        """The next signal; None where the bus went away."""
        heard = asyncio.create_task(queue.get())
        awaited: list[asyncio.Future[Any]] = [heard, self._connection.lost]
        try:
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            return heard.result() if heard.done() else None
        finally:
            heard.cancel()


def _job(found: Mapping[str, Any]) -> Job:
    return Job(
        number=found["Id"],
        verb=found["Type"],
        uid=found["User"],
        state=JobState(found["State"]),
        waiting=tuple(found["Waiting"]),
        progress=found["Progress"],
        result=JobResult(found["Result"]) if found["Result"] else None,
        error=found["Error"] or None,
        message=found["Message"],
        hint=found["Hint"],
        answer=found["Answer"],
    )
