"""A PostgreSQL server of the tests' own: one cluster, reached by a unix socket only, crashed and started again."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg

_DEBIAN = "/usr/lib/postgresql"  # Debian keeps the server's programs of each version off the PATH
_NOBODY = 65534


def _program(name: str) -> str:
    versions = sorted(Path(_DEBIAN).glob("*/bin"), key=lambda path: int(path.parent.name))
    found = shutil.which(name, path=os.pathsep.join([*map(str, reversed(versions)), os.environ["PATH"]]))
    assert found, f"{name} is missing: install the Debian package postgresql"
    return found


class PostgresServer:
    """A cluster in a directory of its own; as root it runs as nobody, because PostgreSQL refuses root."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        if os.geteuid() == 0:
            os.chown(self._directory, _NOBODY, -1)
        self._count = 0
        self._run("initdb", "-U", "lms", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [_program(program), "-D", str(self._directory / "data"), *arguments],
            cwd=self._directory,
            env={"PATH": os.environ["PATH"]},
            user=_NOBODY if os.geteuid() == 0 else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the server inherits it: nobody may wait for its end
            stderr=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0, f"{program} failed: {self._log()}"

    def _log(self) -> str:
        log = self._directory / "log"
        return log.read_text() if log.exists() else "no log"

    def start(self) -> PostgresServer:
        """Start the server; it answers when this returns."""
        options = f"-c listen_addresses='' -c unix_socket_directories='{self._directory}'"
        self._run("pg_ctl", "-w", "-o", options, "-l", str(self._directory / "log"), "start")
        return self

    def crash(self) -> None:
        """End the server as a power cut would: nothing is finished, nothing is written."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def url(self, database: str) -> str:
        """URL of one database."""
        return f"postgresql://lms@/{database}?host={self._directory}"

    def run(self, statement: str, database: str = "postgres") -> None:
        """Run one statement as the cluster's owner."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def new_database(self) -> str:
        """URL of an empty database."""
        self._count += 1
        self.run(f"CREATE DATABASE vault{self._count}")
        return self.url(f"vault{self._count}")

    def remove(self) -> None:
        """End the server and throw its cluster away."""
        if (self._directory / "data" / "postmaster.pid").exists():
            self._run("pg_ctl", "-w", "-m", "fast", "stop")
        shutil.rmtree(self._directory, ignore_errors=True)
