"""The state directory of a station: `station.json`, replaced wholly.

Its register (`lms.authority.register`) may lie beside; nothing of that is secret.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lms.files import ensure_directory, read_file, write_file
from lms.model.station import StationIdentity
from lms.wire.document import MIB
from lms.wire.record import read_record, write_record

_IDENTITY: Final = "station.json"


class StationDirectory:
    """A station's directory, mode 0700; its TLS key lies in it, mode 0600, as it is."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self) -> StationIdentity | None:
        """The identity, or None before `station init`."""
        path = self._directory / _IDENTITY
        return read_record(StationIdentity, read_file(path, MIB)) if path.exists() else None

    def save(self, identity: StationIdentity) -> None:
        """Replace the identity, wholly or not at all."""
        ensure_directory(self._directory)
        write_file(self._directory / _IDENTITY, write_record(identity))
