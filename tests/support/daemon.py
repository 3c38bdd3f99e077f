"""`lmsd` as systemd runs it: a process that says when it is ready; and what a program on its bus asks of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lms.link.connection import Connection, Reply, Target
from lms.link.descriptors import sealed
from lms.link.objects import PROPERTIES
from lms.link.values import variants
from lms.names import BUS_NAME, JOB, MANAGER, ROOT_PATH
from tests.support.bus import as_user

THE_MANAGER = Target(BUS_NAME, ROOT_PATH, MANAGER)


class Daemon:
    """One lmsd, or another of our programs that tells systemd how it is."""

    def __init__(self, config: Path, module: str = "lms.daemon", *arguments: str) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="lmsd-"))
        self._said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._said.bind(str(self._directory / "notify"))
        self._command = [sys.executable, "-m", module, "--config", str(config), *arguments]
        self._log = (self._directory / "log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """Everything that it wrote."""
        return (self._directory / "log").read_text()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def start(self, **environment: str) -> Daemon:
        """Start it; what it says is had by `until`."""
        self._process = subprocess.Popen(
            self._command,
            env=os.environ | {"NOTIFY_SOCKET": str(self._directory / "notify")} | environment,
            stdin=subprocess.DEVNULL,
            stderr=self._log,
        )
        return self

    def until(self, words: str) -> str:
        """Return when it said so to systemd; fails where it ended before."""
        self._said.settimeout(0.2)
        while True:
            try:
                said = self._said.recv(4096).decode()
            except TimeoutError:
                if self._process is None or self._process.poll() is not None:
                    raise RuntimeError(f"lmsd ended: {self.log}") from None
                continue
            if words in said:
                return said

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(by)
        code = self._process.wait()
        self._process = None
        return code

    def wait(self) -> int:
        """Wait for its end; its exit code."""
        assert self._process is not None
        code = self._process.wait()
        self._process = None
        return code

    def remove(self) -> None:
        """End it, and throw away what it said."""
        self.stop(signal.SIGKILL)
        self._said.close()
        self._log.close()
        shutil.rmtree(self._directory, ignore_errors=True)


@dataclass
class Finished:
    """How a job ended."""

    result: str
    error: str
    message: str
    answer: dict[str, Any]


class Client:
    """A program on the bus of lmsd."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def verb(
        self,
        member: str,
        options: Mapping[str, Any] | None = None,
        secrets: Mapping[str, bytes] | None = None,
        flags: int = 0,
    ) -> tuple[Any, ...]:
        """Call a verb of the Manager."""
        given = [sealed(content) for content in (secrets or {}).values()]
        indices = {word: index for index, word in enumerate(secrets or {})}
        try:
            return await self.connection.call(
                THE_MANAGER, member, "a{sv}a{sh}t", variants(options or {}), indices, flags, descriptors=given
            )
        finally:
            for descriptor in given:
                os.close(descriptor)

    async def properties(self, path: str = ROOT_PATH, interface: str = MANAGER) -> dict[str, Any]:
        """All properties of an object."""
        (found,) = await self.connection.call(Target(BUS_NAME, path, PROPERTIES), "GetAll", "s", interface)
        return found

    async def job(self, path: str) -> dict[str, Any]:
        """All properties of a job."""
        return await self.properties(path, JOB)

    async def until(self, path: str, state: str, **others: Any) -> dict[str, Any]:
        """The properties of a job when it is in this state, and others have these values."""
        async with self.connection.listening(BUS_NAME, interface=PROPERTIES, path=path) as changes:
            now = await self.job(path)
            while any(now[name] != value for name, value in (("State", state), *others.items())):
                now |= (await changes.get()).body[1]
            return now

    async def act(self, member: str, options=None, secrets=None) -> Finished:
        """Run a verb to its end."""
        _, path = await self.verb(member, options, secrets)
        end = await self.until(path, "finished")
        return Finished(end["Result"], end["Error"], end["Message"], end["Answer"])

    async def supply(self, path: str, word: str, content: bytes) -> None:
        """Supply a secret."""
        descriptor = sealed(content)
        try:
            await self.connection.call(Target(BUS_NAME, path, JOB), "Supply", "sh", word, 0, descriptors=[descriptor])
        finally:
            os.close(descriptor)

    async def collect(self, path: str, word: str) -> bytes:
        """Collect a secret."""
        reply: Reply = await self.connection.exchange(Target(BUS_NAME, path, JOB), "Collect", "s", word)
        with reply.descriptors:
            return reply.descriptors.content(reply.body[0], 1 << 20)

    async def cancel(self, path: str) -> None:
        """Cancel a job."""
        await self.connection.call(Target(BUS_NAME, path, JOB), "Cancel")


@asynccontextmanager
async def client(address: str, uid: int = 0) -> AsyncIterator[Client]:
    """A client of this user."""
    with as_user(uid):
        connection = await Connection.open(address)
    async with connection:
        yield Client(connection)
