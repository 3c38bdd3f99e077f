"""What a machine knows of its key before its root can be opened (DESIGN §4)."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from lms.model.keys import Name


@dataclass(frozen=True, slots=True)
class RecoveryFacts:
    """The Name that lives at a handle of its TPM, and the package that lies beside these facts. All of it is public."""

    handle: int
    key: Name
    package_id: UUID
