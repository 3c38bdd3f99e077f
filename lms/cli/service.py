"""`lmsd` as `lmsctl` sees it: verbs, jobs and what they wait for, over the bus that is configured (DESIGN §4).

One thing at a time, so that a person can be asked in between: each method returns when it is done. Interrupting one
ends the wait, not the job.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any, Self, TypeVar

from lms.errors import BusAbsent, BusUnavailable, ServiceAbsent, ServiceGone
from lms.link.connection import Connection
from lms.link.lmsd import Lmsd
from lms.model.jobs import Job

T = TypeVar("T")


class Service:
    """A connection to lmsd; closed at the end of the `with` block."""

    def __init__(self, runner: asyncio.Runner, connection: Connection) -> None:
        self._runner = runner
        self._connection = connection
        self._lmsd = Lmsd(connection)

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
            if self._do(self._lmsd.can_be_asked()):
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

    def _do(self, asked: Coroutine[Any, Any, T]) -> T:
        try:
            return self._runner.run(asked)
        except BusUnavailable as error:
            raise ServiceGone(f"cannot go on: the connection to lmsd ended ({error})") from None

    def ask(self, member: str, options: Mapping[str, Any], secrets: Mapping[str, bytes]) -> tuple[Any, ...]:
        """Call a verb of the Manager: an answer, or number and path of a job. Raises the errors of the service."""
        return self._do(self._lmsd.ask(member, options, secrets, interactive=sys.stdin.isatty()))

    def jobs(self) -> dict[str, Job]:
        """All jobs that the caller may see, by the paths of their objects, the oldest first."""
        return self._do(self._lmsd.jobs())

    def supply(self, path: str, word: str, value: bytes) -> None:
        """Give a job what it waits for. Raises the errors of the service."""
        self._do(self._lmsd.supply(path, word, value))

    def collect(self, path: str, word: str) -> bytes:
        """A secret that a job made, once. Raises BadRequest where it has none, NotAuthorized."""
        return self._do(self._lmsd.collect(path, word))

    def cancel(self, path: str) -> None:
        """End a job. Raises BadRequest where it is finished."""
        self._do(self._lmsd.cancel(path))

    @contextmanager
    def watching(self, path: str) -> Iterator[Callable[[], Job]]:
        """What returns the job as it is now, and from then on when it has changed. It raises ServiceGone."""
        stack = AsyncExitStack()
        try:
            now = self._do(stack.enter_async_context(self._lmsd.job(path)))
            yield lambda: self._do(now())
        finally:
            with suppress(ServiceGone):
                self._do(stack.aclose())
