"""`lms.ports.PackageArchive`: a Backup Archive directory, local or on shared storage.

One file a package, `PLATFORM/SEQUENCE-PACKAGE.xml`; nothing in it is ever overwritten, so several platforms
may share it.
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

from lms.errors import FileProblem
from lms.files import create_file, ensure_directory, inside, is_directory, read_regular_file, remove_file
from lms.model.recovery import KeptPackage
from lms.wire.document import MAX_PACKAGE

_PLATFORM: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class ArchiveDirectory:
    """Keeps packages below a directory that the administrator named."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, platform_id: UUID, sequence: int, package_id: UUID, document: bytes) -> None:
        """Add a package and read it back. Raises FileProblem."""
        # A missing archive is an unmounted share, not one to be made: keys must not land on the disk below it.
        if not is_directory(self._directory):
            raise FileProblem(f"cannot archive to '{self._directory}': there is no such directory")
        path = self._path(platform_id, sequence, package_id)
        ensure_directory(path.parent)
        with inside(self._directory, path.parent.name) as held:
            create_file(held / path.name, document)
            if read_regular_file(held / path.name, len(document), links=False) != document:
                raise FileProblem(f"cannot archive to '{path}': what was read back differs")

    def find(self, platform_id: UUID, sequence: int, package_id: UUID) -> str | None:
        """The path of a package that is there; None also where nobody can say."""
        path = self._path(platform_id, sequence, package_id)
        return str(path) if os.access(path, os.F_OK) else None

    def newest(self) -> tuple[KeptPackage, ...]:
        """The package with the highest number of each platform; none where there is no such directory."""
        newest = (max(self._numbered(platform_id), default=None) for platform_id in self._platforms())
        return tuple(
            KeptPackage(UUID(path.parent.name), number, partial(read_regular_file, path, MAX_PACKAGE))
            for number, path in filter(None, newest)
        )

    def older(self, platform_id: UUID, sequence: int) -> tuple[str, ...]:
        """The paths of this platform's packages with a lower number, the oldest first."""
        return tuple(map(str, self._older(platform_id, sequence)))

    def remove_older(self, platform_id: UUID, sequence: int) -> None:
        """Remove those. Raises FileProblem."""
        if older := self._older(platform_id, sequence):
            with inside(self._directory, str(platform_id)) as held:
                for path in older:
                    remove_file(held / path.name)

    def _older(self, platform_id: UUID, sequence: int) -> list[Path]:
        return [path for number, path in self._numbered(platform_id) if number < sequence]

    def _numbered(self, platform_id: UUID) -> list[tuple[int, Path]]:
        """The packages of a platform with their numbers, in the order of these."""
        paths = (self._directory / str(platform_id)).glob("[0-9]*-*.xml")
        return sorted((int(n), p) for p in paths if (n := p.name.partition("-")[0]).isdecimal())

    def _platforms(self) -> list[UUID]:
        names = (path.name for path in self._directory.glob("*"))
        return [UUID(name) for name in names if _PLATFORM.fullmatch(name)]

    def _path(self, platform_id: UUID, sequence: int, package_id: UUID) -> Path:
        return self._directory / str(platform_id) / f"{sequence:09d}-{package_id}.xml"
