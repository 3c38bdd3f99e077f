"""Jobs for tests: a runner on a test platform, everything it told, and a clock for its timers that tests turn."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Event

from lms.adapters.store import JobFile
from lms.model.jobs import Job, JobState
from lms.model.secret import Secret
from lms.service.acts import ACTS
from lms.service.jobs import JobRunner

_HANGS_S = 120.0  # a test that waits longer has failed


class Timers:
    """Timers that ring when the test says so."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.stopped = Event()  # the first time that one is
        self.rings: list = []  # what each would do, also after it was stopped
        self._set: list = []

    def __call__(self, delay_s: float, fire):
        self.delays.append(delay_s)
        self.rings.append(fire)
        self._set.append(fire)

        def stop() -> None:
            if fire in self._set:
                self._set.remove(fire)
            self.stopped.set()

        return stop

    @property
    def pending(self) -> int:
        """How many would ring."""
        return len(self._set)

    def ring(self) -> None:
        """All that are set ring."""
        rung, self._set = self._set, []
        for fire in rung:
            fire()


class Jobs:
    """A runner and what it tells; a context manager."""

    def __init__(self, platform, acts=ACTS) -> None:
        self.platform = platform
        self.timers = Timers()
        self.told: list[Job] = []
        self._queue: SimpleQueue[Job] = SimpleQueue()
        self.journal = JobFile(platform.state_directory)
        self.runner = JobRunner(platform.setting, self.journal, acts=acts, timer=self.timers)
        self.runner.observe(self._queue.put)

    def __enter__(self) -> Jobs:
        self.runner.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.stop()

    def submit(self, verb: str, options=None, uid: int = 0, **secrets: bytes) -> int:
        """Submit; words with `_` for `-`."""
        words = {word.replace("_", "-"): value for word, value in secrets.items()}
        return self.runner.submit(verb, options or {}, words, uid)

    def supply(self, number: int, word: str, value: bytes) -> None:
        """Supply."""
        self.runner.supply(number, word, Secret(value))

    def until(self, number: int, *states: JobState) -> Job:
        """The next change of the job into one of these states."""
        while True:
            job = self._queue.get(timeout=_HANGS_S)
            self.told.append(job)
            self.runner.job(job.number)  # the runner has finished what it told
            if job.number == number and job.state in states:
                return job

    def settled(self, number: int) -> Job:
        """The job when it next waits or is finished."""
        return self.until(number, JobState.WAITING, JobState.FINISHED)

    def run(self, verb: str, options=None, **secrets: bytes) -> Job:
        """Submit, and the job when it waits or is finished."""
        return self.settled(self.submit(verb, options, **secrets))
