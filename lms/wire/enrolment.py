"""Enrolment of a platform: the RequestID, and the proofs that a request has to carry (PROTOCOL §6).

A request travels through other hands: every element that could be exchanged on the way is bound to the others
here, by the RequestID, by TPM2_Certify of one AK, or by the signature.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec

from lms.errors import BadAttributes, CertificationInvalid, LmsError, WrongDocument
from lms.model.exchange import EnrolmentRequest, PlatformEnrolment, VerifiedEnrolment
from lms.model.keys import Name
from lms.model.trust import Identity, Role
from lms.wire.exchange_v1 import ENROLMENT_REQUEST
from lms.wire.request_proofs import (
    attestation_key,
    check_request_id,
    check_roles,
    check_signature,
    checked_key,
    request_id,
)
from lms.wire.tpm.attest import check_creation
from lms.wire.tpm.public import (
    DRSK_ATTRIBUTES,
    SIGNING_ATTRIBUTES,
    SRK_ATTRIBUTES,
    ec_public_key,
    name_of,
    read_public,
)

_ENROLMENT: Final = b"localmigration:enrolment:1"


def enrolment_id(
    subject: UUID, nonce: bytes, ek: Name, parent: Name, ak: Name, signing_key: ec.EllipticCurvePublicKey
) -> bytes:
    """RequestID of an enrolment: SHA-256 over who asks, for which keys (PROTOCOL §6)."""
    return request_id(_ENROLMENT, subject, nonce, ek, parent, ak, signing_key)


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
    signing = checked_key("SigningKey", platform.signing_key, platform.ak, SIGNING_ATTRIBUTES)
    srk = checked_key("SRK", platform.srk, platform.ak, SRK_ATTRIBUTES)
    signing_key = ec_public_key(read_public(platform.signing_key.public))
    check_signature(signed, "SigningKey", signing_key, Identity(Role.PLATFORM, platform.platform_id))
    ak, ek_name = attestation_key(platform.ak), name_of(ek)
    check_request_id(
        request.base, enrolment_id(platform.platform_id, request.base.nonce, ek_name, srk, ak, signing_key)
    )
    drsk, born = _checked_drsk(platform, srk)
    check_roles(signing, srk, ak, drsk)
    return VerifiedEnrolment(
        request.base.request_id, platform, ek, request.base.ek_certificates, ek_name, ak, srk, drsk, born
    )


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
