"""Runs acts of `lms.boot`, and jobs, in processes that can be killed at any moment.

The server below has imported everything and forks for each act, so that a run costs what the act costs. A
child calls `lms.boot.main` with descriptors as `lms.process` would give them, `lms-authority` with its words, or
`tests.support.job_victim`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

KILLED = -signal.SIGKILL
AUTHORITY = "authority"  # an act of the victim: `lms-authority` with the JSON list in the file `words`
JOBS = "jobs"  # an act of the victim: run the jobs of the order in the file `order`
_FILE_EVENTS = ("os.rename", "os.link", "os.remove")


class Victims:
    """A server of acts; one act at a time."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.victim"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._pid = 0

    def start(self, act: str, config: Path, files: dict[str, Path], die_at_file: int = 0) -> None:
        """Start an act; `files` are its inputs by their words. It kills itself at its n-th change of a directory."""
        order = {
            "act": act,
            "config": str(config),
            "files": {w: str(p) for w, p in files.items()},
            "die": die_at_file,
        }
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        self._pid = self._line()

    def kill(self) -> None:
        """End the act as a power cut does."""
        os.kill(self._pid, signal.SIGKILL)

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


_OTHERS = {JOBS: _jobs, AUTHORITY: _authority}


def _act(order: dict[str, Any]) -> int:
    seen = 0

    def look(event: str, arguments: object) -> None:
        nonlocal seen
        if event in _FILE_EVENTS:
            seen += 1
            if seen == order["die"]:
                os.kill(os.getpid(), signal.SIGKILL)

    if order["die"]:
        sys.addaudithook(look)
    return _OTHERS.get(order["act"], _boot)(order)


def _serve() -> None:
    from lms import boot  # noqa: F401 - imported once, before the forks
    from lms.authority import main  # noqa: F401
    from tests.support import job_victim  # noqa: F401

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
