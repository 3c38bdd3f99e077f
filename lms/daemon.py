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
from lms.link.service import BusService
from lms.model.secret import Secret
from lms.names import BUS_NAME, ENDORSEMENT_AUTH, OWNER_AUTH, ROOT_PATH
from lms.process import harden, provided_secrets
from lms.service.jobs import JobRunner
from lms.service.setting import Setting
from lms.terminal import complain

_QUESTIONS_AT_ONCE: Final = 2
_LOG: Final = logging.getLogger("lmsd")


def _privileged(configuration: Configuration) -> frozenset[int]:
    """Root; on a private bus the user whose service it is, too."""
    return frozenset({0} if configuration.bus == "system" else {0, os.geteuid()})


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
    face = Face(service, runner, setting.store.load, _privileged(configuration), questions)
    await face.begin()
    await service.start()
    face.announce()
    runner.start()
    notify("READY=1")
    _told("on the bus")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in (service.run(_told), face.keep_fresh(), _watchdog())]
        await ended.wait()
        notify("STOPPING=1")
        for task in tasks:
            task.cancel()
    await service.stop()
    await asyncio.to_thread(runner.stop)


def main() -> int:
    """Run `lmsd`."""
    harden()
    parser = Parser.of_program("lmsd", "The Local Migration Service on a bus.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration instead of /etc/lms/lms.toml")
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
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
