"""`lms.ports.RecoveryPlace`: what a machine whose root cannot be opened needs, as files in `/boot/lms` (DESIGN §4).

Sheet and package are public and signed; the files are for root alone all the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lms.files import ensure_directory, read_regular_file, write_file
from lms.wire.document import MIB

SHEET: Final = "lms-recovery.xml"
PACKAGE: Final = "lms-package.xml"
_MAX_PACKAGE: Final = 64 * MIB


class RecoveryDirectory:
    """A directory outside the encrypted root; it is made where the directory above it exists."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def publish(self, package: bytes, sheet: bytes | None) -> None:
        """Replace the newest package, and the sheet where there is one. Raises FileProblem."""
        if not self._directory.parent.is_dir():
            return  # a machine without /boot has nothing to boot from either
        ensure_directory(self._directory)
        write_file(self._directory / PACKAGE, package)
        if sheet is not None:
            write_file(self._directory / SHEET, sheet)

    def find(self) -> str | None:
        """The path of the package, where one is there."""
        path = self._directory / PACKAGE
        return str(path) if path.exists() else None

    def package(self) -> bytes | None:
        """The newest package."""
        return self._read(PACKAGE, _MAX_PACKAGE)

    def sheet(self) -> bytes | None:
        """The recovery sheet."""
        return self._read(SHEET, MIB)

    def _read(self, name: str, max_bytes: int) -> bytes | None:
        path = self._directory / name
        # Whoever had the disk in his hands may have put a pipe there, for which the service would wait for ever.
        return read_regular_file(path, max_bytes) if path.exists() else None
