"""Public areas that applications made: their Name and attributes, whatever else is in them (Library Part 2).

A child key travels unchanged, so its algorithms are none of our business; `lms.wire.tpm.public` reads ours.
"""

from __future__ import annotations

from lms.errors import MalformedStructure
from lms.model.keys import Name
from lms.wire.tpm.digests import DIGEST_SIZES, digest
from lms.wire.tpm.marshal import unsized

_ATTRIBUTES_END = 8


def _area(tpm2b: bytes) -> tuple[bytes, int]:
    area = unsized(tpm2b)
    name_alg = int.from_bytes(area[2:4], "big")
    if len(area) < _ATTRIBUTES_END or name_alg not in DIGEST_SIZES:
        raise MalformedStructure("cannot read a public area: too short, or nameAlg neither SHA-256 nor SHA-384")
    return area, name_alg


def foreign_name(tpm2b: bytes) -> Name:
    """The Name of any TPM2B_PUBLIC."""
    area, name_alg = _area(tpm2b)
    return Name(name_alg.to_bytes(2, "big") + digest(name_alg, area))


def foreign_attributes(tpm2b: bytes) -> int:
    """TPMA_OBJECT of any TPM2B_PUBLIC, as a number."""
    area, _ = _area(tpm2b)
    return int.from_bytes(area[4:_ATTRIBUTES_END], "big")
