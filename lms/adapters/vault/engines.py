"""The two databases: how each is opened so that what was committed stays (SQLite, "PRAGMA synchronous").

SQLite has a rollback journal, not a write-ahead log: transactions exclude each other anyway, and at rest the
one file is all there is, so that a copy of it is a backup. `EXTRA` is `FULL` and syncs the directory too.
PostgreSQL answers a commit when it is on its disk, whatever the server's default is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from lms.errors import BadConfiguration, FileProblem
from lms.files import ensure_directory, is_there, sync_directory

_PRAGMAS: Final = (
    "PRAGMA journal_mode = DELETE",
    "PRAGMA synchronous = EXTRA",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
)
_WRITABLE_BY_OTHERS: Final = 0o022

# A process that closes a file drops all locks that it has on it, those of SQLite in other threads too: so one thread
# creates it before any uses it, and a file that is there is never opened here.
_CREATING: Final = Lock()


def _create(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:  # another process was quicker
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(path.parent)


def _ensure_file(path: Path) -> None:
    """The database's file, mode 0600 in a directory where nobody else can place a journal beside it."""
    new = not is_there(path.parent)
    ensure_directory(path.parent)
    if path.parent.stat().st_mode & _WRITABLE_BY_OTHERS:
        raise FileProblem(f"cannot keep a vault in '{path.parent}': others may write to it")
    try:
        if new:
            sync_directory(path.parent.parent)
        with _CREATING:
            if not path.exists():
                _create(path)
        path.chmod(0o600)
    except OSError as error:
        raise FileProblem(f"cannot keep a vault in '{path}': {(error.strerror or str(error)).lower()}") from None


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins no transactions: we do
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later could otherwise fail at its first write.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _sqlite(url: URL, wait_s: float) -> Engine:
    if not url.database or url.database == ":memory:" or url.query:
        raise BadConfiguration("cannot open the vault: write sqlite:///PATH, with nothing after it")
    path = Path(url.database)
    _ensure_file(path)
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path.absolute())),
        poolclass=NullPool,
        connect_args={"timeout": wait_s},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _postgresql(url: URL, wait_s: float) -> Engine:
    wait_ms = max(1, round(wait_s * 1000))  # 0 would be for ever
    fixed = f"-c synchronous_commit=on -c timezone=UTC -c lock_timeout={wait_ms}"
    options = " ".join([*url.normalized_query.get("options", ()), fixed])  # the last word counts
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        isolation_level="SERIALIZABLE",
        pool_pre_ping=True,
        pool_timeout=wait_s,
        connect_args={"connect_timeout": 10, "tcp_user_timeout": 30_000, "options": options},
        hide_parameters=True,
    )


_ENGINES: Final[dict[str, Callable[[URL, float], Engine]]] = {"sqlite": _sqlite, "postgresql": _postgresql}


def make_engine(url: str, wait_s: float) -> Engine:
    """An engine whose transactions are serialisable and wait `wait_s` for each other; nothing is connected yet.

    Raises BadConfiguration, FileProblem. The URL may hold a password: no error quotes it.
    """
    try:
        parsed = make_url(url)
        make = _ENGINES.get(parsed.drivername)
        if make is None:
            raise BadConfiguration("cannot open the vault: its URL begins neither with sqlite: nor with postgresql:")
        return make(parsed, wait_s)
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise BadConfiguration("cannot open the vault: its URL cannot be read") from None
    except ModuleNotFoundError as error:
        raise BadConfiguration(f"cannot open the vault: the Python package '{error.name}' is missing") from None
