"""A desktop of nobody's: a virtual screen, a session bus and dunst on it, and `lms-agent` as its session starts it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from lms.agent.notifications import NAME, PATH
from lms.link.objects import Exported
from lms.link.service import BusService
from lms.link.tables import Answer, Call, Interface, Method
from tests.support.bus import NOBODY, as_user

_TREE = Path(__file__).parents[2]
_HANGS_S = 60.0  # who waits longer waits in vain
_NOBODYS = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
# dunst has no buttons: it hands the actions to a menu, and ours chooses what a person would.
_DUNSTRC = """
[global]
    font = Monospace 11
    width = 480
    markup = full
    timeout = 0
    history_length = 50
    dmenu = {menu}
"""
# As that of a session, which starts nothing by itself unless it is told to.
_SESSION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>{address}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
  {more}
</busconfig>
"""
_MENU = """#!/bin/sh
grep -m 1 -F "$(cat {choice})"
"""


@dataclass(frozen=True)
class Seen:
    """A notification as dunst shows it."""

    title: str
    body: str
    actions: tuple[str, ...]
    id: int


def _seen(block: str) -> Seen:
    """What dunst prints of a notification."""

    def value(key: str) -> str:
        found = re.search(rf"^\s*{key}: '(.*?)'$", block, re.MULTILINE | re.DOTALL)
        return found[1] if found else ""

    number = re.search(r"^\s*id: (\d+)", block, re.MULTILINE)
    assert number, block
    actions = re.findall(r'^\s*"?([a-z]+)"?[ :,]+"?([A-Z][a-z]+(?: now)?)"?$', block, re.MULTILINE)
    return Seen(value("summary"), value("body"), tuple(word for word, _ in actions), int(number[1]))


class Running:
    """A program of the session, whose lines are read as they come."""

    def __init__(self, command: list[str], environment: dict[str, str], **user: object) -> None:
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **user,
        )
        self.lines: Queue[str | None] = Queue()
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said += line
            self.lines.put(line)
        self.lines.put(None)

    def until(self, words: str) -> None:
        """Return when it says this, after what was awaited before."""
        while (line := self.lines.get(timeout=_HANGS_S)) is not None:
            if words in line:
                return
        raise RuntimeError(f"awaited '{words}', but it ended: {self.said}")

    def end(self, by: signal.Signals | None = signal.SIGTERM) -> int:
        """End it, or wait for its end; its exit code."""
        if by is not None and self._process.poll() is None:
            self._process.send_signal(by)
        code = self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code


class Desktop:
    """One screen and one session; `bus` is the address of the system's."""

    def __init__(self, bus: str, more: str = "") -> None:
        """`more`: of the session bus's configuration."""
        self.directory = Path(tempfile.mkdtemp(prefix="desktop-"))
        self.config = self.directory / "lms.toml"
        self.config.write_text(f'bus = "{bus}"\n')
        self.told = self.directory / "state/lms/told.json"
        self._choice = self.directory / "choice"
        self._menu = self.directory / "menu"
        self._menu.write_text(_MENU.format(choice=self._choice))
        (self.directory / "dunstrc").write_text(_DUNSTRC.format(menu=self._menu))
        self.session = f"unix:path={self.directory}/session"
        self._bus_config = self.directory / "session.conf"
        self._bus_config.write_text(_SESSION.format(address=self.session, more=more))
        for path in (self.directory, *self.directory.iterdir()):
            os.chown(path, NOBODY, NOBODY)
            path.chmod(0o755)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "XDG_RUNTIME_DIR": str(self.directory),
            "XDG_STATE_HOME": str(self.directory / "state"),
            "DBUS_SESSION_BUS_ADDRESS": self.session,
            "LC_ALL": "C.UTF-8",
        }
        self._screen: subprocess.Popen[bytes] | None = None
        self._session: subprocess.Popen[bytes] | None = None
        self._dunst: Running | None = None
        self._agents: list[Running] = []

    def __enter__(self) -> Desktop:
        read, write = os.pipe()
        self._screen = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", "900x420x24", "-nolisten", "tcp", "-ac"],
            pass_fds=[write],
            stderr=subprocess.DEVNULL,
        )
        os.close(write)
        with os.fdopen(read) as told:
            self.environment["DISPLAY"] = f":{told.readline().strip()}"
        command = ["dbus-daemon", f"--config-file={self._bus_config}", "--nofork", "--nopidfile", "--print-address"]
        self._session = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, **_NOBODYS)
        assert self._session.stdout is not None
        assert self._session.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        for program in (*self._agents, self._dunst):
            if program is not None:
                program.end(signal.SIGKILL)
        for process in (self._session, self._screen):
            if process is not None:
                process.kill()
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log_out(self) -> None:
        """The bus of the session goes away."""
        assert self._session is not None
        self._session.kill()

    # --- the notification server ---

    def start_dunst(self) -> None:
        """Start the notification server."""
        self._dunst = Running(
            ["dunst", "-config", str(self.directory / "dunstrc"), "-print"], self.environment, **_NOBODYS
        )

    def stop_dunst(self) -> None:
        """It goes away."""
        assert self._dunst is not None
        self._dunst.end()

    def shown(self) -> Seen:
        """The next notification that is shown, or what one is replaced with."""
        assert self._dunst is not None
        block = ""
        while (line := self._dunst.lines.get(timeout=_HANGS_S)) is not None:
            block += line
            if line == "}\n":
                return _seen(block)
        raise RuntimeError(f"dunst ended: {self._dunst.said}")

    def until(self, title: str) -> Seen:
        """The next notification with this title."""
        return self.all_until(title)[-1]

    def all_until(self, title: str) -> list[Seen]:
        """The same, after all that is shown before it."""
        shown = [self.shown()]
        while shown[-1].title != title:
            shown.append(self.shown())
        return shown

    def click(self, label: str) -> None:
        """Choose an action of the newest notification."""
        self._choice.write_text(label)
        subprocess.run(["dunstctl", "action", "0"], env=self.environment, check=True, **_NOBODYS)

    # --- ours ---

    def start_agent(self, **environment: str) -> Running:
        """Start `lms-agent`."""
        command = [sys.executable, "-m", "tests.support.nobody", "lms.agent.main", "--config", str(self.config)]
        self._agents.append(Running(command, self.environment | {"PYTHONPATH": str(_TREE)} | environment))
        return self._agents[-1]


class PlainServer:
    """A notification server that shows text and nothing else, for a session bus that has no dunst."""

    def __init__(self, session: str) -> None:
        self.shown: asyncio.Queue[tuple[object, ...]] = asyncio.Queue()
        self._service = BusService(session, NAME, "/org/freedesktop")
        methods = {
            "GetCapabilities": Method("", "as capabilities", self._capabilities),
            "Notify": Method(
                "s app, u replaces, s icon, s summary, s body, as actions, a{sv} hints, i timeout", "u id", self._notify
            ),
        }
        self._service.export(PATH, Exported((Interface(NAME, methods),)))

    async def __aenter__(self) -> PlainServer:
        with as_user(NOBODY):
            await self._service.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._service.stop()

    async def _capabilities(self, _: Call) -> Answer:
        return Answer((["body"],))

    async def _notify(self, call: Call) -> Answer:
        self.shown.put_nowait(call.body)
        return Answer((call.body[1] or 1,))
