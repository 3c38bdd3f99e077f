"""What an approver keeps: the newest trust list, each platform's last recovery sheet, and what was approved.

The trust list is a file that the approver names; `sheets`, `approvals` and `stations` lie beside it. None of it is
secret, all of it is signed by the owner, and a copy of the directory is a station's whole memory (PROTOCOL §5, §6).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from lms.errors import BadRequest, NotEnrolled, RegisterAbsent
from lms.files import ensure_directory, files_of, is_there, locked_beside, read_file, write_file
from lms.wire.document import MIB

_MAX_LIST: Final = 16 * MIB
_APPROVAL: Final = re.compile(r"([0-9a-f]{64})\.xml")
_STATION: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.pem")


@dataclass(frozen=True, slots=True)
class Register:
    """The register around one trust list."""

    path: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who approves: two at once would give one number to two lists. Raises Busy."""
        with locked_beside(self.path):
            yield

    def check_new(self) -> None:
        """Raise BadRequest where a trust list is there already."""
        if is_there(self.path):
            raise BadRequest(f"cannot begin a new trust list in '{self.path}': it exists")

    def trust_list(self) -> bytes:
        """The newest one. Raises RegisterAbsent, FileProblem."""
        if not is_there(self.path):
            raise RegisterAbsent(
                f"cannot find the trust list '{self.path}': name it with --trust-list FILE, or as `trust_list` in the "
                "table [station]; only an owner's very first approval begins it, with --new-trust-list"
            )
        return read_file(self.path, _MAX_LIST)

    def sheet(self, platform_id: UUID) -> bytes:
        """The last sheet that was issued for a platform. Raises NotEnrolled where none is kept."""
        path = self._sheet(platform_id)
        if not is_there(path):
            raise NotEnrolled(f"cannot approve: '{path}' is missing, give the platform's recovery sheet with --sheet")
        return read_file(path, MIB)

    def approved(self, platform_id: UUID) -> tuple[bytes, ...]:
        """RequestIDs of all restores approved for a platform."""
        names = (path.name for path in files_of(self._approvals(platform_id), ".xml"))
        return tuple(bytes.fromhex(found[1]) for found in map(_APPROVAL.fullmatch, names) if found)

    def keep(self, trust_list: bytes) -> None:
        """Replace the trust list.

        A number that was given out must never be given out again: it is safe before anybody sees an answer.
        """
        write_file(self.path, trust_list)

    def keep_sheet(self, platform_id: UUID, sheet: bytes) -> None:
        """Replace a platform's sheet."""
        path = self._sheet(platform_id)
        ensure_directory(path.parent)
        write_file(path, sheet)

    def keep_approval(self, platform_id: UUID, request_id: bytes, approval: bytes) -> None:
        """Remember that a restore was approved: the next one has to end it."""
        directory = self._approvals(platform_id)
        ensure_directory(directory)
        write_file(directory / f"{request_id.hex()}.xml", approval)

    def keep_station(self, station_id: UUID, certificate: bytes) -> None:
        """Remember which stations there are: what was issued has to be known to be withdrawn."""
        directory = self.path.parent / "stations"
        ensure_directory(directory)
        write_file(directory / f"{station_id}.pem", certificate)

    def stations(self) -> frozenset[UUID]:
        """The stations that were certified."""
        names = (path.name for path in files_of(self.path.parent / "stations", ".pem"))
        return frozenset(UUID(found[1]) for found in map(_STATION.fullmatch, names) if found)

    def _sheet(self, platform_id: UUID) -> Path:
        return self.path.parent / "sheets" / f"{platform_id}.xml"

    def _approvals(self, platform_id: UUID) -> Path:
        return self.path.parent / "approvals" / str(platform_id)
