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
    """Where programs keep what they seal: the system's, and those of all users whose home is here."""
    homes = {user.pw_dir for user in pwd.getpwall()}
    own = (Path(home, name) for home in sorted(homes) for name in _OF_A_HOME)
    return (*map(Path, _SYSTEMS), *(path for path in own if os.path.lexists(path)))


def look_at_files(places: Iterable[Path], machine: Machine, sight: Sight) -> None:
    """All files at and below these places; what is larger than anything of the kind is left out."""
    known: set[Path] = set()
    for place in places:
        _look_below(place.absolute(), known, machine, sight)


def _look_below(place: Path, known: set[Path], machine: Machine, sight: Sight) -> None:
    denied: list[str] = []
    for path in _files(place, denied):
        if path in known:
            continue
        if len(known) == _MOST:
            sight.unseen.append(f"cannot look at all below '{place}': there are more than {_MOST} files")
            break
        known.add(path)
        with sight.trying():
            try:
                content = read_regular_file(path, _LARGEST)
            except FileProblem:
                if not os.access(path, os.R_OK):
                    denied.append(str(path))
                continue  # it grew, went away or became no file: nobody's store
            sight.items += [judge(bond, str(path), machine) for bond in _bonds(path, content)]
    if denied:
        more = f" and {len(denied) - 1} more below '{place}'" if len(denied) > 1 else ""
        sight.unseen.append(f"cannot read '{denied[0]}'{more}: permission denied")


def _bonds(path: Path, content: bytes) -> Iterator[Bond]:
    try:
        for read in READERS:
            yield from read(content)
    except MalformedStructure as error:
        raise MalformedStructure(f"{error} ('{path}')") from None


def _files(place: Path, denied: list[str]) -> Iterator[Path]:
    """Regular files of a readable size, each once; no link is followed."""
    if _is_file(place):
        yield place
    for directory, names, files in os.walk(place, onerror=lambda error: _denied(error, denied)):
        names.sort()
        for path in (Path(directory, name) for name in sorted(files)):
            if _is_file(path):
                yield path


def _is_file(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size <= _LARGEST


def _denied(error: OSError, denied: list[str]) -> None:
    if isinstance(error, PermissionError):
        denied.append(str(error.filename))
