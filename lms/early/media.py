"""The token on a removable medium that is plugged in: read once, from a file system that nobody else sees mounted."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lms.config import TokenPlace
from lms.errors import FileProblem
from lms.files import read_regular_file
from lms.process import run_command

_MAX_BYTES: Final = 1024 * 1024
_DEADLINE_S: Final = 20
_TYPES: Final = "vfat,exfat,ext4,ext3,ext2"
# A directory that every machine has; what is mounted there is so for this one shell, and is gone with it.
_MOUNTED: Final = "/mnt"
_READ: Final = (
    'mount --read-only --types "$1" --options nosuid,nodev,noexec,nosymfollow --source "$2" --target "$3" '
    '&& exec head --bytes="$4" -- "$3/$5"'
)


def token_at(place: TokenPlace) -> bytes:
    """The token file. Raises FileProblem where it cannot be read within twenty seconds."""
    if place.device is None:
        return read_regular_file(place.path, _MAX_BYTES)
    return token_on(place.device, place.path)


def token_on(device: Path, path: Path) -> bytes:
    """The file at a path of the file system on a block device. Raises FileProblem."""
    words = (_TYPES, str(device), _MOUNTED, str(_MAX_BYTES), str(path))
    ran = run_command(
        "timeout", "--signal=KILL", str(_DEADLINE_S), "unshare", "--mount", "sh", "-c", _READ, "sh", *words
    )
    if ran.code:
        raise FileProblem(f"cannot read '{path}' on '{device}': {ran.said or 'it took too long'}")
    return ran.out
