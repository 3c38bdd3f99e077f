"""A job of `lmsd` from its beginning to its end, with the person who began it (DESIGN §4).

What it waits for is asked for at the terminal. Where there is none, a secret that was wrong ends the job as it ends
an act without a daemon; what was never given is left for `lmsctl supply`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from lms import errors
from lms.cli.service import Service
from lms.errors import ApprovalPending, BadRequest, JobCanceled, JobWaits, LmsError
from lms.files import read_file
from lms.model.jobs import Job, JobResult, JobState
from lms.names import (
    APPROVAL,
    ENDORSEMENT_AUTH,
    GRANT,
    OWNER,
    OWNER_AUTH,
    PACKAGE,
    PASSWORD,
    SHEET,
    TOKEN,
    TOKEN_PASSWORD,
    USER_PASSWORD,
)
from lms.terminal import read_line, read_secret, say
from lms.wire.document import MAX_PACKAGE, MIB

PROMPTS: Final = {
    OWNER_AUTH: "owner authorisation",
    ENDORSEMENT_AUTH: "endorsement authorisation",
    TOKEN_PASSWORD: "token password",
    USER_PASSWORD: "user's password",
    PASSWORD: "password",
}
DOCUMENTS: Final = {
    OWNER: 1 * MIB,
    TOKEN: 1 * MIB,
    PACKAGE: MAX_PACKAGE,
    GRANT: 16 * MIB,
    SHEET: 1 * MIB,
    APPROVAL: 16 * MIB,
}
"""Words of documents, and how many bytes each may have."""
# What the owner gives elsewhere: the job asks for it itself, nobody has to sit by.
_ANSWERS: Final = frozenset({APPROVAL, GRANT})


class Left(Exception):
    """The person went away; the job goes on."""


class Follower:
    """One job; `given` are the words that came with it, `tell` hears of its steps.

    `until_approval`: the approval is not awaited, because its request is carried by hand. `part`: the job is a step of
    something larger, which nobody goes on with once the person has left.
    """

    def __init__(
        self,
        service: Service,
        path: str,
        given: Collection[str],
        tell: Callable[[str], None],
        *,
        until_approval: bool = False,
        part: bool = False,
    ) -> None:
        self._service = service
        self._path = path
        self._given = frozenset(given)
        self._tell = tell
        self._until_approval = until_approval
        self._part = part
        self._announced = ""

    def follow(self) -> Job:
        """The job when it is done, or waits for an approval that is not awaited.

        Raises its error, JobCanceled, JobWaits, ServiceGone, Left.
        """
        job = None
        try:
            with self._service.watching(self._path) as now:
                while (job := now()).state is not JobState.FINISHED:
                    self._tell(job.progress)
                    if self._until_approval and APPROVAL in job.waiting:
                        return job
                    if job.state is JobState.WAITING:
                        self._attend(job)
        except KeyboardInterrupt:
            left = self._left(job)
            if self._part:
                raise
            raise Left(left) from None
        if job.result is JobResult.CANCELED:
            raise JobCanceled(f"cannot finish {job.verb}: job {job.number} was canceled")
        if job.result is JobResult.FAILED:
            raise named_error(job)
        return job

    def _left(self, job: Job | None) -> str:
        """What becomes of the job. One that waits for the person who left it is ended: nothing of it was done."""
        number = self._path.rpartition("/")[2]
        if job is not None and job.state is JobState.WAITING and _ANSWERS.isdisjoint(job.waiting):
            self._service.cancel(self._path)
            return f"job {number} is canceled, because it waited for you; the same command begins it anew"
        return f"job {number} goes on without you: `lmsctl jobs` shows it, `lmsctl cancel {number}` ends it"

    def _attend(self, job: Job) -> None:
        if not sys.stdin.isatty():
            raise self._unattended(job)
        if not _ANSWERS.isdisjoint(job.waiting):
            self._announce(job)
            return
        word = job.waiting[0]
        known = job.error is None or word in self._given  # what was never given cannot have been wrong
        self._service.supply(self._path, word, ask_for(self._service, self._path, job, word, why=known))
        self._given |= {word}

    def _announce(self, job: Job) -> None:
        """What to do about an answer of the owner's: once, and again when there is news."""
        if job.message == self._announced:
            return
        self._announced = job.message
        say("lmsctl", job.message)
        say("lmsctl", "the owner approves it with these digits where the token is; an answer that comes as a file:")
        say("lmsctl", f"`lmsctl supply {job.number} {job.waiting[0]} FILE`")
        say("lmsctl", f"job {job.number} waits, with or without you; Ctrl-C leaves it")

    def _unattended(self, job: Job) -> LmsError:
        if job.error is not None and self._given.issuperset(job.waiting):
            self._service.cancel(self._path)
            return named_error(job)
        waits = JobWaits if _ANSWERS.isdisjoint(job.waiting) else ApprovalPending
        kind = waits if job.error is None else type(named_error(job))
        words = " and ".join(f"'{word}'" for word in job.waiting)
        text = job.message or f"cannot finish {job.verb}"
        how = ", ".join(f"`lmsctl supply {job.number} {word} FILE`" for word in job.waiting)
        if _has_generated(job):
            how = f"`lmsctl collect {job.number} {OWNER_AUTH} FILE`, keep FILE, then {how}"
        return kind(f"{text}; job {job.number} waits for {words}, and this is no terminal: {how}")


def named_error(job: Job) -> LmsError:
    """The error that a job names, as it was raised."""
    kind = getattr(errors, job.error or "", LmsError)
    known = isinstance(kind, type) and issubclass(kind, LmsError)
    return kind(job.message) if known else LmsError(job.message)


def ask_for(service: Service, path: str, job: Job, word: str, *, why: bool = True) -> bytes:
    """What a person at the terminal gives to a job: what was made for him, when he has it, or what he has himself.

    `why`: whether he is told why the job waits.
    """
    generated = _generated(service, path, job, word)
    if generated is not None:
        return generated
    if why and job.message:
        say("lmsctl", job.message)
    return asked_for(word)


def _has_generated(job: Job) -> bool:
    """Whether it may hand out an owner authorisation: a TPM that has one refuses first."""
    return OWNER_AUTH in job.waiting and job.error is None


def _generated(service: Service, path: str, job: Job, word: str) -> bytes | None:
    """An owner authorisation that was made for this TPM, when the person has it; None where none was."""
    if word != OWNER_AUTH or not _has_generated(job):
        return None
    try:
        value = service.collect(path, word)
    except BadRequest:
        return None
    say("lmsctl", f"the TPM's new owner authorisation, shown this once: {value.decode('ascii')}")
    say("lmsctl", "write it down and keep it: it opens the TPM to its owner, and it is stored nowhere")
    read_line("press Enter when you have it")
    return value


def asked_for(word: str, source: str | None = None) -> bytes:
    """What belongs to a word: a secret that is typed or read, or the document in a file. Raises BadRequest."""
    if word in PROMPTS:
        return read_secret(source, PROMPTS[word])
    limit = DOCUMENTS.get(word, MIB)
    if source is None and not sys.stdin.isatty():
        raise BadRequest(f"cannot supply '{word}': name its file")
    return read_file(Path(source or read_line(f"file with the {word}")), limit)
