"""The jobs that there are: in memory with their secrets, in the journal without them (DESIGN §4).

Every change of a state is in the journal before anybody hears of it; steps within a run are not, because a run
always begins at the beginning. Does not run anything and knows no threads: `lms.service.jobs` holds the lock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Final

from lms.errors import BadRequest, LmsError, NoSuchJob
from lms.model.jobs import Job, JobLedger, JobRecord, JobState
from lms.model.secret import Secret
from lms.names import APPROVAL
from lms.ports import JobJournal

_MAX_OPTIONS: Final = 16 * 1024  # each change of any job writes them all down
# No secret, and perhaps where it belongs already: the act asks for it itself, and says what is to be approved.
_ASKED_BY_ACTS: Final = frozenset({APPROVAL})
_KEPT: Final = 100
_KEPT_FOR: Final = timedelta(hours=24)


@dataclass(slots=True, eq=False)
class Task:
    """A job at work. `offered`: secrets to be collected, `collected`: those that were and are to be confirmed.

    `tries`: how often each error came so far. `done`: what need not be done again with these secrets. `cancel`: asked
    for while it runs. `stop_timer` ends what would run it again.
    """

    record: JobRecord
    secrets: dict[str, Secret] = field(default_factory=dict)
    offered: dict[str, Secret] = field(default_factory=dict)
    collected: dict[str, Secret] = field(default_factory=dict)
    tries: dict[type[LmsError], int] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    cancel: bool = False
    stop_timer: Callable[[], None] | None = None

    @property
    def job(self) -> Job:
        """The job as others see it."""
        return self.record.job

    def forget_timer(self) -> None:
        """It runs again for another reason, or never."""
        if self.stop_timer is not None:
            self.stop_timer()
            self.stop_timer = None


class JobBook:
    """All jobs, by number; `tell` hears of each change."""

    def __init__(self, journal: JobJournal, now: Callable[[], datetime], tell: Callable[[Job], None]) -> None:
        self._journal = journal
        self._now = now
        self._tell = tell
        ledger = journal.load()
        self._next_number = ledger.next_number
        self._tasks = {record.job.number: Task(_after_restart(record)) for record in ledger.records}

    def tasks(self) -> tuple[Task, ...]:
        """All tasks, the oldest first; finished ones for a day."""
        self._prune()
        return tuple(self._tasks.values())

    def find(self, number: int) -> Task:
        """One task. Raises NoSuchJob."""
        self._prune()
        if number not in self._tasks:
            raise NoSuchJob(f"cannot find job {number}")
        return self._tasks[number]

    def add(self, verb: str, options: Mapping[str, Any], secrets: Mapping[str, Secret], uid: int) -> Task:
        """A new job, written down. Raises BadRequest, FileProblem."""
        try:
            text = json.dumps(dict(options))
        except (TypeError, ValueError):
            raise BadRequest(f"cannot {verb}: an option is neither text, number nor flag") from None
        if len(text) > _MAX_OPTIONS:
            raise BadRequest(f"cannot {verb}: the options are longer than {_MAX_OPTIONS} characters")
        plain: dict[str, Any] = json.loads(text)
        job = Job(self._next_number, verb, uid)
        task = Task(JobRecord(job, plain, tuple(sorted(secrets))), dict(secrets))
        self._tasks[job.number] = task
        self._next_number += 1  # never taken back: a number that was seen once is spent
        try:
            self._write()
        except LmsError:
            del self._tasks[job.number]
            raise
        self._tell(job)
        return task

    def change(self, task: Task, state: JobState, *, given: frozenset[str] | None = None, **changes: Any) -> None:
        """Take a job to another state, written down before it is told. Raises FileProblem: then nothing changed."""
        before = task.record
        self._move(task, state, given, changes)
        try:
            self._write()
        except LmsError:
            task.record = before
            raise
        self._tell(task.job)

    def settle(self, task: Task, state: JobState, *, given: frozenset[str] | None = None, **changes: Any) -> None:
        """The same for what has happened already, whether or not it can be written down.

        Where it cannot, the next writing has it; a crash before that runs the act once more, which ensures what
        is so already.
        """
        self._move(task, state, given, changes)
        with suppress(LmsError):
            self._write()
        self._tell(task.job)

    def progress(self, task: Task, text: str) -> None:
        """Tell the step that a running job is at."""
        self._move(task, JobState.RUNNING, None, {"progress": text})
        self._tell(task.job)

    def _move(self, task: Task, state: JobState, given: frozenset[str] | None, changes: dict[str, Any]) -> None:
        task.forget_timer()
        record = replace(task.record, job=task.job.moved(state, **changes))
        if given is not None:
            record = replace(record, given=tuple(sorted(given)))
        if state is JobState.FINISHED:
            record = replace(record, given=(), finished_at=self._now())
            for secrets in (task.secrets, task.offered, task.collected):
                secrets.clear()
        task.record = record

    def _prune(self) -> None:
        """Forget what ended long ago; of too many the oldest of who has most: a flood pushes out its own."""
        ended = [(t.record.finished_at, t.job) for t in self._tasks.values() if t.record.finished_at is not None]
        kept: dict[int, list[Job]] = {}
        for finished_at, job in sorted(ended, key=itemgetter(0)):
            if self._now() - finished_at > _KEPT_FOR:
                del self._tasks[job.number]
            else:
                kept.setdefault(job.uid, []).append(job)
        for _ in range(sum(map(len, kept.values())) - _KEPT):
            del self._tasks[max(kept.values(), key=len).pop(0).number]

    def _write(self) -> None:
        self._prune()
        self._journal.save(JobLedger(self._next_number, tuple(t.record for t in self._tasks.values())))


def _after_restart(record: JobRecord) -> JobRecord:
    """Unfinished jobs run again; those that came with secrets wait for them, because no secret was written down."""
    if record.job.state is JobState.FINISHED:
        return record
    record = replace(record, given=tuple(word for word in record.given if word not in _ASKED_BY_ACTS))
    if record.given:
        words = ", ".join(f"'{word}'" for word in record.given)
        message = f"cannot go on after a restart before these are given again: {words}"
        return replace(record, job=record.job.moved(JobState.WAITING, waiting=record.given, message=message))
    if record.job.state is JobState.QUEUED:
        return record
    return replace(record, job=record.job.moved(JobState.QUEUED))
