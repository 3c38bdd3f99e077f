"""What the state directory of a platform that is given up still has. The newest package of each that lived here stays.

Only what is ours by its name is seen: a directory that somebody configured may hold more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lms.files import remove_file
from lms.names import RESTORED, STATE

_DIRECTORIES: Final = ("items", "before")
_FILES: Final = ("jobs.json", "restore.json", RESTORED, STATE)  # as long as it is not done, the state tells whose it is
_KEPT: Final = "package.xml"


def remains(directory: Path) -> list[Path]:
    """The files that go, in the order in which they go."""
    below = [path for name in _DIRECTORIES for path in sorted((directory / name).rglob("*")) if not _is_directory(path)]
    leftovers = sorted(directory.glob(".*.new"))
    return [path for path in (*below, *leftovers, *_present(directory)) if path.name != _KEPT]


def remove_remains(directory: Path) -> None:
    """Remove them, and the directories that are empty then. Raises FileProblem."""
    for path in remains(directory):
        remove_file(path)
    for name in _DIRECTORIES:
        _remove_empty(directory / name)


def _present(directory: Path) -> list[Path]:
    return [path for name in _FILES if (path := directory / name).exists()]


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove_empty(directory: Path) -> None:
    if not _is_directory(directory):
        return
    for path in directory.iterdir():
        _remove_empty(path)
    if not any(directory.iterdir()):
        directory.rmdir()
