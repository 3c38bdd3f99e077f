"""A PKCS#11 store of tpm2-pkcs11 (schema 8: 1.9) as a database that nobody but the caller writes.

SQLite rolls back what a journal beside a database says, and removes the file that the journal names: whoever may put
one there has the caller remove any file of his.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from lms.errors import NotAStore
from lms.files import is_directory, resolved

_FILE: Final = "tpm2_pkcs11.sqlite3"
_SCHEMA: Final = 8
_BESIDE: Final = ("", "-journal", "-wal", "-shm")
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_ROOT: Final = 0


@dataclass(frozen=True, slots=True)
class Store:
    """`file` is absolute and without links."""

    file: Path

    @classmethod
    def at(cls, path: Path) -> Self:
        """The store in a directory, or in a file. Raises FileProblem."""
        return cls(resolved(path / _FILE if is_directory(path) else path))

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The database, which stays as it is. Raises NotAStore."""
        with self._opened("BEGIN") as database:
            yield database

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """The same for one program at a time; everything is written at its end, or nothing."""
        with self._opened("BEGIN IMMEDIATE") as database:
            yield database

    @contextmanager
    def _opened(self, begin: str) -> Iterator[sqlite3.Connection]:
        self._require_own()
        try:
            named = f"{self.file.as_uri()}?mode=rw"
            with closing(sqlite3.connect(named, uri=True, isolation_level=None)) as database:
                database.execute(begin)
                if database.execute("SELECT schema_version FROM schema").fetchone() != (_SCHEMA,):
                    raise NotAStore(f"cannot use '{self.file}': it is of another version of tpm2-pkcs11")
                yield database
                database.execute("COMMIT")
        except sqlite3.Error as error:
            raise NotAStore(f"cannot use '{self.file}': {error}") from None

    def _require_own(self) -> None:
        """Go on only where nobody else, root excepted, says what lies there, now or later. Raises NotAStore."""
        held = os.open("/", os.O_PATH | os.O_CLOEXEC)
        try:
            for name in self.file.parent.parts[1:]:
                self._require_way(held)
                inner = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=held)
                os.close(held)
                held = inner
            self._require_ours(os.fstat(held))
            for suffix in _BESIDE:
                self._require_file(held, suffix)
        except OSError as error:
            raise NotAStore(f"cannot use '{self.file}': {(error.strerror or str(error)).lower()}") from None
        finally:
            os.close(held)

    def _require_way(self, directory: int) -> None:
        """What is in a sticky directory only its owner gives another name."""
        found = os.fstat(directory)
        if found.st_uid not in (_ROOT, os.geteuid()) or (_others_write(found) and not found.st_mode & stat.S_ISVTX):
            raise self._of_others()

    def _require_file(self, directory: int, suffix: str) -> None:
        try:
            found = os.stat(self.file.name + suffix, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            if suffix:
                return
            raise
        self._require_ours(found)

    def _require_ours(self, found: os.stat_result) -> None:
        if found.st_uid != os.geteuid() or _others_write(found):
            raise self._of_others()

    def _of_others(self) -> NotAStore:
        return NotAStore(f"cannot use '{self.file}': others than you may write to it, beside it, or to a way there")


def _others_write(found: os.stat_result) -> bool:
    return bool(found.st_mode & _OTHERS_WRITE)
