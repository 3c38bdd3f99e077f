"""`lmsd`: the service on a bus (DESIGN §4). Puts its parts together, tells systemd how it is, and ends in good order.

lmsd [--config FILE] [--version]
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from systemd.daemon import notify

from lms.adapters.store import JobFile
from lms.adapters.users import caller_of
from lms.arguments import Parser
from lms.assembly import assembled
from lms.bus import Face
from lms.config import Configuration, load_configuration
from lms.errors import LmsError
from lms.files import write_file
from lms.journal import begin_log, fields
from lms.link.service import BusService
from lms.model.jobs import Job, JobResult, JobState
from lms.model.secret import Secret
from lms.names import BUS_NAME, ENDORSEMENT_AUTH, OWNER_AUTH, RESTORED, ROOT_PATH
from lms.process import harden, provided_secrets
from lms.service.jobs import JobRunner
from lms.service.setting import Setting
from lms.service.unasked import ask_authorities
from lms.terminal import complain

_QUESTIONS_AT_ONCE: Final = 2
# An authority that says nothing may hold a step for minutes, a TPM a question; whoever switches off waits for us.
_STOP_S: Final = 5
_LOG: Final = logging.getLogger("lmsd")


def _whose(configuration: Configuration) -> int:
    """The user whose machine it is: root; on a private bus the one who runs the service."""
    return 0 if configuration.bus == "system" else os.geteuid()


def _privileged(configuration: Configuration) -> frozenset[int]:
    return frozenset({0, _whose(configuration)})


def _tell_restored(configuration: Configuration) -> None:
    """For who may do more than this process: `lms-reactivate.path`."""
    try:
        write_file(configuration.state_directory / RESTORED, b"")
    except LmsError as error:
        _LOG.warning("cannot tell that the keys are back: %s", error)


class _JobLog:
    """Writes down each job's way from state to state; not its message, which may name what a user entrusted."""

    def __init__(self) -> None:
        self._states: dict[int, JobState] = {}

    def __call__(self, job: Job) -> None:
        if self._states.get(job.number) is job.state:
            return
        self._states[job.number] = job.state
        if job.state is JobState.FINISHED:
            del self._states[job.number]
        result = None if job.result is None else job.result.value
        level = logging.WARNING if job.result is JobResult.FAILED else logging.INFO
        told = fields(job=job.number, verb=job.verb, uid=job.uid, state=job.state.value, result=result, error=job.error)
        words = " ".join(filter(None, (job.state.value, result, job.error)))
        _LOG.log(level, "job %d, %s: %s", job.number, job.verb, words, extra=told)


def _told(words: str) -> None:
    _LOG.info("%s", words)
    notify(f"STATUS={words}")


async def _watchdog() -> None:
    """As long as this loop turns, it says so, twice as often as asked for."""
    period_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 2_000_000
    while period_s:
        notify("WATCHDOG=1")
        await asyncio.sleep(period_s)


async def _serve(configuration: Configuration, setting: Setting, questions: Executor) -> None:
    """Serve until SIGTERM. Raises BusUnavailable, BusNameTaken where it cannot begin."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    standing = provided_secrets(OWNER_AUTH, ENDORSEMENT_AUTH)
    runner = JobRunner(setting, JobFile(configuration.state_directory), caller_of=caller_of, standing=standing)
    service = BusService(configuration.bus, BUS_NAME, ROOT_PATH)
    runner.observe(_JobLog())
    restored = partial(_tell_restored, configuration)
    face = Face(service, runner, setting.store.load, _privileged(configuration), questions, restored)
    await face.begin()
    await service.start()
    face.announce()
    runner.start()
    notify("READY=1")
    _told("on the bus")
    if configuration.restore_unasked:
        questions.submit(ask_authorities, runner, _whose(configuration))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in (service.run(_told), face.keep_fresh(), _watchdog())]
        await ended.wait()
        notify("STOPPING=1")
        for task in tasks:
            task.cancel()
    await service.stop()
    rests = await asyncio.to_thread(runner.stop, _STOP_S)
    if not rests:
        _LOG.warning("a job is left in the middle of a step: the next process begins it anew, as after a crash")
    if not (rests and await _answered(questions)):
        os._exit(0)


async def _answered(questions: Executor) -> bool:
    """Whether no question waits for the TPM any more; false where one still does after five seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_STOP_S):
            await asyncio.to_thread(questions.shutdown, cancel_futures=True)
            return True
    _LOG.warning("a question waits for the TPM still: it gets no answer")
    return False


def main() -> int:
    """Run `lmsd`."""
    harden()
    parser = Parser.of_program("lmsd", "The Local Migration Service on a bus.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration instead of /etc/lms/lms.toml")
    begin_log("lmsd")
    try:
        configuration = load_configuration(parser.parse_args().config)
        with (
            assembled(configuration, Secret(b"")) as setting,
            ThreadPoolExecutor(_QUESTIONS_AT_ONCE, "questions") as questions,
        ):
            asyncio.run(_serve(configuration, setting, questions))
    except LmsError as error:
        return complain("lmsd", error, as_json=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
