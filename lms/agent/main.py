"""`lms-agent`: one for each session of a person, on its session bus and on the bus of `lmsd`.

lms-agent [--config FILE] [--version]
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Final

from lms.agent.memory import Memory, default_path
from lms.agent.notifications import NAME, PATH, Notifications
from lms.agent.session import Session
from lms.arguments import Parser
from lms.config import load_configuration
from lms.errors import BusNameTaken, BusUnavailable, LmsError
from lms.journal import begin_log
from lms.link.connection import BUS, Connection
from lms.process import harden
from lms.terminal import complain

BUS_NAME: Final = "org.localmigration1.Agent"
"""On the session bus; whoever owns it is the one agent of the session."""
_LOG: Final = logging.getLogger("lms-agent")


async def _serve(bus: str) -> None:
    """Until SIGTERM. Raises BusUnavailable where the session ends before, BusNameTaken where it has an agent."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with (
        await Connection.open("session") as desktop,
        desktop.listening(NAME, path=PATH, interface=NAME) as signals,
        desktop.listening(BUS.destination, member="NameOwnerChanged", arg0=NAME) as owners,
    ):
        await desktop.request_name(BUS_NAME)
        notifications = Notifications(desktop, signals, owners)
        session = Session(bus, notifications, Memory(default_path()))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in (notifications.hear(), notifications.greet(), session.run())]
            desktop.lost.add_done_callback(lambda _: ended.set())
            await ended.wait()
            for task in tasks:
                task.cancel()
        if desktop.lost.done():
            raise BusUnavailable("cannot go on: the bus of this session went away")


def main() -> int:
    """Run `lms-agent`."""
    harden()
    parser = Parser.of_program("lms-agent", "Shows how the keys of this machine are, and restores them on request.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration instead of /etc/lms/lms.toml")
    begin_log("lms-agent")
    try:
        asyncio.run(_serve(load_configuration(parser.parse_args().config).bus))
    except BusNameTaken:
        _LOG.info("this session has an agent already")
    except LmsError as error:
        return complain("lms-agent", error, as_json=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
