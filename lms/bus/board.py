"""What the bus sees of the jobs: each as an object, from its first change until the runner forgets it.

The board knows jobs only by what the runner told, in its order; so nobody hears of a state before the one that
led to it. `JobRemoved` says that a job is finished: its object stays for Result and Collect as long as its record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from lms.errors import TooManyJobs
from lms.link.connection import Credentials
from lms.link.objects import Audience, Exported
from lms.link.service import BusService
from lms.link.tables import Interface
from lms.model.jobs import Job, JobState
from lms.names import MANAGER, ROOT_PATH

_JOBS_OF_A_USER: Final = 16
_BYTES_OF_A_USER: Final = 128 * 1024 * 1024


def path_of(number: int) -> str:
    """Where a job's object is."""
    return f"{ROOT_PATH}/job/{number}"


class Board:
    """All jobs, by number; `privileged` users see those of all others."""

    def __init__(self, service: BusService, privileged: frozenset[int]) -> None:
        self._service = service
        self._privileged = privileged
        self._jobs: dict[int, Job] = {}
        self._appeared: dict[int, asyncio.Future[None]] = {}
        self._coming: list[tuple[int, int]] = []
        self._sizes: dict[int, int] = {}
        self.interface_of: Callable[[int], Interface]

    def job(self, number: int) -> Job:
        """A job as it was told last."""
        return self._jobs[number]

    def at(self, path: str) -> Job:
        """The job whose object is at this path."""
        return self._jobs[int(path.rpartition("/")[2])]

    def is_privileged(self, uid: int) -> bool:
        """Whether a user sees what is others'."""
        return uid in self._privileged

    def audience(self, uid: int) -> Audience:
        """Who sees what is this user's: he, and the privileged."""

        def sees(caller: Credentials) -> bool:
            return caller.uid == uid or self.is_privileged(caller.uid)

        return sees

    async def begin(self, uid: int, size: int, submit: Callable[[], int]) -> tuple[int, str]:
        """Number and path of a new job, when its object is there; `size` in bytes is what it was given.

        Raises TooManyJobs where the unfinished ones of an unprivileged user are many, or hold much.
        """
        coming = (uid, size)
        self._make_room(*coming)
        # Counted before the runner knows it: or else calls that come at once would all find room.
        self._coming.append(coming)
        try:
            number = await asyncio.to_thread(submit)
            self._sizes[number] = size
            await self._appeared.setdefault(number, asyncio.get_running_loop().create_future())
        finally:
            self._coming.remove(coming)
        return number, path_of(number)

    def _make_room(self, uid: int, size: int) -> None:
        unfinished = [job for job in self._jobs.values() if job.uid == uid and job.state is not JobState.FINISHED]
        held = [self._sizes.get(job.number, 0) for job in unfinished]
        held += [size for other, size in self._coming if other == uid]
        if self.is_privileged(uid) or (len(held) < _JOBS_OF_A_USER and sum(held) + size <= _BYTES_OF_A_USER):
            return
        raise TooManyJobs(f"cannot begin another job: {len(held)} of yours are not finished, with {sum(held)} bytes")

    def show(self, job: Job) -> None:
        """A job that was there before us, or is new."""
        self._jobs[job.number] = job
        exported = Exported((self.interface_of(job.number),), self.audience(job.uid))
        self._service.export(path_of(job.number), exported)

    def update(self, job: Job, kept: Collection[int]) -> None:
        """A change of a job; `kept` are the numbers of all that the runner still knows."""
        before = self._jobs.get(job.number)
        if before is None:
            self.show(job)
            self._tell(job, "JobNew")
            self._seen(job.number)
        else:
            self._jobs[job.number] = job
            self._service.changed(path_of(job.number))
        if job.state is JobState.FINISHED and (before is None or before.state is not JobState.FINISHED):
            result = "" if job.result is None else job.result.value
            self._tell(job, "JobRemoved", result, job.error or "", job.message)
        for number in self._jobs.keys() - kept - {job.number}:
            self._forget(number)

    def _tell(self, job: Job, member: str, *more: str) -> None:
        audience = self.audience(job.uid)
        self._service.emit(ROOT_PATH, MANAGER, member, job.number, path_of(job.number), *more, audience=audience)

    def _seen(self, number: int) -> None:
        appeared = self._appeared.setdefault(number, asyncio.get_running_loop().create_future())
        if not appeared.done():
            appeared.set_result(None)

    def _forget(self, number: int) -> None:
        del self._jobs[number]
        self._appeared.pop(number, None)
        self._sizes.pop(number, None)
        self._service.withdraw(path_of(number))
