"""What stands in a LUKS2 header: key slots, tokens, and where their bytes lie (LUKS2 On-Disk Format, chapter 3).

A header is whatever was found on a disk: what we need of it is read strictly, the rest is left as it is.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lms.errors import HeaderDamaged, SlotsFull, VolumeReencrypting
from lms.terminal import printable

MAGICS: Final = (b"LUKS\xba\xbe", b"SKUL\xba\xbe")
_SLOTS: Final = 32
_TOKENS: Final = 32
_BINARY: Final = 4096
_OF_A_MACHINE: Final = frozenset({"systemd-tpm2", "clevis"})


@dataclass(frozen=True, slots=True)
class Slot:
    """A key slot: the iterations of its PBKDF2 (0: another function), and where its bytes lie in the header."""

    iterations: int
    area: slice


@dataclass(frozen=True, slots=True)
class Header:
    """Slots and tokens by their numbers. A token is JSON that its own module reads.

    `opening` are the slots that hold the key of the volume: others can be opened, and open nothing. `fingerprint` is
    the volume's own, as long as its key is the same: a UUID anybody can give to another one.
    """

    slots: Mapping[int, Slot]
    tokens: Mapping[int, Mapping[str, Any]]
    opening: frozenset[int]
    metadata_size: int
    fingerprint: str

    @property
    def persons(self) -> tuple[int, ...]:
        """The slots that no TPM or other part of this machine opens: passphrases, key files, recovery keys."""
        bound = {slot for t in self.tokens.values() if t["type"] in _OF_A_MACHINE for slot in slots_of(t)}
        return tuple(sorted(self.opening - bound))

    def free_slot(self) -> int:
        """The first free slot. Raises SlotsFull."""
        return _free(self.slots, _SLOTS, "key slots")

    def free_token(self) -> int:
        """The first free token. Raises SlotsFull."""
        return _free(self.tokens, _TOKENS, "tokens")

    def slim(self, header: bytes) -> bytes:
        """The header's bytes for keeping: what no slot uses is zero, and then it is compressed.

        Unused areas are random, megabytes of them, or hold what was thought removed.
        """
        kept = bytearray(len(header))
        for area in (slice(0, 2 * self.metadata_size), *(slot.area for slot in self.slots.values())):
            kept[area] = header[area]
        return gzip.compress(bytes(kept), mtime=0)


def _free(taken: Mapping[int, Any], limit: int, what: str) -> int:
    for number in range(limit):
        if number not in taken:
            return number
    raise SlotsFull(f"cannot add to the header: all {limit} {what} are taken")


def slots_of(token: Mapping[str, Any]) -> tuple[int, ...]:
    """The key slots that a token is for."""
    return tuple(int(slot) for slot in token["keyslots"])


def read_header(text: bytes) -> Header:
    """The metadata as cryptsetup dumps it. Raises HeaderDamaged, VolumeReencrypting."""
    try:
        metadata = json.loads(text)
        config = metadata["config"]
        requirements = config.get("requirements", {}).get("mandatory", [])
        if requirements:
            said = printable(", ".join(map(str, requirements)))
            raise VolumeReencrypting(f"cannot work on the header: it says {said}")
        slots = {int(number): _slot(one) for number, one in metadata["keyslots"].items()}
        tokens = dict(_tokens(metadata["tokens"]))
        digests = [one for one in metadata["digests"].values() if one["segments"]]
        opening = {int(slot) for one in digests for slot in one["keyslots"]}
        salted = sorted((str(one["salt"]), str(one["digest"])) for one in digests)
        fingerprint = hashlib.sha256(json.dumps(salted).encode()).hexdigest()
        size = _BINARY + int(config["json_size"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise HeaderDamaged("cannot read the header: its metadata are not those of LUKS2") from error
    return Header(slots, tokens, frozenset(opening & slots.keys()), size, fingerprint)


def _slot(slot: Mapping[str, Any]) -> Slot:
    kdf, area = slot.get("kdf", {}), slot["area"]
    offset, size = int(area["offset"]), int(area["size"])
    return Slot(int(kdf.get("iterations", 0)), slice(offset, offset + size))


def _tokens(tokens: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, token in tokens.items():
        known = {**token, "type": str(token["type"]), "keyslots": [str(int(slot)) for slot in token["keyslots"]]}
        yield int(number), known
