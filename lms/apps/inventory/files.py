"""Files that hold something sealed to a TPM, known by what is in them, in the directories where programs keep such."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable, Iterable, Iterator
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
from lms.files import read_regular_file

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


def known_places() -> tuple[Path, ...]:
    """Where programs keep what they seal: the system's, and those in homes. A user's link leads nowhere else."""
    homes = {Path(user.pw_dir).resolve() for user in pwd.getpwall()}
    own = ((home, (home / name).resolve()) for home in sorted(homes) for name in _OF_A_HOME)
    return (*map(Path, _SYSTEMS), *(path for home, path in own if path.is_relative_to(home) and os.path.lexists(path)))


def look_at_files(places: Iterable[Path], machine: Machine, sight: Sight) -> None:
    """All files at and below these places; what is larger than anything of the kind is left out."""
    known: set[Path] = set()
    for place in places:
        _look_below(place.resolve(), known, machine, sight)


def _look_below(place: Path, known: set[Path], machine: Machine, sight: Sight) -> None:
    denied: list[Path] = []
    for number, path in enumerate(_files(place, denied)):
        if number == _MOST:
            sight.unseen.append(f"cannot look at all below '{printable(place)}': there are more than {_MOST} files")
            break
        if path not in known:
            known.add(path)
            with sight.trying():
                sight.items += [judge(bond, printable(path), machine) for bond in _bonds(path, denied)]
    if denied:
        more = f" and {len(denied) - 1} more below '{printable(place)}'" if len(denied) > 1 else ""
        sight.unseen.append(f"cannot read '{printable(denied[0])}'{more}: permission denied")


def _bonds(path: Path, denied: list[Path]) -> Iterator[Bond]:
    try:
        content = read_regular_file(path, _LARGEST)
    except FileProblem:  # or it grew, went away, became no file: nobody's store
        denied += [] if os.access(path, os.R_OK) or not path.exists() else [path]
        return
    try:
        for read in READERS:
            yield from read(content)
    except MalformedStructure as error:
        raise MalformedStructure(f"{error} ('{printable(path)}')") from None


def _files(place: Path, denied: list[Path]) -> Iterator[Path]:
    """Regular files of a readable size, however deep they lie; no link is followed."""
    waiting = [place]
    while waiting:
        path = waiting.pop()
        try:
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode):
                waiting += sorted(path.iterdir(), reverse=True)
        except PermissionError:
            denied.append(path)
            continue
        except OSError:  # it went away meanwhile
            continue
        if stat.S_ISREG(found.st_mode) and found.st_size <= _LARGEST:
            yield path


def printable(path: Path) -> str:
    """A path for people: a name may hold what a terminal obeys, or what is no text."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
