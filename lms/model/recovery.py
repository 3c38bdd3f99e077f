"""What a machine knows of its key before its root can be opened, or after it lost its state (DESIGN §4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from lms.model.keys import Name


@dataclass(frozen=True, slots=True)
class RecoveryFacts:
    """The Name that lives at a handle of its TPM, and the package that lies beside these facts. All of it is public."""

    handle: int
    key: Name
    package_id: UUID


@dataclass(frozen=True, slots=True)
class KeptPackage:
    """A package in an archive, by what its file's name says; `load` raises FileProblem."""

    platform_id: UUID
    sequence: int
    load: Callable[[], bytes]
