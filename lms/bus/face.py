"""`Face`: jobs, health and items of one service on one bus (DESIGN §4). Holds no rule and no state of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, Final

from lms.adapters.polkit import Polkit
from lms.bus.board import Board
from lms.bus.items import Item, items_of
from lms.bus.job import JobFace
from lms.bus.manager import Health, ManagerFace
from lms.bus.rules import Gate
from lms.errors import Busy, LmsError
from lms.link.objects import Exported
from lms.link.service import BusService
from lms.link.tables import Interface
from lms.model.jobs import Job, JobState
from lms.model.platform import Health as State
from lms.model.platform import PlatformState
from lms.names import APPROVAL, MANAGER, ROOT_PATH
from lms.service.jobs import JobRunner

_LOOK_EVERY_S: Final = 600.0
_RESTORE: Final = "restore"
_UNSEEN: Final = "unknown"
# What is announced when the need of a restore was so, and is so now.
_ANNOUNCED: Final[Mapping[tuple[bool, bool], str]] = {(False, True): "RestoreNeeded", (True, False): "Restored"}


class Face:
    """Everything that the service shows on a bus. `load` reads the platform's state, `questions` runs what asks.

    `restored` is called when keys that were gone are back.
    """

    def __init__(
        self,
        service: BusService,
        runner: JobRunner,
        load: Callable[[], PlatformState | None],
        privileged: frozenset[int],
        questions: Executor,
        restored: Callable[[], None],
    ) -> None:
        self._service = service
        self._restored = restored
        self._runner = runner
        self._load = load
        self._questions = questions
        self._health: Health = {}
        self._needed = False  # as it was seen last
        self._items: dict[str, Item] = {}
        self._stale = asyncio.Event()
        self._board = Board(service, privileged)
        self._gate = Gate(Polkit(lambda: service.connection, privileged), self._board)
        self._board.interface_of = self._job_interface
        manager = ManagerFace(runner, self._board, lambda: self._health, questions)
        service.export(ROOT_PATH, Exported((self._gate.guarded(manager.interface),)))

    async def begin(self) -> None:
        """Show what is so already, and hear of what changes from now on; before the runner starts."""
        loop = asyncio.get_running_loop()
        for job in self._runner.jobs():
            self._board.show(job)

        def told(job: Job) -> None:
            kept = {known.number for known in self._runner.jobs()}
            loop.call_soon_threadsafe(self._changed, job, kept)

        self._runner.observe(told)
        await self._look()

    def announce(self) -> None:
        """Say what was found before anybody could hear it: a machine that starts without its keys."""
        if self._health.get("state") == State.RESTORE_NEEDED.value:
            self._service.emit(ROOT_PATH, MANAGER, "RestoreNeeded")

    async def keep_fresh(self) -> None:
        """Look again when a job ended, and now and then: others may touch the TPM, too. Until cancelled."""
        while True:
            # Not `asyncio.wait_for`: in Python 3.11 it swallows a cancellation that comes with the event.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._stale.wait()
            self._stale.clear()
            await self._look()

    def _job_interface(self, number: int) -> Interface:
        return self._gate.guarded(JobFace(self._runner, self._board, number).interface)

    def _changed(self, job: Job, kept: set[int]) -> None:
        self._board.update(job, kept)
        asks = APPROVAL in job.waiting and not self._health.get("request")
        if job.state is JobState.FINISHED or asks:
            self._stale.set()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        health, items = await loop.run_in_executor(self._questions, self._found)
        self._show_health(health)
        self._show_items({item.path: item for item in items})

    def _found(self) -> tuple[Health, tuple[Item, ...]]:
        """Health and items as they are now; what keeps us from seeing them is health, too."""
        try:
            return self._asked_for(self._runner.ask("status", {}, {}, 0)), items_of(self._load())
        except Busy:  # what is at work has us look again when it is done
            return self._health, tuple(self._items.values())
        except LmsError as error:
            unseen: dict[str, Any] = {"state": _UNSEEN, "reason": type(error).__name__, "explanation": str(error)}
            return unseen, tuple(self._items.values())

    def _asked_for(self, status: Health) -> Health:
        """Without a request that nobody waits for any more."""
        waits = any(job.verb == _RESTORE and job.state is not JobState.FINISHED for job in self._runner.jobs())
        return status if waits else {**status, "request": None}

    def _show_health(self, health: Health) -> None:
        before, self._health = self._health, health
        if before != health:
            self._service.changed(ROOT_PATH)
        state = health.get("state")
        was, self._needed = self._needed, self._needed if state == _UNSEEN else state == State.RESTORE_NEEDED.value
        if was and not self._needed:
            self._restored()
        if (was, self._needed) in _ANNOUNCED:
            self._service.emit(ROOT_PATH, MANAGER, _ANNOUNCED[was, self._needed])

    def _show_items(self, items: dict[str, Item]) -> None:
        before, self._items = self._items, items
        for path, item in before.items():
            if items.get(path) != item:
                self._service.withdraw(path)
        for path, item in items.items():
            if before.get(path) != item:
                self._service.export(path, Exported((item.interface,), self._board.audience(item.uid)))
