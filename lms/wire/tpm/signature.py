"""TPMT_SIGNATURE of ECDSA with SHA-256 on P-256 (Library Part 2, "TPMT_SIGNATURE").

The same signature as DER and as raw r ‖ s belongs to X.509 and XMLDSig; here are the TPM's form and the checks.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature

from lms.errors import MalformedStructure, SignatureInvalid
from lms.model.keys import SHA256
from lms.wire.tpm.marshal import Reader, Writer
from lms.wire.tpm.public import ALG_ECDSA

_SCALAR_SIZE: Final = 32
_ALGORITHM: Final = ec.ECDSA(Prehashed(hashes.SHA256()))


def write_ecdsa(r: int, s: int) -> bytes:
    """TPMT_SIGNATURE with both numbers padded to 32 bytes."""
    writer = Writer().u16(ALG_ECDSA).u16(SHA256)
    return bytes(writer.sized(r.to_bytes(_SCALAR_SIZE, "big")).sized(s.to_bytes(_SCALAR_SIZE, "big")))


def read_ecdsa(signature: bytes) -> tuple[int, int]:
    """r and s; MalformedStructure for another scheme. Chips that do not pad their numbers are read too."""
    reader = Reader(signature)
    if (reader.u16(), reader.u16()) != (ALG_ECDSA, SHA256):
        raise MalformedStructure("cannot read a signature: it is not ECDSA with SHA-256")
    r, s = reader.sized(), reader.sized()
    reader.end()
    if not (0 < len(r) <= _SCALAR_SIZE and 0 < len(s) <= _SCALAR_SIZE):
        raise MalformedStructure("cannot read a signature: its numbers do not fit P-256")
    return int.from_bytes(r, "big"), int.from_bytes(s, "big")


def ecdsa_der(signature: bytes) -> bytes:
    """The signature as X.509 writes it (ECDSA-Sig-Value); MalformedStructure as `read_ecdsa`."""
    return encode_dss_signature(*read_ecdsa(signature))


def sign_digest(private_key: ec.EllipticCurvePrivateKey, digest: bytes) -> bytes:
    """Sign a 32-byte digest in software; TPMT_SIGNATURE."""
    return write_ecdsa(*decode_dss_signature(private_key.sign(digest, _ALGORITHM)))


def verify_digest(public_key: ec.EllipticCurvePublicKey, digest: bytes, signature: bytes) -> None:
    """SignatureInvalid unless TPMT_SIGNATURE `signature` is `public_key`'s (P-256) over a 32-byte digest."""
    try:
        if public_key.curve.name == ec.SECP256R1.name:
            public_key.verify(ecdsa_der(signature), digest, _ALGORITHM)
            return
    except (InvalidSignature, MalformedStructure):
        pass
    raise SignatureInvalid("cannot accept a signature: it does not fit the key and the digest")
