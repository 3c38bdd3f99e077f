"""What is kept of a volume while it is changed, and after: root's own directory, one below it for each UUID.

It is not the service's: what lies here is written into headers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from lms.errors import StateDamaged
from lms.files import locked, read_file, remove_file, write_file

_MAX: Final = 64 * 1024
_DIGEST: Final = 64


class Stage(Enum):
    """Where a change that was cut goes on: back, or forward."""

    ADDING = "adding"
    DROPPING = "dropping"


@dataclass(frozen=True, slots=True)
class OwnSlot:
    """A slot of ours: known again by its number of iterations, which is ours at random.

    A person who fills the same number meanwhile has another one.
    """

    number: int
    iterations: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One change: the slot that comes, and those that go when it is proven."""

    stage: Stage
    adds: OwnSlot | None
    drops: tuple[OwnSlot, ...] = ()


def unfinished(directory: Path) -> list[str]:
    """UUIDs of the volumes whose change was begun and not ended: the header of before lies here."""
    found = (path for name in ("header", "journal.json") for path in directory.glob(f"luks/*/{name}"))
    return sorted({path.parent.name for path in found})


@dataclass(frozen=True, slots=True)
class Records:
    """The directory of one volume."""

    path: Path

    @classmethod
    @contextmanager
    def of(cls, directory: Path, uuid: str) -> Iterator[tuple[Records, int]]:
        """The records of a volume, and the descriptor of their lock. Raises Busy."""
        path = directory / "luks" / uuid
        with locked(path) as lock:
            yield cls(path), lock

    @property
    def backup(self) -> Path:
        """The header as it was before a change, as long as that is not done."""
        return self.path / "header"

    @property
    def copy(self) -> Path:
        """The header as it is now, for a moment."""
        return self.path / "header.now"

    @property
    def _plan(self) -> Path:
        return self.path / "journal.json"

    @property
    def _registered(self) -> Path:
        return self.path / "registered"

    def plan(self) -> Plan | None:
        """The change that was begun and not ended. Raises StateDamaged."""
        if not self._plan.exists():
            return None
        try:
            plain = json.loads(read_file(self._plan, _MAX))
            adds = plain["adds"] and OwnSlot(**plain["adds"])
            return Plan(Stage(plain["stage"]), adds, tuple(OwnSlot(**slot) for slot in plain["drops"]))
        except (ValueError, KeyError, TypeError):
            raise StateDamaged(f"cannot read '{self._plan}'") from None

    def begin(self, plan: Plan) -> None:
        """Write a change down before it is made."""
        write_file(self._plan, json.dumps(asdict(plan) | {"stage": plan.stage.value}).encode("ascii"))

    def end(self) -> None:
        """The change is made, or undone."""
        remove_file(self._plan)
        self.sweep()

    def sweep(self) -> None:
        """Remove copies that no change needs any more: they open by passphrases of then."""
        for copy in (self.backup, self.copy):
            if copy.exists():
                remove_file(copy)

    def registered(self) -> str:
        """Digest of the header that was registered last; empty where none was."""
        return read_file(self._registered, _DIGEST).decode("ascii", "replace") if self._registered.exists() else ""

    def set_registered(self, digest: str) -> None:
        """Remember what was registered."""
        write_file(self._registered, digest.encode("ascii"))
