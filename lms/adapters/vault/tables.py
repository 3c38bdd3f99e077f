"""Schema version 1 of a vault: its tables, and how values lie in their columns.

A column has the name of the field that it holds (`lms.model.authorities`), so rows and values need no other
map. A released schema is never edited: the next version is a step of its own.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    Uuid,
)

from lms.model.authorities import RequestKind, RequestState
from lms.model.keys import Name
from lms.model.trust import Pair

VERSION: Final = 1


class Moment(TypeDecorator[datetime]):
    """A time with its zone; what lies in the database is UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the column."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("cannot keep a time without a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the column; SQLite keeps no zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class NameColumn(TypeDecorator[Name]):
    """A TPM 2.0 Name as its bytes."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Name | None, dialect: Dialect) -> bytes | None:
        """To the column."""
        return value

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Name | None:
        """From the column."""
        return None if value is None else Name(value)


class Pairs(TypeDecorator[tuple[Pair, ...]]):
    """Pairs of Names: a JSON list of two hexadecimal Names each."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[Pair, ...] | None, dialect: Dialect) -> str | None:
        """To the column."""
        return None if value is None else json.dumps([[str(pair.ek_name), str(pair.srk_name)] for pair in value])

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[Pair, ...] | None:
        """From the column."""
        if value is None:
            return None
        return tuple(Pair(Name.from_text(ek), Name.from_text(srk)) for ek, srk in json.loads(value))


class Word(TypeDecorator[Enum]):
    """A member of one of our enumerations as its value."""

    impl = Text
    cache_ok = True

    def __init__(self, words: type[Enum]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: Enum | None, dialect: Dialect) -> str | None:
        """To the column."""
        return None if value is None else str(value.value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Enum | None:
        """From the column."""
        return None if value is None else self.words(value)


SCHEMA: Final = MetaData()


def _column(name: str, kind: Any, *, nullable: bool = False) -> Column[Any]:
    return Column(name, kind, nullable=nullable)


VERSIONS: Final = Table("vault_version", SCHEMA, _column("version", Integer))

OWNERS: Final = Table(
    "owners",
    SCHEMA,
    Column("fingerprint", LargeBinary, primary_key=True),
    _column("document", LargeBinary),
    _column("trust_list", LargeBinary),
    _column("tls_certificate", LargeBinary),
    _column("combined", Boolean),
)

# Each list has an index in its own order.
PACKAGES: Final = Table(
    "packages",
    SCHEMA,
    Column("package_id", Uuid, primary_key=True),
    _column("owner", LargeBinary),
    _column("platform_id", Uuid),
    _column("sequence", BigInteger),
    _column("stored", Moment),
    _column("digest", LargeBinary),
    _column("size", BigInteger),
    _column("marked", Moment, nullable=True),
    Index("packages_by_platform", "platform_id", "sequence"),
    # A PlatformID is its owner's word: another owner's takes no Sequence away.
    Index("packages_once", "owner", "platform_id", "sequence", unique=True),
)

# Up to 64 MiB a row: beside the packages, so that a list never reads past them.
DOCUMENTS: Final = Table(
    "documents",
    SCHEMA,
    Column("package_id", Uuid, ForeignKey(PACKAGES.c.package_id, ondelete="CASCADE"), primary_key=True),
    _column("document", LargeBinary),
)

REQUESTS: Final = Table(
    "requests",
    SCHEMA,
    Column("request_id", LargeBinary, primary_key=True),
    _column("kind", Word(RequestKind)),
    _column("owner", LargeBinary),
    _column("platform_id", Uuid),
    _column("ek_name", NameColumn),
    _column("srk_name", NameColumn),
    _column("document", LargeBinary),
    _column("received", Moment),
    _column("address", Text),
    _column("state", Word(RequestState)),
    _column("answer", LargeBinary, nullable=True),
    Index("requests_by_owner", "owner", "received", "request_id"),
    Index("requests_by_address", "state", "address"),
    Index("requests_by_chip", "ek_name", "received", "request_id"),
)

RELEASES: Final = Table(
    "releases",
    SCHEMA,
    Column("request_id", LargeBinary, primary_key=True),
    _column("owner", LargeBinary),
    _column("platform_id", Uuid),
    _column("package_id", Uuid),
    _column("ek_name", NameColumn),
    _column("srk_name", NameColumn),
    _column("released", Moment),
    _column("retires", Pairs),
    _column("stolen", Boolean),
    _column("ended", Boolean),
    _column("confirmed", Boolean),
    Index("releases_by_platform", "platform_id", "released", "request_id"),
)
