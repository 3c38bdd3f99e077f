"""Stores of tpm2-pkcs11: an SQLite file whose table `pobjects` names the parents of all keys in it (1.0 to 1.9).

The bytes are opened in memory, so nothing beside the file is looked at and nothing is written. A hostile file may
have a view in place of the table, or columns that are computed: neither is run. Bytes in; bonds, nothing, or an error
out.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import Any, Final

from lms.apps.inventory.bond import Bond, Kind
from lms.apps.luks.token import read_parent
from lms.errors import MalformedStructure

_MAGIC: Final = b"SQLite format 3\0"
_TABLES: Final = frozenset({"pobjects", "tobjects"})
_COMPUTED: Final = 6  # of table_xinfo
_STEPS: Final = 100_000
_MOST: Final = 255
# A serialized ESYS_TR in the YAML of `config`: two kilobytes are more than any storage key has.
_PARENT: Final = re.compile(r"\besys-tr\b\W+(?:str\W+)?([0-9a-fA-F]{2,4096})\b")


def read_store(content: bytes) -> tuple[Bond, ...]:
    """The parents of a store; nothing for other databases. Raises MalformedStructure."""
    if not content.startswith(_MAGIC):
        return ()
    try:
        return tuple(_bond(config) for config in _configs(content))
    except (sqlite3.Error, ValueError, OverflowError):
        raise MalformedStructure("cannot read an SQLite file: it is damaged, or somebody writes it") from None


def _configs(content: bytes) -> list[Any]:
    with closing(sqlite3.connect(":memory:")) as store:
        store.deserialize(content)
        store.execute("PRAGMA trusted_schema=OFF")
        store.execute("PRAGMA cell_size_check=ON")
        store.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, len(content))
        store.set_progress_handler(lambda: 1, _STEPS)
        tables = store.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchmany(_MOST)
        if not {name for (name,) in tables} >= _TABLES:
            return []
        if any(column[_COMPUTED] for column in store.execute("PRAGMA table_xinfo(pobjects)").fetchmany(_MOST)):
            raise MalformedStructure("cannot read a PKCS#11 store: its columns are computed")
        return [config for (config,) in store.execute("SELECT config FROM pobjects").fetchmany(_MOST)]


def _bond(config: Any) -> Bond:
    """One without a persistent parent has a primary key that is derived again each time."""
    found = _PARENT.search(str(config))
    if found is None:
        return Bond(Kind.PKCS11_STORE)
    parent = read_parent(bytes.fromhex(found[1]))
    return Bond(Kind.PKCS11_STORE, parent.handle, parent.name)
