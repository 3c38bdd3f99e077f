"""`enroll msa`: ask the owner's Migration Selection Authority to know this platform, by file (PROTOCOL §6, §8)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from uuid import UUID

from lms.errors import GrantMismatch, NotProvisioned
from lms.model.exchange import (
    AttestedKey,
    BirthEvidence,
    EnrolmentGrant,
    EnrolmentRequest,
    PlatformEnrolment,
    RequestBase,
)
from lms.model.owner import Owner
from lms.model.platform import Birth, Enrolment, PlatformState, RecoverableKey
from lms.model.secret import Secret
from lms.model.trust import Role, TrustList
from lms.ports import EndorsementKey, Tpm
from lms.service.certified import certificate_for, open_certificates
from lms.service.setting import NO_SECRET, Setting, provisioned
from lms.service.signing import PlatformSigner, signer_of
from lms.wire.anchor import read_owner
from lms.wire.certificates import SignerRule, judge_signer
from lms.wire.document import root_name
from lms.wire.enrolment import enrolment_id
from lms.wire.exchange_v1 import ENROLMENT_GRANT, ENROLMENT_REQUEST, TRUST_LIST
from lms.wire.request_proofs import NONCE_SIZE
from lms.wire.signature import sign
from lms.wire.token_v1 import read_sheet
from lms.wire.tpm.public import ec_public_key, name_of, read_public
from lms.wire.trust_list import newer, read_trust_list

_GRANTERS = SignerRule(frozenset({Role.OWNER, Role.SIGNER}))


def request_enrolment(setting: Setting) -> tuple[bytes, bytes]:
    """A signed EnrolmentRequest and its RequestID. The same request is made until a grant answers it.

    Raises NotProvisioned.
    """
    state = provisioned(setting)
    if state.request_nonce is None:
        state = replace(state, request_nonce=secrets.token_bytes(NONCE_SIZE))
        setting.store.save(state)
    assert state.request_nonce is not None
    tpm, drsk = setting.tpm, state.require_drsk()
    ek = next((k for k in tpm.endorsement_keys() if name_of(k.public) == state.ek_name), None)
    srk = tpm.read_public(state.srk_handle)
    if ek is None or srk is None:
        raise NotProvisioned("cannot ask for enrolment: the TPM is not the one that was provisioned")
    applicant = Applicant(
        platform_id=state.platform_id,
        nonce=state.request_nonce,
        ek=ek,
        srk=srk,
        ak=tpm.attestation_key(),
        signer=signer_of(tpm, state),
        drsk=drsk.key.public,
        birth=drsk.birth,
        trust_list_number=_trust_list_number(state, read_owner(state.owner_document)),
    )
    return make_request(tpm, applicant)


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who asks to be enrolled: all publics are TPM2B_PUBLIC; `trust_list_number` is the newest known, 0 is none."""

    platform_id: UUID
    nonce: bytes
    ek: EndorsementKey
    srk: bytes
    ak: bytes
    signer: PlatformSigner
    drsk: bytes
    birth: Birth | None
    trust_list_number: int


def make_request(tpm: Tpm, applicant: Applicant) -> tuple[bytes, bytes]:
    """The signed EnrolmentRequest, and its RequestID."""
    ek, ak, signer = applicant.ek, applicant.ak, applicant.signer
    signing_key = signer.signing_key
    public = ec_public_key(read_public(signing_key.key.public))
    request_id = enrolment_id(
        applicant.platform_id, applicant.nonce, name_of(ek.public), name_of(applicant.srk), name_of(ak), public
    )
    base = RequestBase(
        request_id=request_id,
        nonce=applicant.nonce,
        ek=ek.public,
        ek_certificates=() if ek.certificate is None else (ek.certificate,),
        trust_list_number=applicant.trust_list_number,
    )
    # Evidence by an AK of an earlier board is of no use to whoever knows this board's AK only.
    born = applicant.birth if applicant.birth is not None and applicant.birth.ak == ak else None
    platform = PlatformEnrolment(
        platform_id=applicant.platform_id,
        ak=ak,
        srk=AttestedKey(applicant.srk, tpm.certify(signer.srk_handle, None, NO_SECRET)),
        signing_key=AttestedKey(
            signing_key.key.public, tpm.certify(signer.srk_handle, signing_key.key, signing_key.auth)
        ),
        drsk=BirthEvidence(
            applicant.drsk,
            None if born is None else born.creation_data,
            None if born is None else born.attestation,
            None,
        ),
    )
    document = ENROLMENT_REQUEST.write(EnrolmentRequest(base, platform, None))
    return sign(document, signer), request_id


def _request_id(state: PlatformState) -> bytes:
    signing_key = ec_public_key(read_public(state.require_signing_key().key.public))
    nonce = state.request_nonce or b""
    return enrolment_id(state.platform_id, nonce, state.ek_name, state.srk_name, state.ak_name, signing_key)


def _trust_list_number(state: PlatformState, owner: Owner) -> int:
    return 0 if state.trust_list is None else read_trust_list(state.trust_list, owner).number


def accept_grant(setting: Setting, document: bytes, endorsement_auth: Secret) -> PlatformState:
    """Take the certificates, trust list and sheet of a grant that answers our request; or a newer trust list alone.

    The grant that was taken last leaves the state as it is.
    Raises GrantMismatch, the errors of `judge_signer` and of the TPM, UntrustedSigner, TrustListConflict.
    """
    state = provisioned(setting)
    owner = read_owner(state.owner_document)
    if root_name(document) == TRUST_LIST.kind.root:
        return _accept_trust_list(setting, state, document, owner)
    grant, signed = ENROLMENT_GRANT.read(document)
    assert isinstance(grant, EnrolmentGrant)
    if state.request_nonce is None and state.enrolment is not None and grant.sheet == state.enrolment.sheet:
        return state
    trust_list = newer(state.trust_list, grant.trust_list, owner)
    trusted = read_trust_list(trust_list, owner)
    judge_signer(signed, _GRANTERS, owner, trusted, setting.now())
    if state.request_nonce is None or grant.request_id != _request_id(state) or grant.sheet is None:
        raise GrantMismatch("cannot take the grant: it does not answer this machine's request")
    _check_sheet(grant.sheet, state, owner, trusted)
    certificates = open_certificates(setting.tpm, state.ek_name, grant.certificates, endorsement_auth)
    signing_key = state.require_signing_key()
    ak = setting.tpm.attestation_key()
    ak_certificate = certificate_for(ak, certificates, state.platform_id, owner)
    state = replace(
        state,
        signing_key=replace(
            signing_key, certificate=certificate_for(signing_key.key.public, certificates, state.platform_id, owner)
        ),
        drsk=_with_evidence(state.require_drsk(), ak, ak_certificate),
        trust_list=trust_list,
        enrolment=Enrolment(ak_certificate, grant.sheet),
        request_nonce=None,
        time_floor=setting.now(),
    )
    setting.store.save(state)
    return state


def _accept_trust_list(setting: Setting, state: PlatformState, document: bytes, owner: Owner) -> PlatformState:
    state = replace(state, trust_list=newer(state.trust_list, document, owner))
    setting.store.save(state)
    return state


def _check_sheet(document: bytes, state: PlatformState, owner: Owner, trusted: TrustList) -> None:
    sheet, signed = read_sheet(document)
    judge_signer(signed, _GRANTERS, owner, trusted, trusted.issued)
    drsk = state.require_drsk()
    expected = (state.platform_id, owner.document, drsk.policy, drsk.key.public)
    if (sheet.platform_id, sheet.owner_document, sheet.policy, sheet.drsk) != expected:
        raise GrantMismatch("cannot take the grant: its recovery sheet is another platform's")


def _with_evidence(drsk: RecoverableKey, ak: bytes, certificate: bytes) -> RecoverableKey:
    """Birth evidence by this AK can now be checked by others: its certificate goes with it from here on."""
    if drsk.birth is None or drsk.birth.ak != ak:
        return drsk
    return replace(drsk, birth=replace(drsk.birth, certificate=certificate))
