"""What is kept of a volume while it is changed, and after: root's own directory, one below it for each UUID.

It is not the service's: what lies here is written into headers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar

from lms.apps.luks.token import Binding
from lms.errors import FileProblem, StateDamaged
from lms.files import is_there, locked, read_file, remove_file, write_file

_MAX: Final = 64 * 1024
_REGISTERED: Final = "registered"
_Record = TypeVar("_Record")


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
class Known:
    """What is known of a volume. Its header says how it is bound as well, but anybody may have written that.

    `header` is the digest of the header that was registered last, empty where none was. A version that wrote no
    binding down wrote this digest alone. `names` are those of the sealed objects, by the slots that they open,
    `fingerprint` is the volume's.
    """

    header: str = ""
    binding: Binding | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """One change of the volume with a fingerprint: the slot that comes, and those that go when it is proven.

    `after` is what is known then; `kept` says that packages carried its header before already.
    """

    stage: Stage
    adds: OwnSlot | None
    drops: tuple[OwnSlot, ...] = ()
    after: Known | None = None
    fingerprint: str = ""
    kept: bool = False


def unfinished(directory: Path) -> list[str]:
    """UUIDs of the volumes whose change was begun and not ended: the header of before lies here."""
    found = (path for name in ("header", "journal.json") for path in directory.glob(f"luks/*/{name}"))
    return sorted({path.parent.name for path in found})


def is_known(directory: Path, uuid: str) -> bool:
    """Whether a volume was ever enrolled here, as far as the caller may see."""
    with suppress(FileProblem):
        return is_there(directory / "luks" / uuid / _REGISTERED)
    return False


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
        return self.path / _REGISTERED

    def plan(self) -> Plan | None:
        """The change that was begun and not ended. Raises StateDamaged."""
        return _read(self._plan, _plan)

    def begin(self, plan: Plan) -> None:
        """Write a change down before it is made."""
        _write(self._plan, asdict(plan) | {"stage": plan.stage.value})

    def end(self) -> None:
        """The change is made, or undone."""
        remove_file(self._plan)
        self.sweep()

    def sweep(self) -> None:
        """Remove copies that no change needs any more: they open by passphrases of then."""
        for copy in (self.backup, self.copy):
            if copy.exists():
                remove_file(copy)

    def known(self) -> Known:
        """What was written down last. Raises StateDamaged."""
        return _read(self._registered, _known) or Known()

    def know(self, known: Known) -> None:
        """Write it down, where it is not there already."""
        if known != self.known():
            _write(self._registered, asdict(known))


def _read(file: Path, read: Callable[[bytes], _Record]) -> _Record | None:
    if not file.exists():
        return None
    try:
        return read(read_file(file, _MAX))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StateDamaged(f"cannot read '{file}'") from None


def _write(file: Path, plain: dict[str, Any]) -> None:
    write_file(file, json.dumps(plain).encode("ascii"))


def _plan(text: bytes) -> Plan:
    plain = json.loads(text)
    adds, drops = plain["adds"] and OwnSlot(**plain["adds"]), tuple(OwnSlot(**slot) for slot in plain["drops"])
    after = plain.get("after") and _known_of(plain["after"])
    return Plan(Stage(plain["stage"]), adds, drops, after, plain.get("fingerprint", ""), plain.get("kept", False))


def _known(text: bytes) -> Known:
    if re.fullmatch(b"[0-9a-f]*", text):
        return Known(text.decode("ascii"))
    return _known_of(json.loads(text))


def _known_of(plain: dict[str, Any]) -> Known:
    names = {int(slot): str(name) for slot, name in plain["names"].items()}
    return Known(str(plain["header"]), _binding(plain["binding"]), names, str(plain["fingerprint"]))


def _binding(plain: Any) -> Binding | None:
    return None if plain is None else Binding(tuple(map(int, plain["pcrs"])), bool(plain["pin"]))
