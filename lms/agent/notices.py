"""What is said on the desktop, and which actions are offered with it: literal tables, no act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

from lms.errors import LmsError
from lms.model.jobs import Job, JobResult, JobState
from lms.model.platform import Health

RESTORE: Final = "restore"
ARCHIVE: Final = "archive"
DETAILS: Final = "details"
LATER: Final = "later"

VERBS: Final = frozenset({RESTORE, ARCHIVE})
LABELS: Final[Mapping[str, str]] = {
    RESTORE: "Restore now",
    ARCHIVE: "Archive now",
    DETAILS: "Details",
    LATER: "Later",
}
"""Every action, as its button says."""


class Urgency(IntEnum):
    """Levels of the Desktop Notifications Specification; what is critical does not go away by itself."""

    LOW = 0
    NORMAL = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification: its text is plain, `actions` are words of LABELS. What is `lasting` waits for the person."""

    title: str
    body: str
    actions: tuple[str, ...] = ()
    urgency: Urgency = Urgency.NORMAL
    lasting: bool = False

    def without_actions(self) -> Notice:
        """The same where no button is shown: it says the command."""
        commands = "".join(f"\nAt a terminal: lmsctl {action}" for action in self.actions if action in VERBS)
        return replace(self, body=self.body + commands, actions=())


@dataclass(frozen=True, slots=True)
class _Concern:
    """A state of the platform that concerns a person: its title, which property says why, what it means for him."""

    title: str
    why: str
    means: str
    actions: tuple[str, ...]
    urgency: Urgency = Urgency.NORMAL


_CONCERNS: Final[Mapping[str, _Concern]] = {
    Health.RESTORE_NEEDED.value: _Concern(
        "This machine lost its keys",
        "Explanation",
        "Volumes, kernel keys and keys of applications below the recoverable key do not open until they are restored.",
        (RESTORE, DETAILS, LATER),
        Urgency.CRITICAL,
    ),
    Health.CREATED.value: _Concern(
        "The keys are not archived yet",
        "Meaning",
        "If the TPM fails, is cleared or leaves with the board, they are lost.",
        (DETAILS, LATER),
    ),
    Health.STALE.value: _Concern(
        "The keys' archive is stale",
        "Meaning",
        "What was registered since then would be lost with the TPM.",
        (ARCHIVE, DETAILS, LATER),
    ),
}
_DOING: Final = {RESTORE: "Restoring the keys", ARCHIVE: "Archiving the keys"}
_DONE: Final = {RESTORE: "The keys are restored", ARCHIVE: "The keys are archived"}
_FAILED: Final = {RESTORE: "The keys are not restored", ARCHIVE: "The keys are not archived"}
_AFTERWARDS: Final = {
    RESTORE: "What did not open without them opens again.",
    ARCHIVE: "They come back on another TPM as they are now.",
}
_HOW: Final = "All of it, at a terminal: lmsctl status"


def sentence(text: str) -> str:
    """What the service says, as a sentence."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _lines(*texts: str) -> str:
    return "\n".join(filter(None, texts))


def concerns(health: Mapping[str, Any]) -> bool:
    """Whether there is anything to say of the Manager's properties."""
    return health["State"] in _CONCERNS


def of_health(health: Mapping[str, Any], own: Sequence[str]) -> Notice:
    """What to say of the Manager's properties, where they are a concern; `own` is what this user registered."""
    concern = _CONCERNS[health["State"]]
    yours = f"Of your own: {', '.join(own)}." if own else ""
    body = _lines(sentence(health[concern.why]), concern.means, yours)
    return Notice(concern.title, body, concern.actions, concern.urgency, lasting=True)


def of_request(health: Mapping[str, Any]) -> Notice:
    """What to say of a restore that somebody else began, or the machine itself, and that waits for its approval."""
    body = _lines(sentence(health["Explanation"]), _asked(f"The owner has to approve request {health['Request']}."))
    return Notice("The restore waits for approval", body, (DETAILS, LATER), lasting=True)


def _asked(words: str) -> str:
    return _lines(words, "The approver will ask for these digits.")


def details_of(health: Mapping[str, Any], own: Sequence[str]) -> Notice:
    """The same for who wants to know more."""
    notice = of_health(health, own)
    archived = f"Newest package: {health['Archived']}." if health["Archived"] else "There is no package yet."
    body = _lines(notice.body, archived, f"State: {health['State']}, {health['Reason']}.", _HOW)
    return replace(notice, body=body, actions=tuple(action for action in notice.actions if action != DETAILS))


def of_job(job: Job, asked: str) -> Notice:
    """What to say of a job that is not finished; `asked` is what it said when it waited for its approval last.

    That stays to be read while the job asks whether it was given.
    """
    if asked:
        body = _lines(_asked(sentence(asked)), sentence(job.progress))
        return Notice(f"The {job.verb} waits for approval", body, lasting=True)
    if job.state is JobState.WAITING:
        how = [f"At a terminal: lmsctl supply {job.number} {word}" for word in job.waiting]
        return Notice(f"The {job.verb} waits for you", _lines(sentence(job.message), *how), lasting=True)
    return Notice(_DOING[job.verb], sentence(job.progress or job.state.value), urgency=Urgency.LOW)


def of_end(job: Job) -> Notice:
    """What to say of a job that is finished."""
    if job.result is JobResult.DONE:
        return Notice(_DONE[job.verb], _AFTERWARDS[job.verb])
    if job.result is JobResult.CANCELED:
        return Notice(_FAILED[job.verb], "The job was canceled.", (job.verb, LATER))
    return Notice(_FAILED[job.verb], _lines(sentence(job.message), sentence(job.hint)), (job.verb, LATER))


def of_refusal(verb: str, error: LmsError) -> Notice:
    """What to say of a job that never began."""
    return Notice(_FAILED[verb], _lines(sentence(str(error)), sentence(error.hint)), (verb, LATER))


def begun(verb: str) -> Notice:
    """What to say while the administrator is asked for his password."""
    return Notice(_DOING[verb], "An administrator has to allow it.", urgency=Urgency.LOW)
