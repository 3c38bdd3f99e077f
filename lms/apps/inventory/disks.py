"""Which block devices are LUKS volumes, and which of them a directory stands on. The only door to lsblk."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lms.errors import MalformedStructure, ProgramNotStarted
from lms.files import read_file
from lms.process import run_command

_LUKS: Final = "crypto_LUKS"
_MAX_TABLE: Final = 16 * 1024 * 1024
_DEEPEST: Final = 32
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Device:
    """A block device by its path and its number (as 254:0), and the LUKS volumes that it is or stands on."""

    path: str
    number: str
    volumes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: where, the number of its device, and the source that was named."""

    point: Path
    number: str
    source: str


@dataclass(frozen=True, slots=True)
class Disks:
    """Block devices and what is mounted of them."""

    devices: tuple[Device, ...]
    mounts: tuple[Mount, ...]

    @classmethod
    def of_this_machine(cls) -> Disks:
        """As they are now. Raises ProgramNotStarted, MalformedStructure, FileProblem."""
        ran = run_command("lsblk", "--json", "--tree", "--output", "NAME,PATH,MAJ:MIN,FSTYPE")
        if ran.code:
            raise ProgramNotStarted(f"cannot list block devices: lsblk says: {ran.said or ran.code}")
        return cls(read_devices(ran.out), read_mounts(read_file(Path("/proc/self/mountinfo"), _MAX_TABLE)))

    @property
    def volumes(self) -> tuple[str, ...]:
        """All LUKS volumes."""
        return tuple(dict.fromkeys(path for device in self.devices for path in device.volumes))

    def below(self, directory: Path) -> frozenset[str]:
        """The LUKS volumes on which a directory lies; a file system of several devices has no number of its own."""
        lies = directory.resolve()
        over = [mount for mount in self.mounts if lies.is_relative_to(mount.point)]
        mount = max(enumerate(over), key=lambda one: (len(one[1].point.parts), one[0]), default=(0, None))[1]
        if mount is None:
            return frozenset()
        stands = [one for one in self.devices if mount.number == one.number or mount.source == one.path]
        return frozenset(path for device in stands for path in device.volumes)

    def closed(self, directories: Iterable[Path], closed: Iterable[str]) -> list[tuple[Path, str]]:
        """The directories that lie on one of these volumes, with the volume."""
        shut = {Path(one).resolve() for one in closed}
        below = ((directory, volume) for directory in directories for volume in sorted(self.below(directory)))
        return [(directory, volume) for directory, volume in below if Path(volume).resolve() in shut]


def read_devices(text: bytes) -> tuple[Device, ...]:
    """What lsblk says in JSON. Raises MalformedStructure."""
    try:
        return tuple(_devices(json.loads(text)["blockdevices"], (), _DEEPEST))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise MalformedStructure("cannot read the list of block devices: lsblk writes another one") from None


def _devices(rows: list[Mapping[str, Any]], below: tuple[str, ...], deep: int) -> Iterator[Device]:
    if deep == 0:
        raise ValueError("devices are stacked too high")
    for row in rows:
        path = str(row["path"])
        volumes = (*below, path) if row["fstype"] == _LUKS else below
        yield Device(path, str(row["maj:min"]), volumes)
        yield from _devices(row.get("children", []), volumes, deep - 1)


def read_mounts(text: bytes) -> tuple[Mount, ...]:
    """/proc/self/mountinfo (proc(5)). Raises MalformedStructure."""
    return tuple(_mount(line.split()) for line in text.splitlines())


def _mount(words: list[bytes]) -> Mount:
    try:
        return Mount(Path(_plain(words[4])), words[2].decode(), _plain(words[words.index(b"-") + 2]))
    except (ValueError, IndexError):
        raise MalformedStructure("cannot read the list of mounts: the kernel writes another one") from None


def _plain(word: bytes) -> str:
    """Without the kernel's escapes."""
    return _ESCAPED.sub(lambda found: bytes((int(found[1], 8) & 0xFF,)), word).decode("utf-8", "surrogateescape")
