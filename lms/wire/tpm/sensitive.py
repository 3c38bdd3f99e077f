"""Sensitive areas: the secret half of a key in the clear (Library Part 2, "TPMT_SENSITIVE").

For the short process that opens a token, and for tests; nothing here is logged or stored.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec

from lms.wire.tpm.digests import DIGEST_SIZES, digest
from lms.wire.tpm.marshal import Reader, Writer, sized, unsized
from lms.wire.tpm.public import EccParameters, PublicArea, RsaParameters, ec_public_key, read_public


@dataclass(frozen=True, slots=True)
class Sensitive:
    """`sensitive` is the ECC scalar, one RSA prime or the sealed data; `seed` derives what children need."""

    type: int
    auth: bytes = field(repr=False)
    seed: bytes = field(repr=False)
    sensitive: bytes = field(repr=False)


def read_sensitive(tpm2b: bytes) -> Sensitive:
    """Read TPM2B_SENSITIVE; MalformedStructure where it is none."""
    reader = Reader(unsized(tpm2b))
    value = Sensitive(reader.u16(), reader.sized(), reader.sized(), reader.sized())
    reader.end()
    return value


def write_sensitive(value: Sensitive) -> bytes:
    """TPM2B_SENSITIVE."""
    writer = Writer().u16(value.type).sized(value.auth).sized(value.seed).sized(value.sensitive)
    return sized(bytes(writer))


def _matches_ecc(scalar: int, area: PublicArea) -> bool:
    public = ec_public_key(area)
    try:
        return ec.derive_private_key(scalar, public.curve).public_key() == public
    except ValueError:
        return False


def _matches_rsa(prime: int, area: PublicArea, key_bits: int) -> bool:
    # of the right length and a divisor: the other factor is then the other prime
    return prime.bit_length() == key_bits // 2 and int.from_bytes(area.unique, "big") % prime == 0


def matches(sensitive: Sensitive, public: bytes) -> bool:
    """Whether a sensitive area is the secret half of TPM2B_PUBLIC; MalformedStructure for a bad public."""
    area = read_public(public)
    if sensitive.type != area.type or len(sensitive.auth) > DIGEST_SIZES[area.name_alg]:
        return False
    number = int.from_bytes(sensitive.sensitive, "big")
    match area.parameters:
        case EccParameters():
            return _matches_ecc(number, area)
        case RsaParameters(key_bits=key_bits):
            return _matches_rsa(number, area, key_bits)
        case _:
            unique = digest(area.name_alg, sensitive.seed, sensitive.sensitive)
            return hmac.compare_digest(unique, area.unique)
