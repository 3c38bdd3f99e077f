"""One session of a person: what `lmsd` tells becomes a notification, what he clicks becomes a job (DESIGN §4).

Whether he may is polkit's to say: `lmsd` asks it, and the polkit agent of the session asks for the password.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from lms.agent.memory import Memory
from lms.agent.notices import (
    DETAILS,
    RESTORE,
    VERBS,
    Notice,
    begun,
    concerns,
    details_of,
    of_end,
    of_health,
    of_job,
    of_refusal,
    of_request,
)
from lms.agent.notifications import Notifications
from lms.errors import LmsError, ServiceAbsent
from lms.link.connection import Connection
from lms.link.lmsd import Lmsd
from lms.model.jobs import Job, JobState
from lms.model.registered import OURS
from lms.names import APPROVAL

_PAUSE_S: Final = 1.0
# No state of a platform but of our knowledge: nothing follows from it.
_UNKNOWN: Final = frozenset({"", "unknown"})
_LOG: Final = logging.getLogger("lms-agent")


class Session:
    """The health of the machine and the person's own jobs, each with its notification."""

    def __init__(self, bus: str, notifications: Notifications, memory: Memory) -> None:
        self._bus = bus
        self._memory = memory
        self._health = notifications.slot(self._clicked, self._told)
        self._progress = notifications.slot(self._clicked)
        self._thing: tuple[str, ...] = ()
        self._details: Notice | None = None
        self._lmsd: Lmsd | None = None
        self._beginning: set[str] = set()
        self._unfinished: dict[str, str] = {}  # verbs of jobs, by their paths
        self._tasks: asyncio.TaskGroup

    async def run(self) -> None:
        """Until cancelled, whatever goes away and comes back."""
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                try:
                    async with await Connection.open(self._bus) as connection:
                        await self._stay(Lmsd(connection))
                except LmsError as error:
                    _LOG.info("%s", error)
                await asyncio.sleep(_PAUSE_S)

    async def _stay(self, lmsd: Lmsd) -> None:
        """As long as this lmsd is there. Raises ServiceGone, BusUnavailable, BusRefused."""
        await lmsd.arrival()
        async with lmsd.health() as now, self._at(lmsd):
            while True:
                await self._look(lmsd, await now())

    @asynccontextmanager
    async def _at(self, lmsd: Lmsd) -> AsyncIterator[None]:
        """What is clicked meanwhile goes there; a restore of this user goes on to be shown."""
        self._lmsd = lmsd
        jobs = await lmsd.jobs()
        waiting = {path: job.verb for path, job in jobs.items() if _is_restore_of_ours(job)}
        self._unfinished = {path: verb for path, verb in self._unfinished.items() if path in jobs} | waiting
        for path, verb in self._unfinished.items():
            self._tasks.create_task(self._follow(lmsd, path, verb))
        try:
            yield
        finally:
            self._lmsd = None

    # --- health ---

    async def _look(self, lmsd: Lmsd, health: Mapping[str, Any]) -> None:
        """Tell what is so now, unless it was told."""
        if health["State"] in _UNKNOWN:
            return
        if not concerns(health):
            self._memory.forget()
            await self._health.clear()
            _LOG.info("%s, nothing to tell", health["State"])
            return
        own = await _registered(lmsd)
        self._details = details_of(health, own)
        # Who began a restore here reads its digits where he sees its progress.
        request = "" if RESTORE in self._doing else health["Request"]
        before, self._thing = self._thing, (health["State"], health["Reason"], health["Archived"], request)
        notice = of_request(health) if request else of_health(health, own)
        if not self._memory.knows(self._thing):
            await self._health.show(notice)
            return
        _LOG.info("%s, told before", health["State"])
        if self._thing != before and self._health.is_open:
            await self._health.show(notice)  # what stands there is so no more

    def _told(self) -> None:
        self._memory.keep(self._thing)
        _LOG.info("%s, told now", self._thing[0])

    # --- clicks and jobs ---

    @property
    def _doing(self) -> set[str]:
        """Verbs that this user wants done now."""
        return {*self._beginning, *self._unfinished.values()}

    def _clicked(self, action: str) -> None:
        if action in VERBS and action not in self._doing:
            self._beginning.add(action)
            self._tasks.create_task(self._begin(action))
        elif action == DETAILS and self._details is not None:
            self._tasks.create_task(self._health.show(self._details))

    async def _begin(self, verb: str) -> None:
        await self._progress.show(begun(verb))
        try:
            if self._lmsd is None:
                raise ServiceAbsent("cannot ask lmsd: it is not on the bus")
            lmsd = self._lmsd
            _, path = await lmsd.ask(verb.capitalize(), {}, {}, interactive=True)
        except LmsError as error:
            await self._progress.show(of_refusal(verb, error))
        else:
            await self._follow(lmsd, path, verb)
        finally:
            self._beginning.discard(verb)

    async def _follow(self, lmsd: Lmsd, path: str, verb: str) -> None:
        """Show a job until it is finished, or until lmsd went away: then the next one is asked for it."""
        self._unfinished[path] = verb
        asked = ""
        try:
            async with lmsd.job(path) as now:
                while (job := await now()).state is not JobState.FINISHED:
                    asked = job.message if APPROVAL in job.waiting else asked
                    await self._progress.update(of_job(job, asked))
        except LmsError as error:
            _LOG.info("%s", error)
            return
        self._unfinished.pop(path, None)
        await self._progress.show(of_end(job))


def _is_restore_of_ours(job: Job) -> bool:
    """Whether this user waits for it, from before this session or from a terminal."""
    return job.verb == RESTORE and job.uid == os.getuid() and job.state is not JobState.FINISHED


async def _registered(lmsd: Lmsd) -> list[str]:
    """What this user registered himself, in his words; nothing where he may not know."""
    try:
        (answer,) = await lmsd.ask("Keys", {}, {}, interactive=False)
    except LmsError as error:
        _LOG.info("%s", error)
        return []
    named = ((entry["application"], entry["label"]) for entry in answer["entries"])
    return [f"{application} '{label}'" for application, label in named if application != OURS]
