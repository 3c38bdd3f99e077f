"""Enrolment of a platform: the RequestID, and the proofs that a request has to carry (PROTOCOL §6).

A request travels through other hands: every element that could be exchanged on the way is bound to the others
here, by the RequestID, by TPM2_Certify of one AK, or by the signature.
"""

from __future__ import annotations

import hashlib
from typing import Final
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lms.errors import BadAttributes, CertificationInvalid, LmsError, RequestInvalid, WrongDocument
from lms.model.exchange import AttestedKey, EnrolmentRequest, PlatformEnrolment, VerifiedEnrolment
from lms.model.keys import Name
from lms.model.packages import Signed
from lms.model.trust import Identity, Role
from lms.wire.certificates import identity_of
from lms.wire.exchange_v1 import ENROLMENT_REQUEST
from lms.wire.signature import verify
from lms.wire.tpm.attest import check_certify, check_creation
from lms.wire.tpm.public import (
    DRSK_ATTRIBUTES,
    SIGNING_ATTRIBUTES,
    SRK_ATTRIBUTES,
    Attributes,
    attestation_public,
    ec_public_key,
    name_of,
    read_public,
)

NONCE_SIZE: Final = 16
_ENROLMENT: Final = b"localmigration:enrolment:1"


def enrolment_id(
    subject: UUID, nonce: bytes, ek: Name, parent: Name, ak: Name, signing_key: ec.EllipticCurvePublicKey
) -> bytes:
    """RequestID of an enrolment: SHA-256 over who asks, for which keys (PROTOCOL §6)."""
    spki = hashlib.sha256(signing_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return hashlib.sha256(_ENROLMENT + subject.bytes + nonce + ek + parent + ak + spki).digest()


def read_platform_enrolment(document: bytes) -> VerifiedEnrolment:
    """A platform's enrolment request with all its proofs; the EK is not judged yet.

    Raises the errors of `read_document`, WrongDocument (an authority's request), SignatureInvalid, BadAttributes,
    CertificationInvalid, RequestInvalid; each names the element that does not fit.
    """
    request, signed = ENROLMENT_REQUEST.read(document)
    assert isinstance(request, EnrolmentRequest)
    platform, ek = request.platform, request.base.ek
    if platform is None or ek is None:
        raise WrongDocument("cannot enroll: this is not the request of a platform with a TPM")
    signing = _checked_key("SigningKey", platform.signing_key, platform.ak, SIGNING_ATTRIBUTES)
    srk = _checked_key("SRK", platform.srk, platform.ak, SRK_ATTRIBUTES)
    signing_key = ec_public_key(read_public(platform.signing_key.public))
    _check_signature(signed, signing_key, platform.platform_id)
    ak, ek_name = _attestation_key(platform.ak), name_of(ek)
    expected = enrolment_id(platform.platform_id, request.base.nonce, ek_name, srk, ak, signing_key)
    if len(request.base.nonce) != NONCE_SIZE or request.base.request_id != expected:
        raise RequestInvalid("cannot accept the request: RequestID does not follow from PlatformID, Nonce and keys")
    drsk, born = _checked_drsk(platform, srk)
    if signing in (srk, ak, drsk):
        raise RequestInvalid("cannot accept the request: one key plays two roles")
    return VerifiedEnrolment(
        request.base.request_id, platform, ek, request.base.ek_certificates, ek_name, ak, srk, drsk, born
    )


def _attestation_key(public: bytes) -> Name:
    if attestation_public(ec_public_key(read_public(public))) != public:
        raise BadAttributes("cannot accept the request: AK does not follow the template of an attestation key")
    return name_of(public)


def _checked_key(element: str, attested: AttestedKey, ak: bytes, attributes: Attributes) -> Name:
    name = name_of(attested.public)
    if read_public(attested.public).attributes != attributes:
        raise BadAttributes(f"cannot accept the request: {element} does not have the attributes of its role")
    try:
        check_certify(attested.certify, ak, name)
    except LmsError as error:
        raise CertificationInvalid(f"cannot accept the request: {element}: {error}") from None
    return name


def _check_signature(signed: Signed, signing_key: ec.EllipticCurvePublicKey, platform_id: UUID) -> None:
    certificate: x509.Certificate = verify(signed)
    if certificate.public_key() != signing_key:
        raise RequestInvalid("cannot accept the request: SigningKey did not sign it")
    if identity_of(certificate) != Identity(Role.PLATFORM, platform_id):
        raise RequestInvalid("cannot accept the request: it is signed for another PlatformID")


def _checked_drsk(platform: PlatformEnrolment, srk: Name) -> tuple[Name, bool]:
    birth = platform.drsk
    name = name_of(birth.public)
    if read_public(birth.public).attributes != DRSK_ATTRIBUTES:
        raise BadAttributes("cannot accept the request: DRSK does not have the attributes of one")
    if birth.attestation is None or birth.creation_data is None:
        return name, False
    try:
        check_creation(birth.attestation, platform.ak, name, birth.creation_data, srk)
    except LmsError as error:
        raise CertificationInvalid(f"cannot accept the request: DRSK: {error}") from None
    return name, True
