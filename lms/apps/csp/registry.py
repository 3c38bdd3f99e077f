"""What packages carry of containers: each key as a key, its certificates as data, by the paths of their files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from lms.apps.acts import Acts
from lms.apps.csp.container import Container
from lms.errors import NotProvisioned, NotRegistered
from lms.files import locked, read_file, write_file
from lms.model.packages import SYSTEM
from lms.model.tpm import SealedObject
from lms.names import DATA, PRIVATE, PUBLIC

_APPLICATION: Final = "csp"
_DIGEST: Final = 64


def place(label: str) -> dict[str, str]:
    """The options that say which entry is meant."""
    return {"application": _APPLICATION, "label": label}


def handle_of(acts: Acts) -> int:
    """Where the recoverable key lives. Raises NotProvisioned and the TPM's errors."""
    status, _ = acts("status", {})
    if "handle" not in status:
        raise NotProvisioned("cannot use containers before the platform is provisioned")
    return int(status["handle"], 16)


def registered_key(acts: Acts, container: Container) -> SealedObject | None:
    """The key of a container; None where none is registered."""
    try:
        _, areas = acts("retrieve", place(container.label), {}, (PUBLIC, PRIVATE))
    except NotRegistered:
        return None
    return SealedObject(areas[PUBLIC], areas[PRIVATE])


def entries(acts: Acts) -> list[Mapping[str, Any]]:
    """What is registered for containers, keys and certificates."""
    answer, _ = acts("keys", {})
    return [e for e in answer["entries"] if (e["owner"], e["application"]) == (SYSTEM, _APPLICATION)]


@dataclass(frozen=True, slots=True)
class Records:
    """What data was registered last: nobody reads it in the registry without the owner authorisation."""

    directory: Path

    @classmethod
    @contextmanager
    def of(cls, directory: Path) -> Iterator[Self]:
        """The records, for one program at a time. Raises Busy."""
        path = directory / "csp"
        with locked(path):
            yield cls(path)

    def ensure(self, acts: Acts, label: str, content: bytes) -> bool:
        """Have packages carry this data; False where it is already so."""
        digest = hashlib.sha256(content).hexdigest()
        record = self.directory / hashlib.sha256(label.encode()).hexdigest()
        said = record.exists() and read_file(record, _DIGEST).decode("ascii", "replace")
        if said == digest and any(entry["label"] == label for entry in entries(acts)):
            return False
        acts("register", place(label), {DATA: content})
        write_file(record, digest.encode("ascii"))
        return True
