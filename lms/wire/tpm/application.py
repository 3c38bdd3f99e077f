"""Keys of applications: they sign and decrypt with an empty authorisation, and leave with the key above them.

Without fixedTPM and fixedParent, so that the DRSK carries them; without a scheme, so that a program chooses hash and
padding; with noDA, so that nobody's wrong guesses stop them. A key that was imported has no sensitiveDataOrigin.
"""

from __future__ import annotations

from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lms.errors import KeyUnsupported, MalformedStructure
from lms.model.keys import SHA256, ApplicationAlgorithm
from lms.model.secret import Secret
from lms.wire.tpm.public import (
    ALG_ECC,
    ALG_RSA,
    FIELD_SIZES,
    NIST_P256,
    NIST_P384,
    RSA_EXPONENT,
    Attributes,
    EccParameters,
    Parameters,
    PublicArea,
    RsaParameters,
    ec_public_key,
    read_public,
    rsa_public_key,
    write_public,
)
from lms.wire.tpm.sensitive import Sensitive, write_sensitive

_ATTRIBUTES: Final = Attributes.USER_WITH_AUTH | Attributes.NO_DA | Attributes.SIGN | Attributes.DECRYPT
_PARAMETERS: Final[dict[ApplicationAlgorithm, Parameters]] = {
    ApplicationAlgorithm.ECC_P256: EccParameters(NIST_P256),
    ApplicationAlgorithm.ECC_P384: EccParameters(NIST_P384),
    ApplicationAlgorithm.RSA_2048: RsaParameters(2048),
}
_CURVES: Final = {ec.SECP256R1.name: NIST_P256, ec.SECP384R1.name: NIST_P384}
_CURVE_NAMES: Final = {NIST_P256: ApplicationAlgorithm.ECC_P256, NIST_P384: ApplicationAlgorithm.ECC_P384}
_RSA_BITS: Final = 2048


def application_template(algorithm: ApplicationAlgorithm) -> bytes:
    """TPM2B_PUBLIC of a key that the TPM shall make."""
    attributes = _ATTRIBUTES | Attributes.SENSITIVE_DATA_ORIGIN
    return write_public(PublicArea(SHA256, attributes, b"", _PARAMETERS[algorithm], b""))


def imported(key: Any) -> tuple[bytes, Secret]:
    """TPM2B_PUBLIC and TPM2B_SENSITIVE of a private key as cryptography has it. Raises KeyUnsupported."""
    match key:
        case ec.EllipticCurvePrivateKey() if key.curve.name in _CURVES:
            return _imported_ecc(key, _CURVES[key.curve.name])
        case rsa.RSAPrivateKey() if _is_supported(key):
            return _imported_rsa(key)
    raise KeyUnsupported("cannot use this private key: it is neither RSA-2048 nor on P-256 or P-384")


def _is_supported(key: rsa.RSAPrivateKey) -> bool:
    return key.key_size == _RSA_BITS and key.public_key().public_numbers().e == RSA_EXPONENT


def _imported_ecc(key: ec.EllipticCurvePrivateKey, curve: int) -> tuple[bytes, Secret]:
    size, numbers = FIELD_SIZES[curve], key.private_numbers()
    point = numbers.public_numbers
    unique = point.x.to_bytes(size, "big") + point.y.to_bytes(size, "big")
    return _areas(EccParameters(curve), unique, ALG_ECC, numbers.private_value.to_bytes(size, "big"))


def _imported_rsa(key: rsa.RSAPrivateKey) -> tuple[bytes, Secret]:
    numbers, size = key.private_numbers(), _RSA_BITS // 8
    modulus = numbers.public_numbers.n.to_bytes(size, "big")
    return _areas(RsaParameters(_RSA_BITS), modulus, ALG_RSA, numbers.p.to_bytes(size // 2, "big"))


def _areas(parameters: Parameters, unique: bytes, kind: int, secret: bytes) -> tuple[bytes, Secret]:
    public = write_public(PublicArea(SHA256, _ATTRIBUTES, b"", parameters, unique))
    return public, Secret(write_sensitive(Sensitive(kind, b"", b"", secret)))


def algorithm_of_application(public: bytes) -> ApplicationAlgorithm | None:
    """What a TPM2B_PUBLIC is, whoever made it; None for what we make none of."""
    try:
        match read_public(public).parameters:
            case EccParameters(curve=curve):
                return _CURVE_NAMES[curve]
            case RsaParameters(key_bits=2048):
                return ApplicationAlgorithm.RSA_2048
    except MalformedStructure:
        pass
    return None


def application_public_key(public: bytes) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    """The public key in a TPM2B_PUBLIC. Raises MalformedStructure."""
    area = read_public(public)
    return rsa_public_key(area) if area.type == ALG_RSA else ec_public_key(area)
