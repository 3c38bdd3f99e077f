"""`lms.ports.PlatformStore` as a directory: `state.json` and `package.xml`, each replaced wholly."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lms.files import ensure_directory, read_file, write_file
from lms.model.platform import PlatformState
from lms.wire.document import MIB
from lms.wire.record import read_record, write_record

_MAX_STATE: Final = 16 * MIB
_MAX_PACKAGE: Final = 64 * MIB


class StateDirectory:
    """The state directory of a platform, mode 0700; the signing key's authorisation lies in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        ensure_directory(directory)

    @property
    def _state(self) -> Path:
        return self._directory / "state.json"

    @property
    def _package(self) -> Path:
        return self._directory / "package.xml"

    def load(self) -> PlatformState | None:
        """The state, or None on a platform that has none."""
        return read_record(PlatformState, read_file(self._state, _MAX_STATE)) if self._state.exists() else None

    def save(self, state: PlatformState) -> None:
        """Replace the state, wholly or not at all."""
        write_file(self._state, write_record(state))

    def save_package(self, document: bytes) -> None:
        """Replace the newest package."""
        write_file(self._package, document)

    def load_package(self) -> bytes | None:
        """The newest package."""
        return read_file(self._package, _MAX_PACKAGE) if self._package.exists() else None
