"""Attestations by an AK: TPM2_Certify and TPM2_CertifyCreation (Library Part 2, "TPMS_ATTEST"; PROTOCOL §1).

Reading believes nothing; `check_…` say what is proven. That the AK lives in a genuine TPM is proven elsewhere:
by a credential to the EK for the AK's Name.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from lms.errors import CertificationInvalid, MalformedStructure, SignatureInvalid
from lms.model.keys import SHA256, Name
from lms.model.tpm import Attestation
from lms.wire.tpm.digests import digest
from lms.wire.tpm.marshal import Reader, unsized
from lms.wire.tpm.public import NIST_P256, Attributes, EccParameters, PublicArea, ec_public_key, read_public
from lms.wire.tpm.signature import verify_digest

_GENERATED: Final = 0xFF544347
ATTEST_CERTIFY: Final = 0x8017
ATTEST_CREATION: Final = 0x801A

_AK_MUST: Final = Attributes.FIXED_TPM | Attributes.RESTRICTED | Attributes.SIGN
_AK_JUDGED: Final = _AK_MUST | Attributes.DECRYPT


@dataclass(frozen=True, slots=True)
class Attest:
    """TPMS_ATTEST without clock and firmware version; `evidence` is the qualified Name or the creation hash."""

    type: int
    qualified_signer: bytes
    extra_data: bytes
    name: bytes
    evidence: bytes

    @property
    def qualified_name(self) -> bytes:
        """Of TPM2_Certify: the Name with those of all parents hashed in."""
        return self.evidence

    @property
    def creation_hash(self) -> bytes:
        """Of TPM2_CertifyCreation: digest of TPMS_CREATION_DATA by the key's nameAlg."""
        return self.evidence


@dataclass(frozen=True, slots=True)
class CreationData:
    """TPMS_CREATION_DATA; `parent_name` is a handle (4 bytes) for a primary object."""

    pcr_selection: tuple[tuple[int, bytes], ...]
    pcr_digest: bytes
    locality: int
    parent_name_alg: int
    parent_name: bytes
    parent_qualified_name: bytes
    outside_info: bytes


def read_attest(tpm2b: bytes) -> Attest:
    """Read TPM2B_ATTEST of a certification; MalformedStructure for another type or no TPM structure."""
    reader = Reader(unsized(tpm2b))
    if reader.u32() != _GENERATED:
        raise MalformedStructure("cannot read an attestation: no TPM generated it")
    kind = reader.u16()
    if kind not in (ATTEST_CERTIFY, ATTEST_CREATION):
        raise MalformedStructure(f"cannot read an attestation: type 0x{kind:04x} is no certification")
    signer, extra_data = reader.sized(), reader.sized()
    reader.raw(8 + 4 + 4 + 1 + 8)  # clock, resets, restarts, safe; firmware version: nothing is judged by them
    value = Attest(kind, signer, extra_data, reader.sized(), reader.sized())
    reader.end()
    return value


def read_creation_data(tpm2b: bytes) -> CreationData:
    """Read TPM2B_CREATION_DATA; MalformedStructure where it is none."""
    reader = Reader(unsized(tpm2b))
    count = reader.u32()
    if count > 16:  # HASH_COUNT of any TPM is smaller
        raise MalformedStructure("cannot read creation data: it selects too many PCR banks")
    selection = tuple((reader.u16(), reader.raw(reader.u8())) for _ in range(count))
    value = CreationData(
        selection,
        pcr_digest=reader.sized(),
        locality=reader.u8(),
        parent_name_alg=reader.u16(),
        parent_name=reader.sized(),
        parent_qualified_name=reader.sized(),
        outside_info=reader.sized(),
    )
    reader.end()
    return value


def is_attestation_key(area: PublicArea) -> bool:
    """Whether a key signs only what its own TPM generated: restricted, fixed to it, ECDSA-SHA256 on P-256."""
    return area.parameters == EccParameters(NIST_P256, scheme_hash=SHA256) and area.attributes & _AK_JUDGED == _AK_MUST


def _verified(attestation: Attestation, ak_public: bytes, kind: int, key_name: Name, nonce: bytes | None) -> Attest:
    area = read_public(ak_public)
    if not is_attestation_key(area):
        raise CertificationInvalid("cannot accept a certification: its signer is no attestation key")
    verify_digest(ec_public_key(area), digest(SHA256, unsized(attestation.attest)), attestation.signature)
    attest = read_attest(attestation.attest)
    if attest.type != kind or attest.name != key_name:
        raise CertificationInvalid("cannot accept a certification: it is of another kind or for another key")
    if nonce is not None and not hmac.compare_digest(attest.extra_data, nonce):
        raise CertificationInvalid("cannot accept a certification: it was made for another occasion")
    return attest


def _check(attestation: Attestation, ak_public: bytes, kind: int, key_name: Name, nonce: bytes | None) -> Attest:
    try:
        return _verified(attestation, ak_public, kind, key_name, nonce)
    except (MalformedStructure, SignatureInvalid) as error:
        raise CertificationInvalid(f"cannot accept a certification: {error}") from None


def check_certify(attestation: Attestation, ak_public: bytes, key_name: Name, *, nonce: bytes | None = None) -> Attest:
    """The AK's TPM held the key named `key_name` (TPM2_Certify); CertificationInvalid otherwise.

    `nonce` is compared with the qualifying data where it is given. Not proven: that the key was born there.
    """
    return _check(attestation, ak_public, ATTEST_CERTIFY, key_name, nonce)


def qualified(parent: bytes, name: Name) -> bytes:
    """The qualified Name of a SHA-256 object: below a parent's qualified Name, or a hierarchy's handle (4 bytes)."""
    return name[:2] + digest(SHA256, parent + name)


def check_creation(
    attestation: Attestation, ak_public: bytes, key_name: Name, creation_data: bytes, parent_name: Name | None
) -> CreationData:
    """The AK's TPM made the key named `key_name` (TPM2_CertifyCreation), below `parent_name` where one is given.

    CertificationInvalid otherwise.
    """
    attest = _check(attestation, ak_public, ATTEST_CREATION, key_name, None)
    try:
        created = read_creation_data(creation_data)
    except MalformedStructure as error:
        raise CertificationInvalid(f"cannot accept birth evidence: {error}") from None
    hash_alg = int.from_bytes(key_name[:2], "big")
    if not hmac.compare_digest(attest.creation_hash, digest(hash_alg, unsized(creation_data))):
        raise CertificationInvalid("cannot accept birth evidence: the creation data are not those that were certified")
    if parent_name is not None and created.parent_name != parent_name:
        raise CertificationInvalid("cannot accept birth evidence: the key was born below another parent")
    return created
