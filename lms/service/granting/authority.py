"""What an MSA grants to a Migration Authority that it has judged (PROTOCOL §2, §6; DESIGN §3).

Its vault is approved for all keys and its TLS key is certified for its hosts; from then on the trust list names it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from lms.errors import SignerWithdrawn, TakeOver
from lms.model.addresses import host_of
from lms.model.exchange import EnrolmentGrant, VerifiedAuthorityEnrolment
from lms.model.keys import Name
from lms.model.owner import Owner
from lms.model.packages import MsaApproval
from lms.model.policies import POLICY_REF
from lms.model.release import EnrolmentAnswer, EnrolmentOrder
from lms.model.trust import Identity, Mode, Role, TrustedAuthority, TrustList
from lms.service.judgement import (
    encrypt_certificates,
    judge_digits,
    judge_genuine,
    next_trust_list,
    open_register,
    sign_trust_list,
    with_vouched,
)
from lms.service.selection import judge_ek
from lms.wire.certificates import OwnerSigner, issue
from lms.wire.enrolment import read_authority_enrolment
from lms.wire.exchange_v1 import ENROLMENT_GRANT
from lms.wire.seed import OwnerKeys
from lms.wire.signature import sign
from lms.wire.tls import tls_key
from lms.wire.tpm.policy import approval_digest, duplication_select
from lms.wire.tpm.signature import sign_digest


def grant_authority(order: EnrolmentOrder, owner: Owner, keys: OwnerKeys) -> EnrolmentAnswer:
    """Judge the enrolment request of an MA and grant it.

    Raises the errors of `read_authority_enrolment`, DigitsDiffer, RegisterStale, EkUntrusted, SignerWithdrawn,
    TakeOver, TrustListConflict.
    """
    enrolment = read_authority_enrolment(order.request)
    judge_digits(order.digits, enrolment.request_id)
    known = open_register(order.trust_list, owner, enrolment.trust_list_number, order.now)
    if known.withdrawn_since(_identity(enrolment)) is not None:
        raise SignerWithdrawn(f"cannot approve: '{_identity(enrolment).urn}' was withdrawn")
    vouching = _judged(enrolment, known, order)
    entry = _entry(enrolment, known, order, owner, keys)
    others = tuple(a for a in vouching.authorities if a.ma_id != entry.ma_id)
    changed = vouching if entry in vouching.authorities else replace(vouching, authorities=(*others, entry))
    listed = next_trust_list(known, changed, order.now)
    signer = OwnerSigner(keys.ca, owner.ca_certificate)
    trust_list = sign_trust_list(listed, known, order.trust_list, signer)
    answer = EnrolmentGrant(
        request_id=enrolment.request_id,
        certificates=encrypt_certificates(
            (_certificate(enrolment, owner, keys, order.now),), enrolment.ek, enrolment.ak_name
        ),
        approvals=entry.approvals,
        trust_list=trust_list,
        sheet=None,
        mode=entry.mode,
        combined=entry.combined,
    )
    return EnrolmentAnswer(sign(ENROLMENT_GRANT.write(answer), signer), trust_list)


def _identity(enrolment: VerifiedAuthorityEnrolment) -> Identity:
    return Identity(Role.MIGRATION_AUTHORITY, enrolment.authority.ma_id)


def _tls_public(enrolment: VerifiedAuthorityEnrolment) -> ec.EllipticCurvePublicKey:
    key = load_der_public_key(enrolment.authority.tls_public)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def _judged(enrolment: VerifiedAuthorityEnrolment, known: TrustList, order: EnrolmentOrder) -> TrustList:
    """The trust list that answers for the MA's TPM; an MA without one stays in mode `software`, whoever vouches."""
    if enrolment.authority.mode is Mode.SOFTWARE:
        return known
    judge_ek(enrolment.ek)
    vouching = with_vouched(known, enrolment.ek) if order.vouch else known
    judge_genuine(enrolment.ek, enrolment.ek_certificates, order.ek_roots, vouching, order.now)
    return vouching


def _entry(
    enrolment: VerifiedAuthorityEnrolment, known: TrustList, order: EnrolmentOrder, owner: Owner, keys: OwnerKeys
) -> TrustedAuthority:
    """What the trust list says of this MA from now on. Raises TakeOver."""
    authority, key = enrolment.authority, tls_key(_tls_public(enrolment))
    found = next((a for a in known.authorities if a.ma_id == authority.ma_id), None)
    if any(authority.vault == a.vault or key == a.tls_key for a in known.authorities if a is not found):
        raise TakeOver("cannot approve: its vault or TLS key is known as another authority's")
    same_vault = found is not None and found.vault == authority.vault
    if found is not None and not (same_vault and found.tls_key == key) and not order.replacement:
        raise TakeOver(f"cannot approve: authority {found.ma_id} is known with another vault or TLS key")
    approvals = found.approvals if found is not None and same_vault else (_approval(enrolment.vault_name, owner, keys),)
    return TrustedAuthority(
        ma_id=authority.ma_id,
        addresses=authority.addresses,
        mode=authority.mode,
        combined=order.combined,
        tls_key=key,
        vault=authority.vault,
        approvals=approvals,
    )


def _approval(vault: Name, owner: Owner, keys: OwnerKeys) -> MsaApproval:
    """The approval root's word on a vault, for all keys; the policy is computed here from the Name alone."""
    policy = duplication_select(vault)
    signature = sign_digest(keys.approval, approval_digest(policy, POLICY_REF))
    return MsaApproval(owner.approval_root, policy, POLICY_REF, signature)


def _certificate(enrolment: VerifiedAuthorityEnrolment, owner: Owner, keys: OwnerKeys, now: datetime) -> bytes:
    hosts = tuple(host_of(address) for address in enrolment.authority.addresses)
    return issue(_identity(enrolment), _tls_public(enrolment), owner.ca_certificate, keys.ca, now, hosts=hosts)
