"""`lmsd` as `lmsctl` sees it: verbs, jobs and what they wait for, over the bus that is configured (DESIGN §4).

One thing at a time, so that a person can be asked in between: each method returns when it is done. Interrupting one
ends the wait, not the job.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any, Final, Self, TypeVar

from lms.errors import BusAbsent, BusRefused, BusUnavailable, ServiceAbsent, ServiceGone
from lms.link.connection import BUS, Connection, Signal, Target
from lms.link.descriptors import sealed
from lms.link.objects import OBJECT_MANAGER, PROPERTIES
from lms.link.values import variants
from lms.model.jobs import Job, JobResult, JobState
from lms.names import BUS_NAME, JOB, MANAGER, ROOT_PATH

T = TypeVar("T")
_INTERACTIVE: Final = 1
# As long as a TPM makes a key, or a person looks for a password.
_DEADLINE_S: Final = 300.0
_MAX_COLLECTED: Final = 64 * 1024 * 1024
_MANAGER: Final = Target(BUS_NAME, ROOT_PATH, MANAGER)


class Service:
    """A connection to lmsd; closed at the end of the `with` block."""

    def __init__(self, runner: asyncio.Runner, connection: Connection) -> None:
        self._runner = runner
        self._connection = connection

    @classmethod
    def reach(cls, bus: str) -> Self | None:
        """The service on this bus; None where nobody is it, or would be started as it.

        Raises BusUnavailable where there is a bus that cannot be used, BadConfiguration.
        """
        runner = asyncio.Runner()
        try:
            self = cls(runner, runner.run(Connection.open(bus)))
        except BaseException as error:
            runner.close()
            if isinstance(error, BusAbsent):
                return None
            raise
        try:
            if self._is_there():
                return self
        except BaseException:
            self.close()
            raise
        self.close()
        return None

    @classmethod
    def require(cls, bus: str) -> Self:
        """The service on this bus. Raises ServiceAbsent, BusUnavailable."""
        found = cls.reach(bus)
        if found is None:
            raise ServiceAbsent("cannot ask for jobs: lmsd is not on the bus")
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bus."""
        self._runner.run(self._leave())
        self._runner.close()

    async def _leave(self) -> None:
        self._connection.close()

    def _is_there(self) -> bool:
        (owned,) = self._do(self._connection.call(BUS, "NameHasOwner", "s", BUS_NAME))
        (activatable,) = self._do(self._connection.call(BUS, "ListActivatableNames"))
        return bool(owned) or BUS_NAME in activatable

    def _do(self, asked: Coroutine[Any, Any, T]) -> T:
        try:
            return self._runner.run(asked)
        except BusUnavailable as error:
            raise ServiceGone(f"cannot go on: the connection to lmsd ended ({error})") from None

    def _call(
        self, target: Target, member: str, signature: str = "", *body: Any, descriptors: tuple[int, ...] = ()
    ) -> Any:
        call = self._connection.call(target, member, signature, *body, descriptors=descriptors, deadline_s=_DEADLINE_S)
        return self._do(call)

    def ask(self, member: str, options: Mapping[str, Any], secrets: Mapping[str, bytes]) -> tuple[Any, ...]:
        """Call a verb of the Manager: an answer, or number and path of a job. Raises the errors of the service."""
        given: list[int] = []
        try:
            given.extend(sealed(content) for content in secrets.values())
            indices = {word: index for index, word in enumerate(secrets)}
            flags = _INTERACTIVE if sys.stdin.isatty() else 0  # whether polkit may ask who sits there
            body = (variants(options), indices, flags)
            found: tuple[Any, ...] = self._call(_MANAGER, member, "a{sv}a{sh}t", *body, descriptors=tuple(given))
        except BusRefused:
            (owned,) = self._call(BUS, "NameHasOwner", "s", BUS_NAME)
            if not owned:
                raise ServiceGone("cannot go on: lmsd went away before it answered") from None
            raise
        else:
            return found
        finally:
            for descriptor in given:
                os.close(descriptor)

    def jobs(self) -> dict[str, Job]:
        """All jobs that the caller may see, by the paths of their objects, the oldest first."""
        (found,) = self._call(Target(BUS_NAME, ROOT_PATH, OBJECT_MANAGER), "GetManagedObjects")
        jobs = {path: _job(interfaces[JOB]) for path, interfaces in found.items() if JOB in interfaces}
        return dict(sorted(jobs.items(), key=lambda item: item[1].number))

    def supply(self, path: str, word: str, value: bytes) -> None:
        """Give a job what it waits for. Raises the errors of the service."""
        descriptor = sealed(value)
        try:
            self._call(Target(BUS_NAME, path, JOB), "Supply", "sh", word, 0, descriptors=(descriptor,))
        finally:
            os.close(descriptor)

    def collect(self, path: str, word: str) -> bytes:
        """A secret that a job made, once. Raises BadRequest where it has none, NotAuthorized."""
        reply = self._do(self._connection.exchange(Target(BUS_NAME, path, JOB), "Collect", "s", word))
        with reply.descriptors:
            return reply.descriptors.content(reply.body[0], _MAX_COLLECTED)

    def cancel(self, path: str) -> None:
        """End a job. Raises BadRequest where it is finished."""
        self._call(Target(BUS_NAME, path, JOB), "Cancel")

    @contextmanager
    def watching(self, path: str) -> Iterator[Callable[[], Job]]:
        """What returns the job as it is now, and from then on when it has changed. It raises ServiceGone."""
        stack = AsyncExitStack()
        try:
            yield self._do(self._watch(stack, path))
        finally:
            with suppress(ServiceGone):
                self._do(stack.aclose())

    async def _watch(self, stack: AsyncExitStack, path: str) -> Callable[[], Job]:
        listening = self._connection.listening
        changes = await stack.enter_async_context(listening(BUS_NAME, interface=PROPERTIES, path=path))
        owners = await stack.enter_async_context(listening(BUS.destination, member="NameOwnerChanged"))
        known = await self._settled(path, changes)
        untold = True

        def now() -> Job:
            nonlocal untold
            if not untold:
                known.update(self._do(self._next(changes, owners)))
            untold = False
            while not changes.empty():
                known.update(changes.get_nowait().body[1])
            return _job(known)

        return now

    async def _settled(self, path: str, changes: asyncio.Queue[Signal]) -> dict[str, Any]:
        """All properties of a job, with nothing in `changes` that is older, or that is newer and would be lost."""
        while True:
            while not changes.empty():
                changes.get_nowait()
            (known,) = await self._connection.call(Target(BUS_NAME, path, PROPERTIES), "GetAll", "s", JOB)
            if changes.empty():
                found: dict[str, Any] = known
                return found

    async def _next(self, changes: asyncio.Queue[Signal], owners: asyncio.Queue[Signal]) -> dict[str, Any]:
        """The next change of properties. Raises ServiceGone."""
        while True:
            change, owner = (asyncio.create_task(queue.get()) for queue in (changes, owners))
            awaited: list[asyncio.Future[Any]] = [change, owner, self._connection.lost]
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if change.done():
                owner.cancel()
                changed: dict[str, Any] = change.result().body[1]
                return changed
            change.cancel()
            if not owner.done():
                owner.cancel()
                raise ServiceGone("cannot follow the job: the bus went away")
            name, before, _ = owner.result().body
            if name == BUS_NAME and before:
                raise ServiceGone("cannot follow the job: lmsd went away")


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
