"""Names and kinds of TPM keys (TPM 2.0 Library Part 1, "Names"; PROTOCOL §0, §1)."""

from __future__ import annotations

import base64
from binascii import unhexlify
from enum import Enum
from typing import Final, Self

SHA256: Final = 0x000B
SHA384: Final = 0x000C
# A package has tens of thousands of Names: their algorithm is looked up as it stands there.
_NAME_SIZE: Final = {SHA256.to_bytes(2, "big"): 2 + 32, SHA384.to_bytes(2, "big"): 2 + 48}

SRK_HANDLE: Final = 0x81000003
DRSK_HANDLE: Final = 0x81000004
VAULT_HANDLE: Final = 0x81000005

GROUP: Final = 4
"""Letters and digits between two hyphens."""


def digits(value: bytes) -> str:
    """80 bits for people (PROTOCOL §0): 10 bytes as base32 in four groups of four; at least 10 bytes."""
    if len(value) < 10:
        raise ValueError("cannot show 80 bits of fewer than 10 bytes")
    text = base64.b32encode(value[:10]).decode("ascii")
    return "-".join(text[i : i + GROUP] for i in range(0, len(text), GROUP))


def same_digits(said: str, value: bytes) -> bool:
    """Whether `said` names the first 80 bits of `value`, whatever its case and hyphens."""
    return _bare(said) == _bare(digits(value))


def begins_digits(said: str, value: bytes) -> bool:
    """Whether `said` is how these digits begin: at least one group of them, as a list shows it."""
    begin = _bare(said.rstrip("…"))
    return len(begin) >= GROUP and _bare(digits(value)).startswith(begin)


def _bare(said: str) -> str:
    return "".join(said.split()).replace("-", "").upper()


class Name(bytes):
    """A TPM 2.0 Name: nameAlg (2 bytes, big-endian) ‖ digest of the public area."""

    __slots__ = ()

    def __new__(cls, value: bytes) -> Self:
        if len(value) != _NAME_SIZE.get(value[:2]):
            raise ValueError("cannot read a Name: its length does not fit its algorithm")
        return bytes.__new__(cls, value)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read the upper-case hexBinary form; ValueError for anything else."""
        if text != text.upper():
            raise ValueError("cannot read a Name: not upper-case hexadecimal")
        return cls(unhexlify(text))

    @property
    def digest(self) -> bytes:
        """The Name without its algorithm."""
        return self[2:]

    @property
    def digits(self) -> str:
        """80 bits of the digest, for people."""
        return digits(self.digest)

    def __str__(self) -> str:
        return self.hex().upper()

    def __repr__(self) -> str:
        return f"Name({self!s})"


class KeyType(Enum):
    """What may be done with a key; derived from its policy, never believed (DESIGN §2)."""

    NMK = "NMK"
    MK = "MK"
    CMK = "CMK"


class Algorithm(Enum):
    """Algorithms offered for SRK and DRSK (PROTOCOL §1)."""

    ECC_P256 = "ecc-p256"
    RSA_2048 = "rsa-2048"


class ApplicationAlgorithm(Enum):
    """Algorithms offered for keys of applications."""

    ECC_P256 = "ecc-p256"
    ECC_P384 = "ecc-p384"
    RSA_2048 = "rsa-2048"
