"""What was put aside of a state directory: `before/PLATFORMID/` holds the files of a platform that lived here.

Files get a second name there before any loses its first. After a crash in between, a state that is still here is put
aside again, and items without a state are swept. Nothing is deleted, also where one platform is put aside twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final
from uuid import UUID

from lms.files import ensure_directory, inside, link_file, read_regular_file, remove_file, sync_directory
from lms.names import ITEMS, STATE
from lms.wire.document import MIB

_BEFORE: Final = "before"
_MAX_STATE: Final = 16 * MIB
_OTHERS: Final = ("package.xml", "restore.json")


def put_aside(directory: Path, platform_id: UUID) -> None:
    """Move the state of a directory, the items and what else is the platform's. Raises FileProblem."""
    content = read_regular_file(directory / STATE, _MAX_STATE, links=False)
    ensure_directory(directory / ITEMS)
    ensure_directory(directory / _BEFORE)
    with inside(directory, _BEFORE) as before, inside(directory, ITEMS) as items:
        with _place(before, platform_id, content) as place:
            ensure_directory(place / ITEMS)
            kept = sorted(items.iterdir())
            with inside(place, ITEMS) as items_there:
                for item in kept:
                    link_file(item, items_there / item.name)
            others = [directory / name for name in _OTHERS if (directory / name).exists()]
            for file in (*others, directory / STATE):
                link_file(file, place / file.name)
            for above in (place, before, directory):
                sync_directory(above)
        for file in (*others, directory / STATE, *kept):
            remove_file(file)


def is_anything_aside(directory: Path) -> bool:
    """Whether a platform was ever put aside here."""
    if not os.path.lexists(directory / _BEFORE):
        return False
    with inside(directory, _BEFORE) as before:
        return any(before.glob(f"*/{STATE}"))


@contextmanager
def _place(before: Path, platform_id: UUID, content: bytes) -> Iterator[Path]:
    """Where the state with this content goes: a name that is free, or that a crash left half done."""
    for number in count(1):
        name = str(platform_id) if number == 1 else f"{platform_id}.{number}"
        ensure_directory(before / name)
        with inside(before, name) as place:
            kept = place / STATE
            if not os.path.lexists(kept) or read_regular_file(kept, _MAX_STATE, links=False) == content:
                yield place
                return
    raise AssertionError("numbers do not end")
