"""What was put aside of a state directory: `before/PLATFORMID/` holds the files of a platform that lived here.

Files get a second name there before any loses its first. After a crash in between, a state that is still here is put
aside again, and items without a state are swept. Nothing is deleted, also where one platform is put aside twice.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Final
from uuid import UUID

from lms.files import ensure_directory, link_file, read_file, remove_file, sync_directory
from lms.wire.document import MIB

_BEFORE: Final = "before"
_MAX_STATE: Final = 16 * MIB
_OTHERS: Final = ("package.xml", "restore.json")


def put_aside(directory: Path, platform_id: UUID, state: Path, items: Path) -> None:
    """Move the state at `state`, the items and what else is the platform's. Raises FileProblem."""
    place = _place(directory / _BEFORE, platform_id, state)
    ensure_directory(place / items.name)
    kept = sorted(items.iterdir()) if items.is_dir() else []
    for item in kept:
        link_file(item, place / items.name / item.name)
    others = [directory / name for name in _OTHERS if (directory / name).exists()]
    for file in (*others, state):
        link_file(file, place / file.name)
    for above in (place, place.parent, directory):
        sync_directory(above)
    for file in (*others, state, *kept):
        remove_file(file)


def is_anything_aside(directory: Path) -> bool:
    """Whether a platform was ever put aside here."""
    return any((directory / _BEFORE).glob("*/state.json"))


def _place(before: Path, platform_id: UUID, state: Path) -> Path:
    """Where this very state goes: a name that is free, or that a crash left half done."""
    content = read_file(state, _MAX_STATE)
    for number in count(1):
        place = before / (str(platform_id) if number == 1 else f"{platform_id}.{number}")
        kept = place / state.name
        if not kept.exists() or read_file(kept, _MAX_STATE) == content:
            return place
    raise AssertionError("numbers do not end")
