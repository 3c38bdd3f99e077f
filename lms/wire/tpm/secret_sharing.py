"""Sharing a seed with the holder of a storage key (Library Part 1, Annexes B and C, "Secret Sharing").

ECC: one-pass ECDH with KDFe; RSA: OAEP with the label and its zero byte. The hash is the parent's nameAlg. What
the seed protects is `lms.wire.tpm.protection`'s.
"""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from lms.errors import MalformedStructure
from lms.wire.tpm.digests import DIGEST_SIZES, primitive
from lms.wire.tpm.kdf import kdfe
from lms.wire.tpm.marshal import Reader, Writer, sized, unsized
from lms.wire.tpm.public import EccParameters, PublicArea, ec_public_key, rsa_public_key

DUPLICATE: Final = b"DUPLICATE"
IDENTITY: Final = b"IDENTITY"

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def _oaep(area: PublicArea, label: bytes) -> padding.OAEP:
    algorithm = primitive(area.name_alg)
    return padding.OAEP(padding.MGF1(algorithm), algorithm, label + b"\0")


def _ecc_seed(area: PublicArea, z: bytes, label: bytes, ephemeral_x: bytes) -> bytes:
    return kdfe(area.name_alg, z, label, ephemeral_x, area.x, 8 * DIGEST_SIZES[area.name_alg])


def make_seed(area: PublicArea, label: bytes) -> tuple[bytes, bytes]:
    """A fresh seed for the storage key `area`, and the TPM2B_ENCRYPTED_SECRET that carries it."""
    if not isinstance(area.parameters, EccParameters):
        seed = secrets.token_bytes(DIGEST_SIZES[area.name_alg])
        return seed, sized(rsa_public_key(area).encrypt(seed, _oaep(area, label)))
    static = ec_public_key(area)
    ephemeral = ec.generate_private_key(static.curve)
    numbers = ephemeral.public_key().public_numbers()
    x, y = (value.to_bytes(len(area.x), "big") for value in (numbers.x, numbers.y))
    seed = _ecc_seed(area, ephemeral.exchange(ec.ECDH(), static), label, x)
    return seed, sized(bytes(Writer().sized(x).sized(y)))


def _open_ecc(key: ec.EllipticCurvePrivateKey, area: PublicArea, label: bytes, point: bytes) -> bytes:
    reader = Reader(point)
    x, y = reader.sized(), reader.sized()
    reader.end()
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), key.curve)
    # public_key() refuses points off the curve: the invalid-curve attack on a static key
    return _ecc_seed(area, key.exchange(ec.ECDH(), numbers.public_key()), label, x)


def open_seed(key: PrivateKey, area: PublicArea, label: bytes, secret: bytes) -> bytes:
    """The seed in TPM2B_ENCRYPTED_SECRET; ValueError for every way in which that can fail."""
    try:
        content = unsized(secret)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return _open_ecc(key, area, label, content)
        seed = key.decrypt(content, _oaep(area, label))
    except MalformedStructure as error:
        raise ValueError(str(error)) from None
    if len(seed) != DIGEST_SIZES[area.name_alg]:
        raise ValueError("cannot use a seed of another length")
    return seed
