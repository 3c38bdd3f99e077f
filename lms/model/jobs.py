"""Jobs: acts in progress, as their owner sees them and as the journal keeps them (DESIGN §2, §4).

Says which states and transitions there are; what runs jobs is `lms.service.jobs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, Final

from lms.errors import ApprovalPending, JobWaits, LmsError


class JobState(Enum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    FINISHED = "finished"


class JobResult(Enum):
    """How a job ended."""

    DONE = "done"
    CANCELED = "canceled"
    FAILED = "failed"


TRANSITIONS: Final[Mapping[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.WAITING, JobState.FINISHED}),
    JobState.RUNNING: frozenset({JobState.RUNNING, JobState.QUEUED, JobState.WAITING, JobState.FINISHED}),
    JobState.WAITING: frozenset({JobState.WAITING, JobState.QUEUED, JobState.FINISHED}),
    JobState.FINISHED: frozenset(),
}


class Awaiting(Exception):
    """No failure: the act cannot go on before the words are supplied. It is then run again from its beginning.

    With `poll_s` it is also run again after so many seconds: what it waits for may come by another way. `why` is the
    error that would have ended it: its hint is told, and its name where it is more than that an answer is not there.
    """

    def __init__(
        self, words: tuple[str, ...], message: str, poll_s: float | None = None, why: LmsError | None = None
    ) -> None:
        super().__init__(message)
        self.words = words
        self.poll_s = poll_s
        self.hint = JobWaits.hint if why is None else why.hint
        self.error = None if why is None or isinstance(why, ApprovalPending) else type(why).__name__


@dataclass(frozen=True, slots=True)
class Job:
    """One job of the user `uid`.

    `waiting`: the words it waits for, `progress`: the step it is at. `error`: class name in `lms.errors` of what
    ended it, or of why it asks again; `message` and `hint` explain error and waiting. `answer`: the act's, plain
    JSON values.
    """

    number: int
    verb: str
    uid: int
    state: JobState = JobState.QUEUED
    waiting: tuple[str, ...] = ()
    progress: str = ""
    result: JobResult | None = None
    error: str | None = None
    message: str = ""
    hint: str = ""
    answer: dict[str, Any] = field(default_factory=dict)

    def moved(self, state: JobState, **changes: Any) -> Job:
        """The job in another state: what belonged to the old one is gone."""
        if state not in TRANSITIONS[self.state]:
            raise LmsError(f"cannot take job {self.number} from '{self.state.value}' to '{state.value}'")
        cleared: dict[str, Any] = {"waiting": (), "progress": "", "error": None, "message": "", "hint": ""}
        return replace(self, state=state, **(cleared | changes))


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job in the journal: what it takes to run it again, but no secret.

    `given`: the words that came with it, lost when the process ends. `finished_at`: by the setting's clock.
    """

    job: Job
    options: dict[str, Any]
    given: tuple[str, ...] = ()
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class JobLedger:
    """The whole journal; `next_number` only grows, so that no number ever means two jobs."""

    next_number: int = 1
    records: tuple[JobRecord, ...] = ()
