"""The proofs that requests of enrolment and of restoration have in common (PROTOCOL §6, "both requests").

What a request is bound with: the RequestID over who asks for which keys, TPM2_Certify of each key by one AK, and
the signature by the requester's own key. It does not judge the EK, and it knows no kind of document.
"""

from __future__ import annotations

import hashlib
from typing import Final
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lms.errors import BadAttributes, CertificationInvalid, LmsError, RequestInvalid
from lms.model.exchange import AttestedKey, RequestBase
from lms.model.keys import Name
from lms.model.packages import Signed
from lms.model.trust import Identity
from lms.wire.certificates import identity_of
from lms.wire.signature import verify
from lms.wire.tpm.attest import check_certify
from lms.wire.tpm.public import Attributes, attestation_public, ec_public_key, name_of, read_public

NONCE_SIZE: Final = 16


def request_id(
    label: bytes, subject: UUID, nonce: bytes, ek: Name, parent: Name, ak: Name, signing_key: ec.EllipticCurvePublicKey
) -> bytes:
    """RequestID: SHA-256 over who asks, for which keys; `label` tells enrolment from restoration (PROTOCOL §6)."""
    spki = hashlib.sha256(signing_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return hashlib.sha256(label + subject.bytes + nonce + ek + parent + ak + spki).digest()


def check_request_id(base: RequestBase, expected: bytes) -> None:
    """Raise RequestInvalid unless the request carries the RequestID that follows from it, and a whole Nonce."""
    if len(base.nonce) != NONCE_SIZE or base.request_id != expected:
        raise RequestInvalid("cannot accept the request: RequestID does not follow from its ID, Nonce and keys")


def check_signature(signed: Signed, element: str, signing_key: ec.EllipticCurvePublicKey, identity: Identity) -> None:
    """Raise unless the key that `element` names signed, under a self-issued certificate for `identity`."""
    certificate: x509.Certificate = verify(signed)
    if certificate.public_key() != signing_key:
        raise RequestInvalid(f"cannot accept the request: {element} did not sign it")
    if identity_of(certificate) != identity:
        raise RequestInvalid("cannot accept the request: it is signed for another ID")


def attestation_key(public: bytes) -> Name:
    """Name of the AK, a TPM2B_PUBLIC; raise BadAttributes unless it follows the template of PROTOCOL §1."""
    if attestation_public(ec_public_key(read_public(public))) != public:
        raise BadAttributes("cannot accept the request: AK does not follow the template of an attestation key")
    return name_of(public)


def checked_key(element: str, attested: AttestedKey, ak: bytes, attributes: Attributes) -> Name:
    """Name of a key that the AK certified, with the attributes of its role; the errors name `element`.

    Raises BadAttributes, CertificationInvalid.
    """
    name = name_of(attested.public)
    if read_public(attested.public).attributes != attributes:
        raise BadAttributes(f"cannot accept the request: {element} does not have the attributes of its role")
    try:
        check_certify(attested.certify, ak, name)
    except LmsError as error:
        raise CertificationInvalid(f"cannot accept the request: {element}: {error}") from None
    return name


def check_roles(*names: Name) -> None:
    """Raise RequestInvalid where one key plays two roles."""
    if len(set(names)) != len(names):
        raise RequestInvalid("cannot accept the request: one key plays two roles")
