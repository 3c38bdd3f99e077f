"""`lms.ports.VaultTransaction` over one connection: each method is one statement, or two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Executable, RowMapping, Table, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from lms.adapters.vault.failures import named
from lms.adapters.vault.tables import DOCUMENTS, OWNERS, PACKAGES, RELEASES, REQUESTS
from lms.errors import LmsError, PackageConflict, VaultFailed
from lms.model.authorities import (
    KeptOwner,
    KeptPackage,
    KeptRelease,
    KeptRequest,
    ListedRequest,
    RequestKind,
    RequestState,
)
from lms.model.keys import Name

# "ON CONFLICT" is said alike by both, but belongs to neither's common tongue.
_INSERT: Final[dict[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


_LISTED: Final = [REQUESTS.c[field.name] for field in fields(ListedRequest)]
_NEWEST_FIRST: Final = (REQUESTS.c.received.desc(), REQUESTS.c.request_id.desc())


def _row(value: KeptOwner | KeptPackage | KeptRequest | KeptRelease) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


class SqlTransaction:
    """One transaction of one thread. After a failure it can only end, and ends with that failure."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.failure: LmsError | None = None

    @contextmanager
    def _acting(self, act: str) -> Iterator[None]:
        # SQLite ends a transaction by itself when its disk is full: what is run afterwards would stand alone.
        if self.failure is not None:
            raise self.failure
        try:
            with named(act):
                yield
        except (OverflowError, ValueError):  # drivers and columns raise these themselves, and quote the value
            self.failure = VaultFailed(f"cannot {act}: a value does not fit its column")
            raise self.failure from None
        except LmsError as error:
            self.failure = error
            raise

    def _change(self, act: str, statement: Executable) -> None:
        with self._acting(act):
            self._connection.execute(statement)

    def _rows(self, act: str, statement: Executable) -> list[RowMapping]:
        with self._acting(act):
            return list(self._connection.execute(statement).mappings())

    def _replace(self, act: str, table: Table, row: dict[str, Any]) -> None:
        key = [column.name for column in table.primary_key]
        adding = _INSERT[self._connection.dialect.name](table).values(row)
        self._change(act, adding.on_conflict_do_update(index_elements=key, set_=row))

    def owners(self) -> tuple[KeptOwner, ...]:
        """All owners served, in the order of their fingerprints."""
        rows = self._rows("list owners", select(OWNERS).order_by(OWNERS.c.fingerprint))
        return tuple(KeptOwner(**row) for row in rows)

    def keep_owner(self, owner: KeptOwner) -> None:
        """Add an owner, or replace what is kept of the one with this fingerprint."""
        self._replace("keep an owner", OWNERS, _row(owner))

    def packages(self, platform_id: UUID) -> tuple[KeptPackage, ...]:
        """All packages of a platform, highest Sequence first."""
        mine = select(PACKAGES).where(PACKAGES.c.platform_id == platform_id)
        rows = self._rows("list packages", mine.order_by(PACKAGES.c.sequence.desc()))
        return tuple(KeptPackage(**row) for row in rows)

    def package(self, package_id: UUID) -> bytes | None:
        """The document of a package."""
        rows = self._rows("read a package", select(DOCUMENTS.c.document).where(DOCUMENTS.c.package_id == package_id))
        return rows[0]["document"] if rows else None

    def keep_package(self, package: KeptPackage, document: bytes) -> None:
        """Add a package. Raises PackageConflict where its PackageID, or (owner, platform, Sequence), is taken."""
        adding = _INSERT[self._connection.dialect.name](PACKAGES).values(_row(package))
        if not self._rows("keep a package", adding.on_conflict_do_nothing().returning(PACKAGES.c.package_id)):
            raise PackageConflict(f"cannot keep package {package.package_id}: its ID or its Sequence is taken")
        self._change("keep a package", insert(DOCUMENTS).values(package_id=package.package_id, document=document))

    def mark_package(self, package_id: UUID, when: datetime) -> None:
        """Write down that deletion was asked for; the first time stays."""
        unmarked = (PACKAGES.c.package_id == package_id) & PACKAGES.c.marked.is_(None)
        self._change("mark a package", update(PACKAGES).where(unmarked).values(marked=when))

    def drop_package(self, package_id: UUID) -> None:
        """Remove a package for good; absent is success."""
        self._change("drop a package", delete(PACKAGES).where(PACKAGES.c.package_id == package_id))

    def request(self, request_id: bytes) -> KeptRequest | None:
        """One request."""
        rows = self._rows("read a request", select(REQUESTS).where(REQUESTS.c.request_id == request_id))
        return KeptRequest(**rows[0]) if rows else None

    def requests(self, owner: bytes) -> tuple[ListedRequest, ...]:
        """All requests of an owner's queue, newest first."""
        mine = select(*_LISTED).where(REQUESTS.c.owner == owner)
        return tuple(ListedRequest(**row) for row in self._rows("list requests", mine.order_by(*_NEWEST_FIRST)))

    def requests_of(self, ek_name: Name) -> tuple[ListedRequest, ...]:
        """All requests that the TPM with this EK left, in whichever queue, newest first."""
        its = select(*_LISTED).where(REQUESTS.c.ek_name == ek_name)
        return tuple(ListedRequest(**row) for row in self._rows("list requests", its.order_by(*_NEWEST_FIRST)))

    def count_requests(self, address: str | None) -> int:
        """How many requests are pending: from one address, or in total."""
        pending = (
            select(func.count().label("pending")).select_from(REQUESTS).where(REQUESTS.c.state == RequestState.PENDING)
        )
        counted = pending if address is None else pending.where(REQUESTS.c.address == address)
        return int(self._rows("count requests", counted)[0]["pending"])

    def crowding_request(self) -> bytes | None:
        """RequestID of the oldest pending request of the address that has most of them; None where none is pending."""
        pending = REQUESTS.c.state == RequestState.PENDING
        crowd = select(REQUESTS.c.address).where(pending).group_by(REQUESTS.c.address)
        crowd = crowd.order_by(func.count().desc(), func.min(REQUESTS.c.received)).limit(1)
        oldest = select(REQUESTS.c.request_id).where(pending, REQUESTS.c.address == crowd.scalar_subquery())
        oldest = oldest.order_by(REQUESTS.c.received, REQUESTS.c.request_id).limit(1)
        rows = self._rows("look for a request", oldest)
        return rows[0]["request_id"] if rows else None

    def forget_requests(self, kind: RequestKind, state: RequestState, before: datetime) -> None:
        """Drop all requests of a kind and state that were received before a time."""
        old = (REQUESTS.c.kind == kind) & (REQUESTS.c.state == state) & (REQUESTS.c.received < before)
        self._change("forget requests", delete(REQUESTS).where(old))

    def keep_request(self, request: KeptRequest) -> None:
        """Add a request, or replace what is kept under its RequestID."""
        self._replace("keep a request", REQUESTS, _row(request))

    def drop_request(self, request_id: bytes) -> None:
        """Forget a request; absent is success."""
        self._change("drop a request", delete(REQUESTS).where(REQUESTS.c.request_id == request_id))

    def releases(self, platform_id: UUID) -> tuple[KeptRelease, ...]:
        """All releases of a platform, newest first."""
        mine = select(RELEASES).where(RELEASES.c.platform_id == platform_id)
        rows = self._rows("list releases", mine.order_by(RELEASES.c.released.desc(), RELEASES.c.request_id.desc()))
        return tuple(KeptRelease(**row) for row in rows)

    def keep_release(self, release: KeptRelease) -> None:
        """Add a release, or replace what is kept under its RequestID."""
        self._replace("keep a release", RELEASES, _row(release))
