"""The job runner: one thread that does one act after the other, because a TPM does one thing at a time (DESIGN §4).

An act that lacks something raises `Awaiting` and lets go of the thread; when it is supplied, the act runs again
from its beginning and finds in the state what it did before. Who may ask for what is the bus face's question.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from types import MappingProxyType
from typing import Any, Final

from lms.errors import (
    AuthFailed,
    BadRequest,
    Busy,
    EndorsementAuthFailed,
    LmsError,
    OwnerAuthFailed,
    TpmBusy,
    WrongPassword,
)
from lms.journal import defect
from lms.model.jobs import Awaiting, Job, JobResult, JobState
from lms.model.registered import Caller
from lms.model.secret import Secret
from lms.names import ENDORSEMENT_AUTH, OWNER_AUTH, TOKEN_PASSWORD, USER_PASSWORD
from lms.ports import JobJournal
from lms.service.acts import ACTS, Act, Answer, Call
from lms.service.job_book import JobBook, Task
from lms.service.setting import NO_SECRET, Setting

_LOG: Final = logging.getLogger(__name__)
# What is supplied under these words has to be what was collected.
_CONFIRMED: Final = frozenset({OWNER_AUTH})
# What is asked for again when it was wrong, and what also says so where none was given.
_WRONG: Final[Mapping[type[LmsError], str]] = {
    OwnerAuthFailed: OWNER_AUTH,
    EndorsementAuthFailed: ENDORSEMENT_AUTH,
    WrongPassword: TOKEN_PASSWORD,
    AuthFailed: USER_PASSWORD,
}
_LACKING: Final = frozenset({OwnerAuthFailed, EndorsementAuthFailed})
_WRONG_MAX: Final = 3
# What reads documents that anybody hands in, and neither state nor TPM: a large one holds up nothing else.
_APART: Final = frozenset({"inspect", "verify"})
# How long a question waits for a job that is at work.
_PATIENCE_S: Final = 15.0
# What passes by itself and may be tried again unattended, and after how many seconds.
BACKOFF_S: Final[Mapping[type[LmsError], tuple[float, ...]]] = {TpmBusy: (1.0, 5.0, 25.0)}

Timer = Callable[[float, Callable[[], None]], Callable[[], None]]


class _Canceled(Exception):
    """The job ends between two steps."""


class _Stopped(Exception):
    """The process ends between two steps; the job goes on in the next one."""


def start_timer(delay_s: float, fire: Callable[[], None]) -> Callable[[], None]:
    """Call `fire` in a thread of its own after so many seconds; the result ends the timer."""
    timer = threading.Timer(delay_s, fire)
    timer.daemon = True
    timer.start()
    return timer.cancel


class JobRunner:
    """Runs the acts of one platform as jobs. All methods may be called from any thread."""

    def __init__(
        self,
        setting: Setting,
        journal: JobJournal,
        *,
        acts: Mapping[str, Act] = ACTS,
        timer: Timer = start_timer,
        caller_of: Callable[[int], Caller] = Caller.nameless,
        standing: Mapping[str, Secret] = MappingProxyType({}),
    ) -> None:
        """`standing`: secrets that an administrator gave to all acts; what comes with an act goes before them."""
        self._setting = setting
        self._standing = standing
        self._caller_of = caller_of
        self._acts = acts
        self._timer = timer
        self._observers: list[Callable[[Job], None]] = []
        self._changes: SimpleQueue[Job | None] = SimpleQueue()
        self._book = JobBook(journal, setting.now, self._changes.put)
        self._turn = threading.Condition()
        self._at_work = threading.Lock()
        self._ready = deque(t for t in self._book.tasks() if t.job.state is JobState.QUEUED)
        self._stopping = False
        self._worker = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._teller = threading.Thread(target=self._tell, name="job-changes", daemon=True)

    def start(self) -> None:
        """Begin with what the journal left queued, and remove what a crash left of items."""
        with suppress(LmsError):  # a state that cannot be read is told by every act
            self._setting.store.sweep()
        self._worker.start()
        self._teller.start()

    def stop(self, patience_s: float | None = None) -> bool:
        """End after the step that runs; its job is queued again, for the next process. False where it takes longer."""
        with self._turn:
            self._stopping = True
            for task in self._book.tasks():
                task.forget_timer()
            self._turn.notify_all()
        self._worker.join(patience_s)
        if self._worker.is_alive():
            return False
        self._changes.put(None)
        self._teller.join()
        return True

    def observe(self, callback: Callable[[Job], None]) -> None:
        """Hear of every change, in order, in one thread of the runner; not of what was so before."""
        self._observers.append(callback)

    def submit(self, verb: str, options: Mapping[str, Any], secrets: Mapping[str, bytes], uid: int) -> int:
        """Queue an act; the number of its job, which is in the journal. Raises BadRequest, FileProblem."""
        if verb not in self._acts:
            raise BadRequest(f"cannot '{verb}': there is no such act")
        with self._turn:
            task = self._book.add(verb, options, {word: Secret(value) for word, value in secrets.items()}, uid)
            self._enqueue(task)
            return task.job.number

    def ask(self, verb: str, options: Mapping[str, Any], secrets: Mapping[str, bytes], uid: int) -> Answer:
        """The answer of an act that changes nothing, at once: no job, nothing is written down, it waits for nothing.

        Not while another act is at work, because a TPM does one thing at a time, unless it needs none. Raises Busy,
        and the act's errors.
        """
        given = {**self._standing, **{word: Secret(value) for word, value in secrets.items()}}
        call = Call(options, given, caller=self._caller_of(uid))
        if verb in _APART:
            return self._acts[verb](call, self._setting)
        return self._alone(self._acts[verb], call, self._setting, _PATIENCE_S)

    def jobs(self) -> tuple[Job, ...]:
        """All jobs, the oldest first; the last hundred finished ones stay for a day."""
        with self._turn:
            return tuple(task.job for task in self._book.tasks())

    def job(self, number: int) -> Job:
        """One job. Raises NoSuchJob."""
        with self._turn:
            return self._book.find(number).job

    def supply(self, number: int, word: str, value: Secret) -> None:
        """Give a waiting job what it waits for; with the last word it is queued again.

        Where an owner authorisation was collected, only that one is taken: it proves that its owner has it.
        Raises NoSuchJob, BadRequest, FileProblem.
        """
        with self._turn:
            task = self._book.find(number)
            if word not in task.job.waiting:
                raise BadRequest(f"cannot supply '{word}': job {number} does not wait for it")
            if task.collected.get(word, value) != value:
                otherwise = f"if that is lost, cancel job {number} and begin again"
                raise BadRequest(f"cannot supply '{word}': it is not the one that was collected; {otherwise}")
            rest = tuple(w for w in task.job.waiting if w != word)
            given = frozenset({*task.record.given, word})
            if rest:
                self._book.change(
                    task, JobState.WAITING, given=given, waiting=rest, message=task.job.message, hint=task.job.hint
                )
            else:
                self._book.change(task, JobState.QUEUED, given=given)
                self._enqueue(task)
            task.secrets[word] = value
            task.done.clear()
            task.offered.pop(word, None)
            task.collected.pop(word, None)

    def collect(self, number: int, word: str) -> Secret:
        """A secret that a job made, once. Raises NoSuchJob, BadRequest where there is none, or none any more."""
        with self._turn:
            task = self._book.find(number)
            if word not in task.offered:
                raise BadRequest(f"cannot collect '{word}' from job {number}: it has none, or it was collected already")
            secret = task.offered.pop(word)
            if task.job.state is JobState.WAITING and word in _CONFIRMED:
                task.collected[word] = secret
            return secret

    def cancel(self, number: int) -> None:
        """End a job: one that runs ends before its next step, or is done if it has none. Raises NoSuchJob, BadRequest.

        What it did so far stays, as after a crash: the same act goes on from there.
        """
        with self._turn:
            task = self._book.find(number)
            if task.job.state is JobState.FINISHED:
                raise BadRequest(f"cannot cancel job {number}: it is finished")
            if task.job.state is JobState.RUNNING:
                task.cancel = True
            else:
                self._book.change(task, JobState.FINISHED, result=JobResult.CANCELED)

    def _enqueue(self, task: Task) -> None:
        self._ready.append(task)
        self._turn.notify_all()

    def _tell(self) -> None:
        while (job := self._changes.get()) is not None:
            for observer in self._observers:
                observer(job)

    def _work(self) -> None:
        while (task := self._next()) is not None:
            self._run(task)

    def _next(self) -> Task | None:
        with self._turn:
            while not self._stopping:
                while self._ready:
                    task = self._ready.popleft()
                    if task.job.state is JobState.QUEUED:  # or else it was canceled meanwhile
                        return task
                self._turn.wait()
            return None

    def _run(self, task: Task) -> None:
        """One run of an act, from its beginning to its end or to what it waits for."""
        caller = self._caller_of(task.job.uid)
        secrets = {**self._standing, **task.secrets}
        call = Call(task.record.options, secrets, caller=caller, waits=True, done=task.done)
        try:
            with self._turn:
                self._book.change(task, JobState.RUNNING)
            answer = self._act(task, call)
        except Awaiting as lack:
            self._wait(task, call, lack)
        except _Canceled:
            self._finish(task, result=JobResult.CANCELED)
        except _Stopped:
            with self._turn:
                self._book.settle(task, JobState.QUEUED)
        except LmsError as error:
            self._fail(task, error)
        except Exception as error:  # noqa: BLE001 - one act's defect must not end all others
            _LOG.error("internal error in job %d, %s: %s", task.job.number, task.job.verb, defect(error))
            self._fail(task, LmsError(f"cannot {task.job.verb}: the service failed unexpectedly"))
        else:
            with self._turn:
                self._finish(task, result=JobResult.DONE, answer=answer)
                task.offered = dict(call.offered)

    def _act(self, task: Task, call: Call) -> Answer:
        return self._alone(self._acts[task.job.verb], call, replace(self._setting, step=partial(self._step, task)))

    def _alone(self, act: Act, call: Call, setting: Setting, patience_s: float = -1) -> Answer:
        if not self._at_work.acquire(timeout=patience_s):
            raise Busy("cannot answer now: a job is at work")
        try:
            setting.tpm.begin(call.secret(ENDORSEMENT_AUTH))
            return act(call, setting)
        finally:
            setting.tpm.begin(NO_SECRET)  # what one act was given and trusted is nothing to the next
            self._at_work.release()

    def _step(self, task: Task, text: str) -> None:
        with self._turn:
            if task.cancel:
                raise _Canceled
            if self._stopping:
                raise _Stopped
            self._book.progress(task, text)

    def _wait(self, task: Task, call: Call, lack: Awaiting) -> None:
        with self._turn:
            if task.cancel:
                self._finish(task, result=JobResult.CANCELED)
                return
            task.offered, task.collected = dict(call.offered), {}
            task.tries.clear()
            given = frozenset(task.record.given)
            if lack.poll_s is None:  # what is asked for again was of no use; or else its time has not come
                given -= frozenset(lack.words)
                for word in lack.words:
                    task.secrets.pop(word, None)
            told = {"error": lack.error, "message": str(lack), "hint": lack.hint}
            self._book.settle(task, JobState.WAITING, given=given, waiting=lack.words, **told)
            if lack.poll_s is not None:
                self._later(task, lack.poll_s)

    def _fail(self, task: Task, error: LmsError) -> None:
        """Ask again, try again, or end."""
        kind = type(error)
        word, delays = _WRONG.get(kind), BACKOFF_S.get(kind, ())
        with self._turn:
            if word not in task.secrets and kind not in _LACKING:
                word = None
            if task.cancel:
                self._finish(task, result=JobResult.CANCELED)
                return
            if word is None or word in task.secrets:
                task.tries[kind] = task.tries.get(kind, 0) + 1
            tries = task.tries.get(kind, 0)
            if word is not None and tries < _WRONG_MAX:
                self._ask(task, word, error)
            elif 0 < tries <= len(delays):
                self._book.settle(task, JobState.QUEUED, message=str(error))
                self._later(task, delays[tries - 1])
            else:
                self._finish(task, result=JobResult.FAILED, error=kind.__name__, message=str(error), hint=error.hint)

    def _ask(self, task: Task, word: str, error: LmsError) -> None:
        """Forget a wrong secret and wait for another one."""
        task.secrets.pop(word, None)
        given = frozenset(task.record.given) - {word}
        told = {"error": type(error).__name__, "message": str(error), "hint": error.hint}
        self._book.settle(task, JobState.WAITING, given=given, waiting=(word,), **told)

    def _finish(self, task: Task, **changes: Any) -> None:
        with self._turn:
            self._book.settle(task, JobState.FINISHED, **changes)

    def _later(self, task: Task, delay_s: float) -> None:
        """Run again after a while, unless something else happens to the job before."""
        awaited = task.record

        def fire() -> None:
            with self._turn:
                if self._stopping or task.record is not awaited:
                    return
                if task.job.state is JobState.WAITING:
                    self._book.settle(task, JobState.QUEUED)
                self._enqueue(task)

        task.stop_timer = self._timer(delay_s, fire)
