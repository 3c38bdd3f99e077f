"""One suite, two databases: a file of SQLite, and a PostgreSQL server started for the session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID, uuid4

import pytest

from lms.adapters.vault import SqlVault, open_vault
from lms.model.authorities import KeptOwner, KeptPackage, KeptRelease, KeptRequest, RequestKind
from lms.model.keys import Name
from lms.model.trust import Pair
from tests.support.postgres import PostgresServer

NOON = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
OWNER = b"o" * 32
EK, SRK, OTHER = (Name(b"\x00\x0b" + letter * 32) for letter in (b"e", b"s", b"x"))
PLATFORM, OTHER_PLATFORM = UUID(int=1), UUID(int=2)

# What has a meaning to SQL, to its drivers, or to a careless formatter; NUL has none in a text of PostgreSQL.
HOSTILE = (
    "'; DROP TABLE packages; --",
    '" OR ""="',
    "%s %(address)s :address ? $1 {0} \\",
    "Robert'); DELETE FROM requests WHERE ('1'='1",
    "\u202e\u00a0\U0001f511'",
    "",
)


def a_package(sequence: int = 1, document: bytes = b"<p/>", **changes) -> KeptPackage:
    values = {
        "package_id": uuid4(),
        "owner": OWNER,
        "platform_id": PLATFORM,
        "sequence": sequence,
        "stored": NOON,
        "digest": sha256(document).digest(),
        "size": len(document),
    }
    return KeptPackage(**(values | changes))


def a_request(number: int = 1, **changes) -> KeptRequest:
    values = {
        "request_id": number.to_bytes(32),
        "kind": RequestKind.RESTORE,
        "owner": OWNER,
        "platform_id": PLATFORM,
        "ek_name": EK,
        "srk_name": SRK,
        "document": b"<r/>",
        "received": NOON + timedelta(seconds=number),
        "address": "192.0.2.1",
    }
    return KeptRequest(**(values | changes))


def a_release(number: int = 1, **changes) -> KeptRelease:
    values = {
        "request_id": number.to_bytes(32),
        "owner": OWNER,
        "platform_id": PLATFORM,
        "package_id": UUID(int=7),
        "ek_name": EK,
        "srk_name": SRK,
        "released": NOON + timedelta(seconds=number),
        "retires": (Pair(OTHER, SRK), Pair(EK, OTHER)),
        "stolen": False,
    }
    return KeptRelease(**(values | changes))


def an_owner(letter: bytes = b"o", **changes) -> KeptOwner:
    values = {
        "fingerprint": letter * 32,
        "document": b"<o/>",
        "trust_list": b"<t/>",
        "tls_certificate": b"\x30\x00\xff",
        "combined": False,
    }
    return KeptOwner(**(values | changes))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer().start()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/vault/vault.sqlite"
    return request.getfixturevalue("postgres").new_database()


@pytest.fixture
def opened() -> Iterator[Callable[..., SqlVault]]:
    """Opens vaults; the test's end closes them."""
    vaults: list[SqlVault] = []

    def open_another(url: str, wait_s: float = 60.0) -> SqlVault:
        vaults.append(open_vault(url, wait_s=wait_s))
        return vaults[-1]

    yield open_another
    for vault in vaults:
        vault.close()


@pytest.fixture
def vault(url, opened) -> SqlVault:
    return opened(url)
