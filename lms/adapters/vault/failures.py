"""What databases and their drivers say, in our words: one place.

Neither a statement nor a value nor the driver's own text passes on: it may quote a row. What passes is the
code that the database's manual explains: SQLite's result code, PostgreSQL's SQLSTATE.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from lms.errors import AuthorityBusy, LmsError, VaultFailed

# SQLite: the primary result code. PostgreSQL: SQLSTATE or its class; 40 is a transaction to be run again,
# 08 and 57P a server that went away, 53300 one that has no connection left, 55P03 a lock that was not got.
_BUSY: Final = ("SQLITE_BUSY", "SQLITE_LOCKED", "40", "08", "57P", "53300", "55P03")


def _code(error: SQLAlchemyError) -> str:
    """The database's own word for what happened; empty where it said none."""
    said = error.orig if isinstance(error, DBAPIError) else None
    return getattr(said, "sqlite_errorname", None) or getattr(said, "sqlstate", None) or ""


def _is_busy(error: SQLAlchemyError, code: str) -> bool:
    return (
        isinstance(error, NoConnectionFree)
        or (isinstance(error, DBAPIError) and error.connection_invalidated)
        or code.startswith(_BUSY)
    )


def _in_our_words(act: str, error: SQLAlchemyError, unanswered: type[LmsError]) -> LmsError:
    code = _code(error)
    if _is_busy(error, code):
        return AuthorityBusy(f"cannot {act}: its database is busy or went away ({code or 'no answer'})")
    if isinstance(error, OperationalError) and not code:  # libpq gives no code where it got no connection
        return unanswered(f"cannot {act}: its database does not answer, or lets nobody in")
    return VaultFailed(f"cannot {act}: its database refused ({code or type(error).__name__})")


@contextmanager
def named(act: str, unanswered: type[LmsError] = AuthorityBusy) -> Iterator[None]:
    """Turn what SQLAlchemy raises into AuthorityBusy or VaultFailed: "cannot ACT"."""
    try:
        yield
    except SQLAlchemyError as error:
        raise _in_our_words(act, error, unanswered) from None
