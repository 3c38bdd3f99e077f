"""Enrolment of platforms and Migration Authorities: the RequestID, and the proofs of a request (PROTOCOL §6).

A request travels through other hands: every element that could be exchanged on the way is bound to the others
here, by the RequestID, by TPM2_Certify of one AK, or by the signature.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from lms.errors import BadAttributes, CertificationInvalid, LmsError, RequestInvalid, WrongDocument
from lms.model.addresses import host_of
from lms.model.exchange import (
    AttestedKey,
    AuthorityEnrolment,
    EnrolmentRequest,
    PlatformEnrolment,
    VerifiedAuthorityEnrolment,
    VerifiedEnrolment,
)
from lms.model.keys import Name
from lms.model.trust import Identity, Mode, Role
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
    SIGNING_ATTRIBUTES,
    SRK_ATTRIBUTES,
    ec_public_key,
    name_of,
    read_public,
    recovery_public,
    vault_public,
)
from lms.wire.tpm.recoverable import is_preset, is_recoverable

_ENROLMENT: Final = b"localmigration:enrolment:1"


def enrolment_id(
    subject: UUID, nonce: bytes, ek: Name, parent: Name, ak: Name, signing_key: ec.EllipticCurvePublicKey
) -> bytes:
    """RequestID of an enrolment: SHA-256 over who asks, for which keys (PROTOCOL §6)."""
    return request_id(_ENROLMENT, subject, nonce, ek, parent, ak, signing_key)


def enrolment_role(document: bytes) -> Role:
    """Whether a platform or an MA asks, for others to choose a reader; nothing is believed."""
    request, _ = ENROLMENT_REQUEST.read(document)
    assert isinstance(request, EnrolmentRequest)
    return Role.PLATFORM if request.authority is None else Role.MIGRATION_AUTHORITY


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
        request_id=request.base.request_id,
        platform=platform,
        ek=ek,
        ek_certificates=request.base.ek_certificates,
        ek_name=ek_name,
        ak_name=ak,
        srk_name=srk,
        drsk_name=drsk,
        born=born,
        trust_list_number=request.base.trust_list_number,
    )


def _checked_drsk(platform: PlatformEnrolment, srk: Name) -> tuple[Name, bool]:
    birth = platform.drsk
    name = name_of(birth.public)
    area = read_public(birth.public)
    if not is_recoverable(area):
        raise BadAttributes("cannot accept the request: DRSK does not have the attributes of one")
    if birth.attestation is None or birth.creation_data is None:
        return name, False
    if is_preset(area):
        raise CertificationInvalid("cannot accept the request: DRSK: an adopted key has no birth evidence")
    try:
        check_creation(birth.attestation, platform.ak, name, birth.creation_data, srk)
    except LmsError as error:
        raise CertificationInvalid(f"cannot accept the request: DRSK: {error}") from None
    return name, True


def read_authority_enrolment(document: bytes) -> VerifiedAuthorityEnrolment:
    """An MA's enrolment request with all its proofs; its EK is not judged yet.

    Raises the errors of `read_document`, WrongDocument (a platform's request), SignatureInvalid, BadAttributes,
    CertificationInvalid, RequestInvalid; each names the element that does not fit.
    """
    request, signed = ENROLMENT_REQUEST.read(document)
    assert isinstance(request, EnrolmentRequest)
    authority = request.authority
    if authority is None:
        raise WrongDocument("cannot enroll: this is not the request of a Migration Authority")
    _check_addresses(authority.addresses)
    tls_key = _tls_key(authority.tls_public)
    ek, ak_name, vault_name = _PROOFS[authority.mode](request, authority)
    if tls_key in (ec_public_key(read_public(p)) for p in (authority.vault, authority.ak) if p is not None):
        raise RequestInvalid("cannot accept the request: one key plays two roles")
    check_signature(signed, "TLSPublic", tls_key, Identity(Role.MIGRATION_AUTHORITY, authority.ma_id))
    ek_name = name_of(ek)
    expected = enrolment_id(authority.ma_id, request.base.nonce, ek_name, vault_name, ak_name, tls_key)
    check_request_id(request.base, expected)
    return VerifiedAuthorityEnrolment(
        request_id=request.base.request_id,
        authority=authority,
        ek=ek,
        ek_certificates=request.base.ek_certificates,
        ek_name=ek_name,
        ak_name=ak_name,
        vault_name=vault_name,
        trust_list_number=request.base.trust_list_number,
    )


def _check_addresses(addresses: tuple[str, ...]) -> None:
    for address in addresses:
        try:
            host_of(address)
        except ValueError as error:
            raise RequestInvalid(f"cannot accept the request: Address '{address}': {error}") from None


def _tls_key(public: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a SubjectPublicKeyInfo in the one encoding of PROTOCOL §0, on P-256."""
    try:
        key = load_der_public_key(public)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    match key:
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == public:
                return key
    raise RequestInvalid("cannot accept the request: TLSPublic is no key on P-256, uncompressed")


def _check_vault(vault: bytes, template: Callable[[ec.EllipticCurvePublicKey], bytes]) -> None:
    try:
        follows = template(ec_public_key(read_public(vault))) == vault
    except ValueError:  # another curve
        follows = False
    if not follows:
        raise BadAttributes("cannot accept the request: Vault does not follow the template of its mode")


def _proven_by_tpm(request: EnrolmentRequest, authority: AuthorityEnrolment) -> tuple[bytes, Name, Name]:
    ek, certify = request.base.ek, authority.vault_certify
    if ek is None or authority.ak is None or certify is None:
        raise RequestInvalid("cannot accept the request: mode 'tpm' without EK, AK and TPM2_Certify of Vault")
    vault = checked_key("Vault", AttestedKey(authority.vault, certify), authority.ak, SRK_ATTRIBUTES)
    _check_vault(authority.vault, vault_public)
    ak = attestation_key(authority.ak)
    check_roles(name_of(ek), ak, vault)
    return ek, ak, vault


def _proven_by_nothing(request: EnrolmentRequest, authority: AuthorityEnrolment) -> tuple[bytes, Name, Name]:
    base = request.base
    # What a software MA shows of a TPM would look like evidence, and is none.
    if base.ek is not None or base.ek_certificates or authority.ak is not None or authority.vault_certify is not None:
        raise RequestInvalid("cannot accept the request: mode 'software' with parts of a TPM")
    _check_vault(authority.vault, recovery_public)
    name = name_of(authority.vault)
    return authority.vault, name, name


_PROOFS: Final = {Mode.TPM: _proven_by_tpm, Mode.SOFTWARE: _proven_by_nothing}
