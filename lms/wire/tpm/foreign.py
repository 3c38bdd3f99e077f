"""Public areas that applications made: their Name and attributes, whatever else is in them (Library Part 2).

A child key travels unchanged, so its algorithms are none of our business; `lms.wire.tpm.public` reads ours.
"""

from __future__ import annotations

from typing import Final

from lms.errors import MalformedStructure
from lms.model.keys import Name
from lms.wire.tpm.digests import HASHES

_ATTRIBUTES_END: Final = 8
# By the bytes of nameAlg as they stand there: a package has tens of thousands of public areas.
_HASHES: Final = {algorithm.to_bytes(2, "big"): hash_ for algorithm, hash_ in HASHES.items()}


def _area(tpm2b: bytes) -> bytes:
    # Without `unsized`, for the same reason.
    area = tpm2b[2:]
    if len(area) != int.from_bytes(tpm2b[:2], "big"):
        raise MalformedStructure("cannot read a TPM structure: its size field is not its size")
    if len(area) < _ATTRIBUTES_END or area[2:4] not in _HASHES:
        raise MalformedStructure("cannot read a public area: too short, or nameAlg neither SHA-256 nor SHA-384")
    return area


def foreign_name(tpm2b: bytes) -> Name:
    """The Name of any TPM2B_PUBLIC."""
    area = _area(tpm2b)
    name_alg = area[2:4]
    return Name(name_alg + _HASHES[name_alg](area).digest())


def is_foreign_name(name: Name, tpm2b: bytes) -> bool:
    """Whether it is the Name of this TPM2B_PUBLIC, of which a package has ten thousand."""
    area = _area(tpm2b)
    name_alg = area[2:4]
    return name == name_alg + _HASHES[name_alg](area).digest()


def foreign_attributes(tpm2b: bytes) -> int:
    """TPMA_OBJECT of any TPM2B_PUBLIC, as a number."""
    return int.from_bytes(_area(tpm2b)[4:_ATTRIBUTES_END], "big")
