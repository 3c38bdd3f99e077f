"""`lmsctl jobs`, `supply`, `collect`, `cancel`: acts in progress at `lmsd` (DESIGN §4)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lms.cli.following import ask_for, asked_for
from lms.cli.running import bus_of
from lms.cli.service import Service
from lms.errors import BadRequest, FileExists, NoSuchJob
from lms.files import create_file, is_there
from lms.model.jobs import Job
from lms.terminal import say, say_of_none

Answer = dict[str, Any]
Verb = Callable[[str, str, Callable[[argparse.Namespace], Answer]], argparse.ArgumentParser]


def add_verbs(verb: Verb) -> None:
    """Their options."""
    verb("jobs", "the jobs that there are, and what they wait for", jobs)

    made = verb("supply", "give a job what it waits for", supply)
    made.add_argument("job", metavar="JOB", type=int, help="its number")
    made.add_argument("word", metavar="WORD", help="what it is, as `jobs` names it")
    made.add_argument("file", metavar="FILE", nargs="?", help="where it is; - is standard input; asked for by default")

    made = verb("collect", "take what a job made, which it hands out once", collect)
    made.add_argument("job", metavar="JOB", type=int, help="its number")
    made.add_argument("word", metavar="WORD", help="what it is, as the job names it")
    made.add_argument("file", metavar="FILE", help="a new file, which only you can read")

    verb("cancel", "end a job", cancel).add_argument("job", metavar="JOB", type=int, help="its number")


def _service(arguments: argparse.Namespace) -> Service:
    if arguments.no_daemon:
        raise BadRequest(f"cannot {arguments.verb} with --no-daemon: jobs are those of lmsd")
    return Service.require(bus_of(arguments.config))


def _found(service: Service, number: int) -> tuple[str, Job]:
    for path, job in service.jobs().items():
        if job.number == number:
            return path, job
    raise NoSuchJob(f"cannot find job {number}")


def jobs(arguments: argparse.Namespace) -> Answer:
    """All jobs that the caller may see."""
    with _service(arguments) as service:
        found = [_facts(job) for job in service.jobs().values()]
    say_of_none("lmsctl", found, "there are no jobs", arguments.json)
    return {"jobs": found}


def _facts(job: Job) -> Answer:
    """A job without its answer; what it has nothing to say of is left out."""
    facts = {
        "job": job.number,
        "verb": job.verb,
        "state": job.state.value,
        "waiting": list(job.waiting),
        "progress": job.progress,
        "result": None if job.result is None else job.result.value,
        "error": job.error,
        "message": job.message,
    }
    return {name: value for name, value in facts.items() if value}


def supply(arguments: argparse.Namespace) -> Answer:
    """Hand over one thing."""
    with _service(arguments) as service:
        path, job = _found(service, arguments.job)
        if arguments.word not in job.waiting:
            waits = " and ".join(f"'{word}'" for word in job.waiting) or "nothing"
            raise BadRequest(f"cannot supply '{arguments.word}': job {job.number} waits for {waits}")
        if arguments.file is None and sys.stdin.isatty():
            value = ask_for(service, path, job, arguments.word)
        else:
            value = asked_for(arguments.word, arguments.file)
        service.supply(path, arguments.word, value)
    if sys.stderr.isatty():
        say("lmsctl", "`lmsctl jobs` shows how it goes on")
    return {"job": job.number, "supplied": arguments.word}


def collect(arguments: argparse.Namespace) -> Answer:
    """Write what a job hands out to a new file; it is named before anything is taken, because it is handed out once."""
    output = Path(arguments.file)
    if is_there(output):
        raise FileExists(f"cannot create '{output}': file exists")
    with _service(arguments) as service:
        path, job = _found(service, arguments.job)
        create_file(output, service.collect(path, arguments.word))
    return {"job": job.number, "collected": arguments.word, "file": str(output)}


def cancel(arguments: argparse.Namespace) -> Answer:
    """End a job; what it did so far stays."""
    with _service(arguments) as service:
        path, job = _found(service, arguments.job)
        service.cancel(path)
    return {"job": job.number, "changed": True}
