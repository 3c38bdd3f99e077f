"""A process that runs jobs and can be killed at any change of a file: what a daemon does, without its bus.

It goes on with the jobs that the journal left unfinished, or submits one where none was ever made; whatever a
job waits for is supplied, a generated owner authorisation once it stands in the file `kept`.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from lms.adapters.store import JobFile
from lms.assembly import assembled
from lms.config import load_configuration
from lms.errors import BadRequest
from lms.files import write_file
from lms.model.jobs import Job, JobState
from lms.model.secret import Secret
from lms.names import OWNER_AUTH
from lms.service.jobs import JobRunner


def run_jobs(config: Path, order: Path) -> int:
    """Until all jobs are finished; 0 where all are done. `order` is JSON: verb, options, files, given, kept."""
    asked = json.loads(order.read_text())
    with assembled(load_configuration(config), Secret(b"")) as setting:
        journal = JobFile(load_configuration(config).state_directory)
        runner = JobRunner(setting, journal)
        changes: SimpleQueue[Job] = SimpleQueue()
        runner.observe(changes.put)
        if journal.load().next_number == 1:
            secrets = {word: Path(asked["files"][word]).read_bytes() for word in asked["given"]}
            runner.submit(asked["verb"], asked["options"], secrets, 0)
        runner.start()
        while unfinished := [job for job in runner.jobs() if job.state is not JobState.FINISHED]:
            for job in unfinished:
                for word in job.waiting:
                    runner.supply(job.number, word, _value(runner, job, word, asked))
            if not any(job.waiting for job in unfinished):
                changes.get(timeout=120)
        runner.stop()
        return 0 if all(job.result is not None and job.result.value == "done" for job in runner.jobs()) else 1


def _value(runner: JobRunner, job: Job, word: str, asked: dict) -> Secret:
    if word in asked["files"]:
        return Secret(Path(asked["files"][word]).read_bytes())
    assert word == OWNER_AUTH
    kept = Path(asked["kept"])
    with suppress(BadRequest):  # a job that came with it before a restart has nothing to collect
        write_file(kept, runner.collect(job.number, word).reveal())
    return Secret(kept.read_bytes())
