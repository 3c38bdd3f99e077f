"""`lmsd` or `lms-authority serve` in a fork of a server of acts: started in a blink, killed at any of its points."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import tempfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.support.victim import KILLED, Points, Victims


class Program:
    """One program at a time, as `act` of the server; it is ready when `start` returns."""

    def __init__(self, victims: Victims, act: str, config: Path, files: Mapping[str, Path]) -> None:
        self.act = act
        self._victims, self._config, self._files = victims, config, files
        self._directory = Path(tempfile.mkdtemp(prefix="program-"))
        self._said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._said.bind(str(self._directory / "notify"))
        self._said.settimeout(0.2)
        self._waiter = ThreadPoolExecutor(1)
        self._ended: Future[int] | None = None

    @property
    def points(self) -> Points:
        """What it counts, and where it dies."""
        return self._victims.points

    def start(self) -> None:
        """Start it; what it says to systemd tells when it is ready."""
        environment = {"NOTIFY_SOCKET": str(self._directory / "notify")}
        self._victims.start(self.act, self._config, self._files, environment=environment)
        self._ended = self._waiter.submit(self._victims.wait)
        while True:
            try:
                if "READY=1" in self._said.recv(4096).decode():
                    return
            except TimeoutError:
                assert not self._ended.done(), f"{self.act} ended by itself"

    def kill(self) -> None:
        """End it as a power cut does."""
        self._victims.kill()

    async def killed(self) -> None:
        """Return when it was killed; fails where it ended otherwise."""
        assert self._ended is not None
        assert await asyncio.wrap_future(self._ended) == KILLED

    def stop(self) -> int:
        """End it in good order, if it runs; its exit code."""
        assert self._ended is not None
        if not self._ended.done():
            with suppress(ProcessLookupError):  # it was killed at this very moment
                self._victims.send(signal.SIGTERM)
        code = self._ended.result()
        assert code in (0, KILLED)
        return code

    def remove(self) -> None:
        """End it, and throw away what it said."""
        if self._ended is not None and not self._ended.done():
            with suppress(ProcessLookupError):
                self._victims.kill()
        self._waiter.shutdown()
        self._said.close()
        shutil.rmtree(self._directory)
