"""/etc/crypttab: volumes that a boot opens, also those that are not there now (crypttab(5)). Bytes in, devices out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

_DEVICE: Final = 1
_OPTIONS: Final = 3
_TAGS: Final = ("UUID", "LABEL", "PARTUUID", "PARTLABEL")


def read_crypttab(text: bytes) -> tuple[str, ...]:
    """What holds the header of each volume: a device, or the file where it is detached."""
    lines = text.decode("utf-8", "replace").splitlines()
    return tuple(_headers(line.split() for line in lines if not line.lstrip().startswith("#")))


def _headers(rows: Iterator[list[str]]) -> Iterator[str]:
    for words in rows:
        options = words[_OPTIONS].split(",") if len(words) > _OPTIONS else []
        detached = [option.partition("=")[2] for option in options if option.startswith("header=/")]
        if len(words) > _DEVICE and not {"plain", "swap", "tcrypt", "tcrypt-hidden"} & set(options):
            yield detached[0] if detached else _path(words[_DEVICE])


def _path(device: str) -> str:
    """As udev links it."""
    tag, _, value = device.partition("=")
    if tag not in _TAGS:
        return device
    value = value.strip('"')
    return str(
        Path("/dev/disk") / f"by-{tag.lower()}" / (value.lower() if "UUID" in tag else value).replace("/", "\\x2f")
    )
