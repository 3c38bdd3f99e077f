"""A vault is made once, opened by those who know its schema, and lies where nobody else reaches it."""

from __future__ import annotations

import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
import pytest

from lms.adapters.vault import open_vault
from lms.errors import AuthorityBusy, BadConfiguration, FileProblem, VaultFailed, VaultTooNew
from tests.adapters.vault.conftest import PLATFORM, a_package, an_owner


def _execute(url: str, statement: str) -> None:
    """As another program would."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.execute(statement)
        connection.commit()
        connection.close()
    else:
        with psycopg.connect(url, autocommit=True) as other:
            other.execute(statement)


def test_a_vault_opened_again_holds_what_was_kept(url, opened):
    package = a_package()
    with opened(url).transaction() as transaction:
        transaction.keep_package(package, b"<p/>")
    with opened(url).transaction() as transaction:
        assert transaction.packages(PLATFORM) == (package,)


def test_a_newer_schema_is_refused_and_left_alone(url, opened):
    with opened(url).transaction() as transaction:
        transaction.keep_owner(an_owner())
    _execute(url, "UPDATE vault_version SET version = 2")
    for _ in range(2):
        with pytest.raises(VaultTooNew, match="schema has version 2, newest known is 1"):
            open_vault(url)
    _execute(url, "UPDATE vault_version SET version = 1")
    with opened(url).transaction() as transaction:
        assert transaction.owners() == (an_owner(),)


@pytest.mark.parametrize("damage", ["DELETE FROM vault_version", "UPDATE vault_version SET version = 0"])
def test_a_schema_without_a_known_version_is_refused(url, opened, damage):
    opened(url)
    _execute(url, damage)
    with pytest.raises(VaultFailed, match="no version"):
        open_vault(url)


def test_a_vault_is_made_once_by_all_who_open_it_first(url, opened):
    together = Barrier(4)

    def open_first(_: int):
        together.wait()
        return opened(url)

    with ThreadPoolExecutor(4) as pool:
        vaults = list(pool.map(open_first, range(4)))
    with vaults[0].transaction() as transaction:
        transaction.keep_owner(an_owner())
    with vaults[3].transaction() as transaction:
        assert transaction.owners() == (an_owner(),)


def test_a_table_that_went_missing_is_a_failure(url, opened):
    vault = opened(url)
    _execute(url, "DROP TABLE owners")
    with pytest.raises(VaultFailed, match="cannot list owners"), vault.transaction() as transaction:
        transaction.owners()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://lms:hunter2@db/vault",
        "sqlite+aiosqlite:////tmp/hunter2",
        "postgresql+asyncpg://lms:hunter2@db/vault",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:////tmp/vault?mode=hunter2",
        "hunter2",
        "postgresql://lms:hunter2@db:port/vault",
        "",
    ],
)
def test_a_url_that_names_no_vault_is_refused_and_not_quoted(url):
    with pytest.raises(BadConfiguration, match="cannot open the vault") as caught:
        open_vault(url)
    assert "hunter2" not in str(caught.value)


# --- SQLite: a file ---


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vault" / "vault.sqlite"


def test_the_file_is_its_owners_alone(path, opened):
    with opened(f"sqlite:///{path}").transaction() as transaction:
        transaction.keep_owner(an_owner())
        modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    assert modes == {"vault.sqlite": 0o600, "vault.sqlite-journal": 0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_at_rest_the_file_is_all_there_is(path, opened, tmp_path):
    with opened(f"sqlite:///{path}").transaction() as transaction:
        transaction.keep_owner(an_owner())
    assert [each.name for each in path.parent.iterdir()] == ["vault.sqlite"]
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(path.read_bytes())
    with opened(f"sqlite:///{copy}").transaction() as transaction:
        assert transaction.owners() == (an_owner(),)


def test_a_file_that_was_readable_is_closed_to_others(path, opened):
    opened(f"sqlite:///{path}")
    path.chmod(0o644)
    opened(f"sqlite:///{path}")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_directory_where_others_could_place_a_journal_is_refused(path, opened):
    path.parent.mkdir(mode=0o700)
    opened(f"sqlite:///{path}")
    path.parent.chmod(0o770)
    with pytest.raises(FileProblem, match="others may write"):
        open_vault(f"sqlite:///{path}")


def test_a_file_that_is_no_database_is_refused_and_left_alone(path):
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"precious notes, no database" * 100)
    with pytest.raises(VaultFailed, match="SQLITE_NOTADB"):
        open_vault(f"sqlite:///{path}")
    assert path.read_bytes() == b"precious notes, no database" * 100


def test_a_path_that_cannot_be_is_named(path):
    path.mkdir(parents=True, mode=0o700)
    with pytest.raises(VaultFailed, match="SQLITE_CANTOPEN"):
        open_vault(f"sqlite:///{path}")


def test_a_vault_locked_by_another_program_is_busy(path, opened):
    vault = opened(f"sqlite:///{path}", wait_s=0.0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for use in (lambda: vault.transaction().__enter__(), lambda: open_vault(f"sqlite:///{path}", wait_s=0.0)):
        with pytest.raises(AuthorityBusy, match="SQLITE_BUSY"):
            use()
    other.close()
    with vault.transaction() as transaction:
        transaction.keep_owner(an_owner())


# --- PostgreSQL: a server ---


def test_a_vault_locked_by_another_client_is_busy(postgres, opened):
    url = postgres.new_database()
    vault = opened(url, wait_s=0.0)

    def keep() -> None:
        with vault.transaction() as transaction:
            transaction.keep_owner(an_owner())

    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE owners IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(AuthorityBusy, match="55P03"):
            keep()
        other.rollback()
    keep()


def test_a_server_that_does_not_answer_is_no_vault(tmp_path):
    with pytest.raises(VaultFailed, match="does not answer") as caught:
        open_vault(f"postgresql://lms:hunter2@/vault?host={tmp_path}")
    assert "hunter2" not in str(caught.value)


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BadConfiguration, match="'psycopg' is missing"):
        open_vault("postgresql://lms@/vault")
