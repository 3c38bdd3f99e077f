"""`lms.ports.RecoveryPlace`: what a machine whose root cannot be opened needs, as files in `/boot/lms` (DESIGN §4).

Sheet and package are public and signed; the files are for root alone all the same.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from lms.errors import FileProblem
from lms.files import ensure_directory, is_directory, is_there, read_regular_file, remove_file, write_file
from lms.model.recovery import RecoveryFacts
from lms.names import RECOVERY_FACTS, RECOVERY_PACKAGE, RECOVERY_SHEET
from lms.wire.document import MAX_PACKAGE, MIB
from lms.wire.record import write_record

_MAX_FACTS: Final = 4096


class RecoveryDirectory:
    """A directory outside the encrypted root; it is made where the directory above it exists."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def publish(self, facts: RecoveryFacts, package: bytes, sheet: bytes | None) -> None:
        """Replace the newest package, the sheet where there is one, and then what tells of them. Raises FileProblem."""
        if not is_directory(self._directory.parent):
            return  # a machine without /boot has nothing to boot from either
        ensure_directory(self._directory)
        write_file(self._directory / RECOVERY_PACKAGE, package)
        if sheet is not None:
            write_file(self._directory / RECOVERY_SHEET, sheet)
        write_file(self._directory / RECOVERY_FACTS, write_record(facts))

    def is_behind(self, facts: RecoveryFacts) -> bool:
        """Whether something else lies there, or what cannot be read, though it could be kept."""
        try:
            here = is_directory(self._directory.parent)
            return here and self._read(RECOVERY_FACTS, _MAX_FACTS) != write_record(facts)
        except FileProblem:
            return True

    def find(self) -> str | None:
        """The path of the package, where one is there; None also where nobody can say."""
        path = self._directory / RECOVERY_PACKAGE
        return str(path) if os.access(path, os.F_OK) else None

    def remains(self) -> tuple[str, ...]:
        """The path of what tells early boot of a key, where it is there."""
        path = self._directory / RECOVERY_FACTS
        return (str(path),) if is_there(path) else ()

    def forget(self) -> None:
        """Remove that: package and sheet stay. Raises FileProblem."""
        if is_directory(self._directory):
            remove_file(self._directory / RECOVERY_FACTS)

    def package(self) -> bytes | None:
        """The newest package."""
        return self._read(RECOVERY_PACKAGE, MAX_PACKAGE)

    def sheet(self) -> bytes | None:
        """The recovery sheet."""
        return self._read(RECOVERY_SHEET, MIB)

    def _read(self, name: str, max_bytes: int) -> bytes | None:
        path = self._directory / name
        # Whoever had the disk in his hands may have put a pipe there, for which the service would wait for ever.
        return read_regular_file(path, max_bytes, links=False) if is_there(path) else None
