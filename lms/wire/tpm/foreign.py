"""Public areas that others made: their Name and attributes, whatever else is in them (Library Part 2).

A child key travels unchanged, so its algorithms are none of our business; `lms.wire.tpm.public` reads ours.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from lms.errors import MalformedStructure
from lms.model.keys import Name
from lms.wire.tpm.digests import HASHES
from lms.wire.tpm.marshal import Reader, unsized

NV_INDEX: Final = 0x01000000
"""The first handle of an NV index."""

# In one step: a package has tens of thousands of public areas.
_HEAD: Final = Struct(">HHHI")
_SIZE_FIELD: Final = 2
_NAME_ALG: Final = slice(4, 6)


def _head(tpm2b: bytes) -> tuple[Callable[[bytes], Any], int]:
    """Hash of nameAlg, and TPMA_OBJECT; the size field and the type stand before them."""
    if len(tpm2b) < _HEAD.size:
        raise MalformedStructure("cannot read a public area: too short")
    size, _, name_alg, attributes = _HEAD.unpack_from(tpm2b)
    if size != len(tpm2b) - _SIZE_FIELD:
        raise MalformedStructure("cannot read a TPM structure: its size field is not its size")
    if name_alg not in HASHES:
        raise MalformedStructure("cannot read a public area: nameAlg is neither SHA-256 nor SHA-384")
    return HASHES[name_alg], attributes


def _name(tpm2b: bytes) -> bytes:
    hash_, _ = _head(tpm2b)
    name: bytes = tpm2b[_NAME_ALG] + hash_(tpm2b[_SIZE_FIELD:]).digest()
    return name


def foreign_name(tpm2b: bytes) -> Name:
    """The Name of any TPM2B_PUBLIC."""
    return Name(_name(tpm2b))


def is_foreign_name(name: Name, tpm2b: bytes) -> bool:
    """Whether it is the Name of this TPM2B_PUBLIC, of which a package has ten thousand."""
    return name == _name(tpm2b)


def nv_attributes(tpm2b: bytes) -> int:
    """TPMA_NV of a TPM2B_NV_PUBLIC, as a number."""
    reader = Reader(unsized(tpm2b))
    reader.raw(4 + 2)  # nvIndex, nameAlg
    return reader.u32()


def foreign_attributes(tpm2b: bytes) -> int:
    """TPMA_OBJECT of any TPM2B_PUBLIC, as a number."""
    return _head(tpm2b)[1]
