"""`lms.ports.PackageArchive`: a Backup Archive directory, local or on shared storage.

One file a package, `PLATFORM/SEQUENCE-PACKAGE.xml`; nothing in it is ever overwritten, so several platforms
may share it.
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from lms.errors import FileProblem
from lms.files import create_file, ensure_directory, read_file, remove_file


class ArchiveDirectory:
    """Keeps packages below a directory that the administrator named."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, platform_id: UUID, sequence: int, package_id: UUID, document: bytes) -> None:
        """Add a package and read it back. Raises FileProblem."""
        # A missing archive is an unmounted share, not one to be made: keys must not land on the disk below it.
        if not self._directory.is_dir():
            raise FileProblem(f"cannot archive to '{self._directory}': there is no such directory")
        path = self._path(platform_id, sequence, package_id)
        ensure_directory(path.parent)
        create_file(path, document)
        if read_file(path, len(document)) != document:
            raise FileProblem(f"cannot archive to '{path}': what was read back differs")

    def find(self, platform_id: UUID, sequence: int, package_id: UUID) -> str | None:
        """The path of a package that is there."""
        path = self._path(platform_id, sequence, package_id)
        return str(path) if path.exists() else None

    def older(self, platform_id: UUID, sequence: int) -> tuple[str, ...]:
        """The paths of this platform's packages with a lower number, the oldest first."""
        return tuple(map(str, self._older(platform_id, sequence)))

    def remove_older(self, platform_id: UUID, sequence: int) -> None:
        """Remove those. Raises FileProblem."""
        for path in self._older(platform_id, sequence):
            remove_file(path)

    def _older(self, platform_id: UUID, sequence: int) -> list[Path]:
        found = sorted((self._directory / str(platform_id)).glob("[0-9]*-*.xml"))
        numbers = (path.name.partition("-")[0] for path in found)
        return [p for p, number in zip(found, numbers, strict=True) if number.isdecimal() and int(number) < sequence]

    def _path(self, platform_id: UUID, sequence: int, package_id: UUID) -> Path:
        return self._directory / str(platform_id) / f"{sequence:09d}-{package_id}.xml"
