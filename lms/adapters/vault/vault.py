"""`lms.ports.Vault`: opened once, used by all threads of a server; each transaction has its own connection.

A transaction is never run again here: AuthorityBusy has `retry`, and only who asked knows what to repeat. Where
the connection is lost in a commit, that may have happened or not; who repeats it finds out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine, func, insert, inspect, select

from lms.adapters.vault.engines import make_engine
from lms.adapters.vault.failures import named
from lms.adapters.vault.tables import SCHEMA, VERSION, VERSIONS
from lms.adapters.vault.transaction import SqlTransaction
from lms.errors import VaultFailed, VaultTooNew

_WAIT_S: Final = 10.0
_OPENING: Final = 0x6C6D7331  # an advisory lock of PostgreSQL: one process makes the schema, the others look on


class SqlVault:
    """An MA's store in a database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        """All or nothing: an exception inside rolls back. Raises AuthorityBusy, VaultFailed."""
        with named("use the vault"), self._engine.begin() as connection:
            transaction = SqlTransaction(connection)
            yield transaction
            # Caught inside, it would otherwise look as if all was kept.
            if transaction.failure is not None:
                raise transaction.failure

    def close(self) -> None:
        """End all connections that are not in use."""
        self._engine.dispose()


def _ensure_schema(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_OPENING)))
    if not inspect(connection).has_table(VERSIONS.name):
        SCHEMA.create_all(connection)
        connection.execute(insert(VERSIONS).values(version=VERSION))
    found = connection.execute(select(VERSIONS.c.version)).scalars().all()
    if found and max(found) > VERSION:
        raise VaultTooNew(f"cannot open the vault: its schema has version {max(found)}, newest known is {VERSION}")
    if found != [VERSION]:
        raise VaultFailed("cannot open the vault: its schema has no version")


def _open(engine: Engine) -> None:
    # A snapshot as old as the wait for the lock would not show the schema that the other one made.
    level = {"isolation_level": "READ COMMITTED"} if engine.dialect.name == "postgresql" else {}
    with named("open the vault", VaultFailed), engine.execution_options(**level).begin() as connection:
        _ensure_schema(connection)


def open_vault(url: str, *, wait_s: float = _WAIT_S) -> SqlVault:
    """Open `sqlite:///PATH` or `postgresql://…`; a new one gets its schema. Transactions wait `wait_s` for another.

    Raises BadConfiguration, FileProblem, VaultTooNew, VaultFailed; AuthorityBusy where that is not enough.
    """
    engine = make_engine(url, wait_s)
    try:
        _open(engine)
    except BaseException:
        engine.dispose()
        raise
    return SqlVault(engine)
