"""What the state directory of a platform that is given up still has. The newest package of each that lived here stays.

Only what is ours by its name is seen: a directory that somebody configured may hold more.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from lms.files import inside, remove_directory, remove_file
from lms.names import ITEMS, RESTORED, STATE

_DIRECTORIES: Final = (ITEMS, "before")
_FILES: Final = ("jobs.json", "restore.json", RESTORED, STATE)  # as long as it is not done, the state tells whose it is
_KEPT: Final = "package.xml"


def remains(directory: Path) -> list[Path]:
    """The files that go, in the order in which they go; a link is a file."""
    below = [path for name in _DIRECTORIES for path in _below(directory / name)]
    return [path for path in (*below, *_leftovers(directory), *_present(directory)) if path.name != _KEPT]


def remove_remains(directory: Path) -> None:
    """Remove them, and the directories that are empty then. Raises FileProblem."""
    for name in _DIRECTORIES:
        _clear(directory, name)
    for path in (*_leftovers(directory), *_present(directory)):
        remove_file(path)


def _below(path: Path) -> list[Path]:
    if not _is_directory(path):
        return [path] if os.path.lexists(path) else []
    walked = os.walk(path, followlinks=False)
    found = [Path(above, name) for above, directories, files in walked for name in (*directories, *files)]
    return sorted(one for one in found if not _is_directory(one))


def _clear(above: Path, name: str) -> None:
    """Remove what is there but newest packages, and the directory where it is empty then; no link is followed."""
    path = above / name
    if not _is_directory(path):
        if name != _KEPT:
            remove_file(path)
        return
    with inside(above, name) as held:
        for one in sorted(held.iterdir()):
            _clear(held, one.name)
        empty = not any(held.iterdir())
    if empty:
        remove_directory(path)


def _leftovers(directory: Path) -> list[Path]:
    return sorted(directory.glob(".*.new"))


def _present(directory: Path) -> list[Path]:
    return [path for name in _FILES if os.path.lexists(path := directory / name)]


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
