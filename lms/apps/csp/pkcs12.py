"""What a PKCS#12 file brings: one private key, and its certificates (RFC 7292). It is read, never written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from lms.apps.csp.certificates import Certificates
from lms.errors import Pkcs12Refused
from lms.model.secret import Secret
from lms.wire.tpm.application import imported

_MOST_ROUNDS: Final = 5_000_000
# Behind these, as DER has them, stand the rounds of a derivation: PBKDF2, those of PKCS#12, and hashes of its MAC.
_DERIVING: Final = (
    bytes.fromhex("06092a864886f70d01050c"),
    *(bytes.fromhex(f"060a2a864886f70d010c01{n:02x}") for n in range(1, 7)),
    bytes.fromhex("06052b0e03021a"),
    *(bytes.fromhex(f"06096086480165030402{n:02x}") for n in range(1, 5)),
)
_INTEGER, _OCTETS, _NULL, _SEQUENCE = 0x02, 0x04, 0x05, 0x30
_LONG: Final = 0x80


@dataclass(frozen=True, slots=True)
class Brought:
    """A key in the clear, TPM2B_PUBLIC and TPM2B_SENSITIVE, and the certificates that came with it."""

    public: bytes
    sensitive: Secret
    certificates: Certificates | None


def read_pkcs12(content: bytes, password: Secret, source: Path) -> Brought:
    """The key of a PKCS#12 file. Raises Pkcs12Refused, KeyUnsupported, CertificateDiffers."""
    if any(rounds > _MOST_ROUNDS for rounds in _rounds(content)):
        raise Pkcs12Refused(f"cannot open '{source}': it asks for more than {_MOST_ROUNDS} rounds of its derivation")
    try:
        found = load_pkcs12(content, password.reveal())
    except (ValueError, UnsupportedAlgorithm):
        raise Pkcs12Refused(f"cannot open '{source}': the password is wrong, or it is no PKCS#12 file") from None
    if found.key is None:
        raise Pkcs12Refused(f"cannot use '{source}': it holds no private key")
    public, sensitive = imported(found.key)
    own = [] if found.cert is None else [found.cert]
    chain = tuple(one.certificate for one in (*own, *found.additional_certs))
    certificates = Certificates(chain, source) if chain else None
    if certificates is not None:
        certificates.require(public)
    return Brought(public, sensitive, certificates)


def _rounds(content: bytes) -> Iterator[int]:
    """How often its password is hashed, as far as that stands there in the clear."""
    for oid in _DERIVING:
        at = content.find(oid)
        while at >= 0:
            yield from _rounds_behind(content, at + len(oid))
            at = content.find(oid, at + 1)


def _rounds_behind(content: bytes, at: int) -> Iterator[int]:
    """The first integer behind an algorithm, with nothing but its salt and digest in between."""
    while at + 1 < len(content):
        tag, length, at = content[at], content[at + 1], at + 2
        if length > _LONG:
            size = length - _LONG
            length, at = int.from_bytes(content[at : at + size], "big"), at + size
        if tag == _INTEGER:
            yield int.from_bytes(content[at : at + length], "big")
        if tag not in (_OCTETS, _NULL, _SEQUENCE):
            return
        at += 0 if tag == _SEQUENCE else length
