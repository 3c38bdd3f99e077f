"""Public areas of TPM objects, their Names and our templates (Library Part 2, "TPMT_PUBLIC"; PROTOCOL §0, §1).

Only the algorithms that we use can be read, and each in one encoding. Whether a key fits its role (attributes,
policy) is judged elsewhere.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from enum import STRICT, IntFlag
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lms.errors import MalformedStructure
from lms.model.keys import SHA256, Algorithm, Name
from lms.wire.tpm.digests import DIGEST_SIZES, digest
from lms.wire.tpm.marshal import Reader, Writer, sized, unsized

ALG_RSA: Final = 0x0001
ALG_AES: Final = 0x0006
ALG_KEYEDHASH: Final = 0x0008
ALG_NULL: Final = 0x0010
ALG_RSASSA: Final = 0x0014
ALG_ECDSA: Final = 0x0018
ALG_ECC: Final = 0x0023
ALG_CFB: Final = 0x0043

NIST_P256: Final = 0x0003
NIST_P384: Final = 0x0004

FIELD_SIZES: Final = {NIST_P256: 32, NIST_P384: 48}
RSA_EXPONENT: Final = 65537


class Attributes(IntFlag, boundary=STRICT):
    """TPMA_OBJECT; reserved bits are a ValueError."""

    FIXED_TPM = 1 << 1
    ST_CLEAR = 1 << 2
    FIXED_PARENT = 1 << 4
    SENSITIVE_DATA_ORIGIN = 1 << 5
    USER_WITH_AUTH = 1 << 6
    ADMIN_WITH_POLICY = 1 << 7
    NO_DA = 1 << 10
    ENCRYPTED_DUPLICATION = 1 << 11
    RESTRICTED = 1 << 16
    DECRYPT = 1 << 17
    SIGN = 1 << 18


@dataclass(frozen=True, slots=True)
class EccParameters:
    """TPMS_ECC_PARMS: AES-CFB key size or None for no symmetric; hash of ECDSA or None for no scheme; no KDF."""

    curve: int
    aes_bits: int | None = None
    scheme_hash: int | None = None


@dataclass(frozen=True, slots=True)
class RsaParameters:
    """TPMS_RSA_PARMS: as `EccParameters`, with RSASSA; `exponent` as written, 0 stands for 65537."""

    key_bits: int
    aes_bits: int | None = None
    scheme_hash: int | None = None
    exponent: int = 0


@dataclass(frozen=True, slots=True)
class KeyedHashParameters:
    """TPMS_KEYEDHASH_PARMS with the null scheme: a sealed object."""


Parameters = EccParameters | RsaParameters | KeyedHashParameters


@dataclass(frozen=True, slots=True)
class PublicArea:
    """TPMT_PUBLIC. `unique` is x ‖ y (each padded to field size), the modulus or a digest; empty in a template."""

    name_alg: int
    attributes: Attributes
    policy: bytes
    parameters: Parameters
    unique: bytes

    @property
    def type(self) -> int:
        """TPM_ALG_ID of the kind of object."""
        match self.parameters:
            case EccParameters():
                return ALG_ECC
            case RsaParameters():
                return ALG_RSA
            case KeyedHashParameters():
                return ALG_KEYEDHASH

    @property
    def aes_bits(self) -> int | None:
        """Key size of the AES-CFB with which a storage key protects; None for other objects."""
        return None if isinstance(self.parameters, KeyedHashParameters) else self.parameters.aes_bits

    @property
    def x(self) -> bytes:
        """The x coordinate of an ECC key."""
        return self.unique[: len(self.unique) // 2]


# Reading


def _supported(value: int, allowed: Container[int], what: str) -> int:
    if value not in allowed:
        raise MalformedStructure(f"cannot read a public area: {what} 0x{value:04x} is not supported")
    return value


def _exactly(value: bytes, size: int, what: str) -> bytes:
    if len(value) != size:
        raise MalformedStructure(f"cannot read a public area: {what} has {len(value)} bytes instead of {size}")
    return value


def _read_symmetric(reader: Reader, sizes: Container[int]) -> int | None:
    if _supported(reader.u16(), (ALG_AES, ALG_NULL), "symmetric algorithm") == ALG_NULL:
        return None
    bits = _supported(reader.u16(), sizes, "AES key size")
    _supported(reader.u16(), (ALG_CFB,), "AES mode")
    return bits


def _read_scheme(reader: Reader, scheme: int) -> int | None:
    if _supported(reader.u16(), (scheme, ALG_NULL), "scheme") == ALG_NULL:
        return None
    return _supported(reader.u16(), DIGEST_SIZES, "hash of the scheme")


def _read_ecc(reader: Reader) -> tuple[EccParameters, bytes]:
    aes_bits = _read_symmetric(reader, (128, 256))
    scheme_hash = _read_scheme(reader, ALG_ECDSA)
    curve = _supported(reader.u16(), FIELD_SIZES, "curve")
    _supported(reader.u16(), (ALG_NULL,), "KDF")
    x, y = (_exactly(reader.sized(), FIELD_SIZES[curve], "a coordinate") for _ in "xy")
    return EccParameters(curve, aes_bits, scheme_hash), x + y


def _read_rsa(reader: Reader) -> tuple[RsaParameters, bytes]:
    aes_bits = _read_symmetric(reader, (128,))
    scheme_hash = _read_scheme(reader, ALG_RSASSA)
    key_bits = _supported(reader.u16(), (2048, 3072), "RSA key size")
    exponent = _supported(reader.u32(), (0, RSA_EXPONENT), "RSA exponent")
    modulus = _exactly(reader.sized(), key_bits // 8, "the modulus")
    if not modulus[0] & 0x80 or not modulus[-1] & 1:
        raise MalformedStructure("cannot read a public area: this is no RSA modulus of the stated size")
    return RsaParameters(key_bits, aes_bits, scheme_hash, exponent), modulus


def _read_keyed_hash(reader: Reader, name_alg: int) -> tuple[KeyedHashParameters, bytes]:
    _supported(reader.u16(), (ALG_NULL,), "scheme")
    return KeyedHashParameters(), _exactly(reader.sized(), DIGEST_SIZES[name_alg], "the unique digest")


def read_public(tpm2b: bytes) -> PublicArea:
    """Read TPM2B_PUBLIC of an existing object (not a template); MalformedStructure for all that is not ours."""
    reader = Reader(unsized(tpm2b))
    kind = _supported(reader.u16(), (ALG_ECC, ALG_RSA, ALG_KEYEDHASH), "type")
    name_alg = _supported(reader.u16(), DIGEST_SIZES, "nameAlg")
    try:
        attributes = Attributes(reader.u32())
    except ValueError:
        raise MalformedStructure("cannot read a public area: it has reserved attributes") from None
    policy = reader.sized()
    if policy:
        _exactly(policy, DIGEST_SIZES[name_alg], "the policy")
    parameters: Parameters
    if kind == ALG_ECC:
        parameters, unique = _read_ecc(reader)
    elif kind == ALG_RSA:
        parameters, unique = _read_rsa(reader)
    else:
        parameters, unique = _read_keyed_hash(reader, name_alg)
    reader.end()
    area = PublicArea(name_alg, attributes, policy, parameters, unique)
    if write_public(area) != tpm2b:  # one object, one Name: no second encoding may slip through
        raise MalformedStructure("cannot read a public area: it has another encoding")
    return area


def name_of(tpm2b: bytes) -> Name:
    """The Name of TPM2B_PUBLIC (Library Part 1, "Names"); MalformedStructure as `read_public`."""
    name_alg = read_public(tpm2b).name_alg
    return Name(name_alg.to_bytes(2, "big") + digest(name_alg, unsized(tpm2b)))


# Writing


def _write_symmetric(writer: Writer, aes_bits: int | None) -> Writer:
    return writer.u16(ALG_NULL) if aes_bits is None else writer.u16(ALG_AES).u16(aes_bits).u16(ALG_CFB)


def _write_scheme(writer: Writer, scheme: int, scheme_hash: int | None) -> Writer:
    return writer.u16(ALG_NULL) if scheme_hash is None else writer.u16(scheme).u16(scheme_hash)


def write_public(area: PublicArea) -> bytes:
    """TPM2B_PUBLIC of an area."""
    writer = Writer().u16(area.type).u16(area.name_alg).u32(area.attributes).sized(area.policy)
    match area.parameters:
        case EccParameters(curve, aes_bits, scheme_hash):
            _write_scheme(_write_symmetric(writer, aes_bits), ALG_ECDSA, scheme_hash).u16(curve).u16(ALG_NULL)
            writer.sized(area.x).sized(area.unique[len(area.x) :])
        case RsaParameters(key_bits, aes_bits, scheme_hash, exponent):
            _write_scheme(_write_symmetric(writer, aes_bits), ALG_RSASSA, scheme_hash).u16(key_bits).u32(exponent)
            writer.sized(area.unique)
        case KeyedHashParameters():
            writer.u16(ALG_NULL).sized(area.unique)
    return sized(bytes(writer))


def template_of(tpm2b: bytes) -> bytes:
    """The template an existing key follows: its public area without the unique field."""
    return write_public(replace(read_public(tpm2b), unique=b""))


# Keys


def algorithm_of(public: bytes) -> Algorithm:
    """Which of the algorithms offered for SRK and DRSK (PROTOCOL §1) a TPM2B_PUBLIC has."""
    return Algorithm.RSA_2048 if read_public(public).type == ALG_RSA else Algorithm.ECC_P256


def ec_public_key(area: PublicArea) -> ec.EllipticCurvePublicKey:
    """The public key of an ECC area; MalformedStructure for another type or a point that is not on the curve."""
    if not isinstance(area.parameters, EccParameters):
        raise MalformedStructure("cannot use a public area as an elliptic curve key: it is of another type")
    curve = ec.SECP256R1() if area.parameters.curve == NIST_P256 else ec.SECP384R1()
    x, y = area.x, area.unique[len(area.x) :]
    try:
        return ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve).public_key()
    except ValueError:
        raise MalformedStructure("cannot use a public area: its point is not on the curve") from None


def rsa_public_key(area: PublicArea) -> rsa.RSAPublicKey:
    """The public key of an RSA area; MalformedStructure for another type or a useless modulus."""
    if not isinstance(area.parameters, RsaParameters):
        raise MalformedStructure("cannot use a public area as an RSA key: it is of another type")
    exponent = area.parameters.exponent or RSA_EXPONENT
    try:
        return rsa.RSAPublicNumbers(exponent, int.from_bytes(area.unique, "big")).public_key()
    except ValueError:
        raise MalformedStructure("cannot use a public area: it holds no RSA modulus") from None


# Templates of PROTOCOL §1, as TPM2B_PUBLIC

_BORN_IN_TPM: Final = Attributes.FIXED_TPM | Attributes.FIXED_PARENT | Attributes.SENSITIVE_DATA_ORIGIN
_STORAGE: Final = Attributes.RESTRICTED | Attributes.DECRYPT | Attributes.USER_WITH_AUTH

SRK_ATTRIBUTES: Final = _BORN_IN_TPM | _STORAGE | Attributes.NO_DA
DRSK_ATTRIBUTES: Final = Attributes.SENSITIVE_DATA_ORIGIN | _STORAGE | Attributes.NO_DA
AK_ATTRIBUTES: Final = _BORN_IN_TPM | Attributes.USER_WITH_AUTH | Attributes.RESTRICTED | Attributes.SIGN
SIGNING_ATTRIBUTES: Final = _BORN_IN_TPM | Attributes.USER_WITH_AUTH | Attributes.NO_DA | Attributes.SIGN
APPROVAL_ATTRIBUTES: Final = Attributes.SIGN | Attributes.USER_WITH_AUTH
RECOVERY_ATTRIBUTES: Final = _STORAGE

_AK_PARAMETERS: Final = EccParameters(NIST_P256, scheme_hash=SHA256)


def _template(attributes: Attributes, parameters: Parameters, policy: bytes = b"", unique: bytes = b"") -> bytes:
    return write_public(PublicArea(SHA256, attributes, policy, parameters, unique))


def _storage_parameters(algorithm: Algorithm) -> Parameters:
    return EccParameters(NIST_P256, 128) if algorithm is Algorithm.ECC_P256 else RsaParameters(2048, 128)


def srk_template(algorithm: Algorithm) -> bytes:
    """Storage root key: a primary of the owner hierarchy."""
    return _template(SRK_ATTRIBUTES, _storage_parameters(algorithm))


def drsk_template(algorithm: Algorithm, policy_digest: bytes) -> bytes:
    """Duplicable root storage key below the SRK; its policy lets it out (PROTOCOL §2)."""
    return _template(DRSK_ATTRIBUTES, _storage_parameters(algorithm), policy_digest)


def ak_template() -> bytes:
    """Attestation key: a primary of the endorsement hierarchy."""
    return _template(AK_ATTRIBUTES, _AK_PARAMETERS)


def signing_template() -> bytes:
    """The key below the SRK that signs packages and requests."""
    return _template(SIGNING_ATTRIBUTES, EccParameters(NIST_P256))


def vault_template() -> bytes:
    """The vault parent of a Migration Authority with a TPM."""
    return srk_template(Algorithm.ECC_P256)


def user_key_template(algorithm: Algorithm) -> bytes:
    """The storage key of one user, below the DRSK: moves with it, never by itself (it has no policy)."""
    return _template(DRSK_ATTRIBUTES, _storage_parameters(algorithm))


def sealed_template(attributes: Attributes, policy: bytes = b"") -> bytes:
    """A sealed object: content keys, kept inner keys, probes."""
    return _template(attributes, KeyedHashParameters(), policy)


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    if key.curve.name != ec.SECP256R1.name:
        raise ValueError("cannot make a public area: the key is not on P-256")
    numbers = key.public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def attestation_public(key: ec.EllipticCurvePublicKey) -> bytes:
    """An AK by our template with this P-256 point, as its certificate names it."""
    return _template(AK_ATTRIBUTES, _AK_PARAMETERS, unique=_point(key))


def vault_public(key: ec.EllipticCurvePublicKey) -> bytes:
    """The vault parent of an MA with a TPM (PROTOCOL §1); ValueError for another curve."""
    return _template(SRK_ATTRIBUTES, _storage_parameters(Algorithm.ECC_P256), unique=_point(key))


def approval_public(key: ec.EllipticCurvePublicKey) -> bytes:
    """An approval root, wherever its private half lives (PROTOCOL §1); ValueError for another curve."""
    return _template(APPROVAL_ATTRIBUTES, EccParameters(NIST_P256), unique=_point(key))


def recovery_public(key: ec.EllipticCurvePublicKey) -> bytes:
    """A recovery key, or the vault of a software MA (PROTOCOL §1); ValueError for another curve."""
    return _template(RECOVERY_ATTRIBUTES, EccParameters(NIST_P256, 128), unique=_point(key))
