"""Runs acts of `lms.boot`, jobs, `lmsd` and `lms-authority` in processes that can be killed at any moment.

The server below has imported everything and forks for each act, so that a run costs what the act costs. A
child calls `lms.boot.main` with descriptors as `lms.process` would give them, `lms.daemon.main`, `lms-authority` with
its words, or `tests.support.job_victim`. It counts its points: changes of directories and steps of a database.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

KILLED = -signal.SIGKILL
AUTHORITY = "authority"  # an act of the victim: `lms-authority` with the JSON list in the file `words`
DAEMON = "daemon"  # an act of the victim: `lmsd`, until it is told to stop
IMPATIENT = "impatient"  # the same, and it waits for an authority three seconds instead of a minute
APPLICATION = "application"  # an act of the victim: the verb of an application in the file `order`
LMSCTL = (
    "lmsctl"  # an act of the victim: `lmsctl` with the words in the file `words`; each start of a program is a point
)
JOBS = "jobs"  # an act of the victim: run the jobs of the order in the file `order`
_FILE_EVENTS = ("os.rename", "os.link", "os.remove")


class Points:
    """Two numbers that test and victim share: how many points were passed, and the one to die at (0: none)."""

    _NUMBERS = struct.Struct("=QQ")

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            file.truncate(self._NUMBERS.size)
            self._shared = mmap.mmap(file.fileno(), self._NUMBERS.size)

    @property
    def passed(self) -> int:
        """How many since the start of the process."""
        passed, _ = self._NUMBERS.unpack_from(self._shared)
        return int(passed)

    def begin(self, die_at: int) -> None:
        """Count from nothing."""
        self._NUMBERS.pack_into(self._shared, 0, 0, die_at)

    def arm(self, number: int) -> None:
        """Die at the n-th point from now on; at none for 0."""
        self._NUMBERS.pack_into(self._shared, 0, self.passed, self.passed + number if number else 0)

    def touch(self) -> None:
        """A point, before what it stands for is done: here the victim dies."""
        passed, die_at = self._NUMBERS.unpack_from(self._shared)
        self._NUMBERS.pack_into(self._shared, 0, passed + 1, die_at)
        if passed + 1 == die_at:
            os.kill(os.getpid(), signal.SIGKILL)


class Victims:
    """A server of acts; one act at a time."""

    def __init__(self) -> None:
        descriptor, name = tempfile.mkstemp(prefix="points-")
        os.close(descriptor)
        self._path = Path(name)
        self.points = Points(self._path)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.victim"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._pid = 0

    def start(
        self,
        act: str,
        config: Path,
        files: Mapping[str, Path],
        die_at_file: int = 0,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Start an act; `files` are its inputs by their words. It kills itself at its n-th point."""
        self.points.begin(die_at_file)
        order = {
            "act": act,
            "config": str(config),
            "files": {w: str(p) for w, p in files.items()},
            "points": str(self._path),
            "environment": dict(environment),
        }
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        self._pid = self._line()

    def kill(self) -> None:
        """End the act as a power cut does."""
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send the act a signal."""
        os.kill(self._pid, number)

    def wait(self) -> int:
        """Exit code of the act, or -SIGKILL."""
        return os.waitstatus_to_exitcode(self._line())

    def _line(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()
        self._path.unlink()


def _boot(order: dict[str, Any]) -> int:
    from lms import boot

    words = []
    for word, path in order["files"].items():
        writes = os.O_RDWR | os.O_CREAT | os.O_TRUNC if word == "answer" else os.O_RDONLY
        words.append(f"--{word}={os.open(path, writes, 0o600)}")
    sys.argv = ["lms.boot", order["act"], "--config", order["config"], *words]
    return boot.main()


def _jobs(order: dict[str, Any]) -> int:
    from tests.support import job_victim

    return job_victim.run_jobs(Path(order["config"]), Path(order["files"]["order"]))


def _authority(order: dict[str, Any]) -> int:
    from lms.authority import main

    words = json.loads(Path(order["files"]["words"]).read_text())
    sys.argv = ["lms-authority", "--config", order["config"], *words]
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the server's own is its line to the test
    return main.main()


def _lmsctl(order: dict[str, Any]) -> int:
    from lms.cli import main

    points = Points(Path(order["points"]))
    sys.addaudithook(lambda name, arguments: points.touch() if name == "subprocess.Popen" else None)
    sys.argv = ["lmsctl", "--config", order["config"], *json.loads(Path(order["files"]["words"]).read_text())]
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the server's own is its line to the test
    return main.main()


def _application(order: dict[str, Any]) -> int:
    from tests.support import application_victim

    return application_victim.run(Path(order["config"]), Path(order["files"]["order"]), Points(Path(order["points"])))


def _daemon(order: dict[str, Any]) -> int:
    from lms import daemon

    sys.argv = ["lmsd", "--config", order["config"]]
    return daemon.main()


def _impatient(order: dict[str, Any]) -> int:
    from lms.adapters.authority import AuthorityClient

    AuthorityClient.__init__.__kwdefaults__["deadline_s"] = 3.0
    return _daemon(order)


_OTHERS = {
    APPLICATION: _application,
    LMSCTL: _lmsctl,
    JOBS: _jobs,
    AUTHORITY: _authority,
    DAEMON: _daemon,
    IMPATIENT: _impatient,
}


def _watch(points: Points) -> None:
    """Touch a point before each change of a directory, each statement and commit, and after each transaction."""
    from sqlalchemy import Engine, Pool, event

    def look(name: str, arguments: object) -> None:
        if name in _FILE_EVENTS:
            points.touch()

    def step(*arguments: object) -> None:
        points.touch()

    sys.addaudithook(look)
    for target, name in ((Engine, "before_cursor_execute"), (Engine, "commit"), (Pool, "checkin")):
        event.listen(target, name, step)


def _act(order: dict[str, Any]) -> int:
    os.environ.update(order["environment"])
    _watch(Points(Path(order["points"])))
    return _OTHERS.get(order["act"], _boot)(order)


def _serve() -> None:
    from lms import boot, daemon  # noqa: F401 - imported once, before the forks
    from lms.adapters import authority  # noqa: F401
    from lms.authority import main  # noqa: F401
    from lms.cli import main as lmsctl  # noqa: F401
    from tests.support import application_victim, job_victim  # noqa: F401

    for line in sys.stdin:
        order = json.loads(line)
        # The child waits until its number is known: it can be killed at its first command.
        go_read, go_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                os.close(go_write)
                os.read(go_read, 1)
                code = _act(order)
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(pid, flush=True)
        os.close(go_read)
        os.close(go_write)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    _serve()
