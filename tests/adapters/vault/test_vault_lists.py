"""A list costs what it shows: one statement, by an index, without the documents."""

from __future__ import annotations

import sqlite3
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Engine, event

from lms.model.keys import Name
from tests.adapters.vault.conftest import OWNER, PLATFORM, a_package, a_release, a_request

COUNT = 10_000
FEW, FEW_CHIPS = UUID(int=99), Name(b"\0\x0b" + b"f" * 32)


@pytest.fixture
def statements():
    """All SQL that is executed, as the drivers get it."""
    seen = []

    def look(_connection, _cursor, statement, parameters, _context, _many):
        seen.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", look)
    yield seen
    event.remove(Engine, "before_cursor_execute", look)


def _plan(url: str, statement: str, parameters) -> str:
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
        connection.close()
        return "\n".join(row[3] for row in rows)
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("ANALYZE")
        return "\n".join(row[0] for row in other.execute(f"EXPLAIN {statement}", parameters))


@pytest.mark.slow
def test_ten_thousand_packages_are_listed_by_one_statement_that_reads_no_document(vault, statements):
    with vault.transaction() as transaction:
        for sequence in range(1, COUNT + 1):
            transaction.keep_package(a_package(sequence), b"<p/>")
    with vault.transaction() as transaction:
        del statements[:]
        listed = transaction.packages(PLATFORM)
    assert [package.sequence for package in listed] == list(range(COUNT, 0, -1))
    selects = [statement for statement, _ in statements if statement.startswith("SELECT")]
    assert len(statements) == len(selects) == 1
    assert "documents" not in selects[0]


@pytest.mark.parametrize(
    ("index", "ask"),
    [
        ("packages_by_platform", lambda t: t.packages(FEW)),
        ("releases_by_platform", lambda t: t.releases(FEW)),
        ("requests_by_owner", lambda t: t.requests(b"f" * 32)),
        ("requests_by_chip", lambda t: t.requests_of(FEW_CHIPS)),
        ("requests_by_address", lambda t: t.count_requests("198.51.100.9")),
    ],
    ids=["packages", "releases", "requests", "requests-of-a-chip", "pending"],
)
def test_what_others_keep_is_not_read(url, vault, statements, index, ask):
    with vault.transaction() as transaction:
        for n in range(1, 1001):
            transaction.keep_package(a_package(n, platform_id=UUID(int=n % 50)), b"<p/>")
            transaction.keep_release(a_release(n, platform_id=UUID(int=n % 50)))
            owner = (n % 50).to_bytes() * 32 if n % 50 else OWNER
            chip = Name(b"\0\x0b" + bytes([n % 50]) * 32)
            transaction.keep_request(a_request(n, owner=owner, ek_name=chip, address=f"192.0.2.{n % 50}"))
    with vault.transaction() as transaction:
        del statements[:]
        ask(transaction)
    ((statement, parameters),) = [each for each in statements if each[0].startswith("SELECT")]
    plan = _plan(url, statement, parameters)
    assert index in plan
    assert "TEMP B-TREE" not in plan
