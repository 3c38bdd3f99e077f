"""Files that hold something sealed to a TPM, known by what is in them, in the directories where programs keep such.

Users own some of these, and root looks: each directory is held while one looks into it, so no link that takes the place
of anything leads elsewhere, and nothing but a regular file is opened.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lms.apps.inventory.bond import Bond
from lms.apps.inventory.clevis import read_jwe
from lms.apps.inventory.credentials import read_credential
from lms.apps.inventory.judging import judge
from lms.apps.inventory.key_files import read_key_files
from lms.apps.inventory.machine import Machine
from lms.apps.inventory.pkcs11 import read_store
from lms.apps.inventory.sight import Sight
from lms.errors import FileProblem, MalformedStructure
from lms.files import inside, read_regular_file
from lms.terminal import printable

READERS: Final[tuple[Callable[[bytes], tuple[Bond, ...]], ...]] = (
    read_key_files,
    read_credential,
    read_jwe,
    read_store,
)
"""Each knows its own files, and finds nothing in others'."""

_SYSTEMS: Final = (
    "/etc",
    "/usr/lib/credstore.encrypted",
    "/run/credstore.encrypted",
    "/boot/loader/credentials",
    "/efi/loader/credentials",
)
_OF_A_HOME: Final = (".tpm2_pkcs11", ".config/credstore.encrypted")
_LARGEST: Final = 4 * 1024 * 1024
_MOST: Final = 100_000
_FARTHEST: Final = 5_000_000


def known_places() -> tuple[Path, ...]:
    """Where programs keep what they seal: the system's, and those in homes. A user's link leads nowhere else."""
    homes = {_resolved(user.pw_dir) for user in pwd.getpwall()}
    own = ((home, _resolved(home / name)) for home in sorted(homes) for name in _OF_A_HOME)
    system = map(_resolved, _SYSTEMS)
    return (*system, *(path for home, path in own if path.is_relative_to(home) and os.path.lexists(path)))


def _resolved(path: str | Path) -> Path:
    """Without links; a loop of them, which leads nowhere, stays."""
    return Path(os.path.realpath(path))


def look_at_files(places: Iterable[Path], machine: Machine, sight: Sight) -> None:
    """All files at and below these places, absolute and without links; larger than anything of the kind is left out."""
    known: set[Path] = set()
    for place in places:
        walk = _Walk(place)
        for path, held in walk.files():
            if path not in known:
                known.add(path)
                with sight.trying():
                    sight.items += [judge(bond, printable(path), machine) for bond in _bonds(path, held, walk)]
        sight.unseen += walk.told()


@dataclass(slots=True)
class _Walk:
    """Regular files of a readable size, however deep they lie, and what was not looked at."""

    place: Path
    names: int = 0
    steps: int = 0
    denied: list[Path] = field(default_factory=list)

    def files(self) -> Iterator[tuple[Path, Path]]:
        """Where each is, and a path to it that no link leads away as long as nobody asks for the next."""
        waiting = [(self.place.parent, [self.place.name or "."])]
        while waiting and not self._too_much:
            directory, names = waiting.pop()
            self.steps += len(directory.parts)
            below: list[str] = []
            try:
                with inside(Path("/"), *directory.parts[1:]) as held:
                    yield from self._in(directory, held, names or _names(held), below)
            except FileProblem:
                self.missed(directory)
            waiting += [(directory / name, []) for name in reversed(below)]

    def _in(self, directory: Path, held: Path, names: list[str], below: list[str]) -> Iterator[tuple[Path, Path]]:
        """The files of these names in a directory that is held; `below` gets the directories."""
        for name in names:
            self.names += 1
            if self._too_much:
                return
            try:
                found = (held / name).lstat()
            except OSError:
                self.missed(directory / name)
                continue
            if stat.S_ISDIR(found.st_mode):
                below.append(name)
            elif stat.S_ISREG(found.st_mode) and found.st_size <= _LARGEST:
                yield directory / name, held / name

    @property
    def _too_much(self) -> bool:
        """A directory that lies deep takes as many steps, each time."""
        return self.names > _MOST or self.steps > _FARTHEST

    def missed(self, path: Path) -> None:
        """What went away meanwhile, or became no file, was nobody's store."""
        try:
            mode = path.lstat().st_mode
        except OSError as error:
            denied = isinstance(error, PermissionError)
        else:
            denied = (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and not os.access(path, os.R_OK)
        self.denied += [path] if denied else []

    def told(self) -> Iterator[str]:
        """What was not looked at, in words."""
        below = f"cannot look at all below '{printable(self.place)}'"
        if self.names > _MOST:
            yield f"{below}: there are more than {_MOST} files"
        elif self._too_much:
            yield f"{below}: it lies too deep"
        if self.denied:
            first, *others = self.denied
            more = f" and {len(others)} more below '{printable(self.place)}'" if others else ""
            yield f"cannot read '{printable(first)}'{more}: permission denied"


def _names(directory: Path) -> list[str]:
    try:
        return sorted(one.name for one in directory.iterdir())
    except OSError as error:
        raise FileProblem(f"cannot look into '{directory}': {error.strerror}") from None


def _bonds(path: Path, held: Path, walk: _Walk) -> Iterator[Bond]:
    try:
        content = read_regular_file(held, _LARGEST, links=False)
    except FileProblem:
        walk.missed(path)
        return
    try:
        for read in READERS:
            yield from read(content)
    except MalformedStructure as error:
        raise MalformedStructure(f"{error} ('{printable(path)}')") from None
