"""What was committed survives a killed program, a crashed server and a full disk."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from uuid import UUID

import pytest

from lms.errors import AuthorityBusy, VaultFailed
from tests.adapters.vault.conftest import PLATFORM, a_package, an_owner
from tests.support.postgres import PostgresServer
from tests.support.storing import document_of


def _kill_one_that_stores(url: str, after: int) -> list[UUID]:
    """The packages that a process said to have committed before it was killed."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.storing", url], stdout=subprocess.PIPE, text=True
    ) as storing:
        assert storing.stdout is not None
        said = [storing.stdout.readline() for _ in range(after)]
        storing.send_signal(signal.SIGKILL)
        said += storing.stdout.readlines()
    assert storing.returncode == -signal.SIGKILL
    return [UUID(line.strip()) for line in said if line.endswith("\n")]


@pytest.mark.parametrize("after", [1, 7, 20])
def test_a_killed_process_loses_nothing_that_it_said_it_had(url, opened, after):
    said = _kill_one_that_stores(url, after)
    assert len(said) >= after
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()
    with opened(url).transaction() as transaction:
        listed = transaction.packages(PLATFORM)
        assert {package.package_id for package in listed} >= set(said)
        # One more may have been committed and not said; none is there by half.
        assert len(listed) - len(said) in (0, 1)
        assert [package.sequence for package in listed] == list(range(len(listed), 0, -1))
        assert all(transaction.package(p.package_id) == document_of(p.package_id) for p in listed)
        transaction.keep_package(a_package(len(listed) + 1), b"<p/>")


def test_a_full_disk_keeps_nothing_by_half(tmp_path, opened):
    """A limit on the file's pages is what a full disk is to SQLite; one that was raised is room again."""
    vault = opened(f"sqlite:///{tmp_path}/vault/vault.sqlite")
    kept = a_package(1)
    with vault.transaction() as transaction:
        transaction.keep_package(kept, b"<p/>")

    def fill() -> None:
        with vault.transaction() as transaction:
            transaction._connection.exec_driver_sql("PRAGMA max_page_count = 40")
            transaction.keep_owner(an_owner())
            with pytest.raises(VaultFailed, match="SQLITE_FULL"):
                transaction.keep_package(a_package(2), b"x" * 2**20)
            # SQLite may have ended the transaction by itself: this must not be kept alone.
            with pytest.raises(VaultFailed):
                transaction.keep_owner(an_owner(b"x"))

    with pytest.raises(VaultFailed, match="SQLITE_FULL"):
        fill()
    with vault.transaction() as transaction:
        assert transaction.packages(PLATFORM) == (kept,)
        assert transaction.owners() == ()
        transaction.keep_package(a_package(2), b"x" * 2**20)


@pytest.fixture
def server():
    server = PostgresServer().start()
    yield server
    server.remove()


def test_a_crashed_server_loses_nothing_and_is_found_again(server, opened):
    vault = opened(server.new_database())
    kept = a_package(1)
    with vault.transaction() as transaction:
        transaction.keep_package(kept, b"<p/>")

    def crashed() -> None:
        with vault.transaction() as transaction:
            transaction.keep_package(a_package(2), b"<p/>")
            server.crash()
            transaction.packages(PLATFORM)

    for _ in range(2):
        with pytest.raises(AuthorityBusy):
            crashed()
    server.start()
    with vault.transaction() as transaction:
        assert transaction.packages(PLATFORM) == (kept,)
        transaction.keep_package(a_package(2), b"<p/>")
    # A server that was away while nobody asked is not noticed.
    server.crash()
    server.start()
    with vault.transaction() as transaction:
        assert len(transaction.packages(PLATFORM)) == 2


def test_a_commit_waits_for_the_disk_whatever_the_defaults_are(tmp_path, opened, server):
    url = server.new_database()
    database = url.partition("?")[0].rpartition("/")[2]
    server.run(f"ALTER DATABASE {database} SET synchronous_commit = off")
    asked = (
        (f"sqlite:///{tmp_path}/vault/vault.sqlite", "PRAGMA synchronous", 3),
        (f"sqlite:///{tmp_path}/vault/vault.sqlite", "PRAGMA journal_mode", "delete"),
        (url, "SHOW synchronous_commit", "on"),
        (url + "&options=-c work_mem%3D8MB", "SHOW synchronous_commit", "on"),
        (url + "&options=-c work_mem%3D8MB", "SHOW work_mem", "8MB"),
    )
    for where, question, answer in asked:
        with opened(where).transaction() as transaction:
            assert transaction._connection.exec_driver_sql(question).scalar_one() == answer
