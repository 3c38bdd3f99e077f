"""Software keys and the storage keys that the tests wrap for."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lms.model.keys import SHA256, SHA384, Name
from lms.wire.tpm.public import (
    NIST_P256,
    NIST_P384,
    RECOVERY_ATTRIBUTES,
    EccParameters,
    PublicArea,
    RsaParameters,
    write_public,
)

NAME = Name(b"\x00\x0b" + bytes(range(32)))
OTHER_NAME = Name(b"\x00\x0b" + bytes(32))

# id: parameters, nameAlg
STORAGE = {
    "p256": (EccParameters(NIST_P256, 128), SHA256),
    "p256-aes256": (EccParameters(NIST_P256, 256), SHA256),
    "p384": (EccParameters(NIST_P384, 256), SHA384),
    "rsa2048": (RsaParameters(2048, 128), SHA256),
    "rsa3072": (RsaParameters(3072, 128), SHA384),
}


def software_key(parameters, name_alg, attributes=RECOVERY_ATTRIBUTES):
    """A private key and its TPM2B_PUBLIC."""
    if isinstance(parameters, RsaParameters):
        key = rsa.generate_private_key(65537, parameters.key_bits)
        unique = key.public_key().public_numbers().n.to_bytes(parameters.key_bits // 8, "big")
    else:
        key = ec.generate_private_key(ec.SECP256R1() if parameters.curve == NIST_P256 else ec.SECP384R1())
        point, size = key.public_key().public_numbers(), key.curve.key_size // 8
        unique = point.x.to_bytes(size, "big") + point.y.to_bytes(size, "big")
    return key, write_public(PublicArea(name_alg, attributes, b"", parameters, unique))


def flipped(data: bytes, bit: int) -> bytes:
    """`data` with one bit turned."""
    bit %= 8 * len(data)
    changed = bytearray(data)
    changed[bit // 8] ^= 0x80 >> bit % 8
    return bytes(changed)


def small_point_key(curve: ec.EllipticCurve | None = None):
    """An EC key whose x begins with a zero byte: one in 256, and a classic of unpadded coordinates."""
    curve = curve or ec.SECP256R1()
    while True:
        key = ec.generate_private_key(curve)
        if key.public_key().public_numbers().x.bit_length() <= curve.key_size - 8:
            return key
