"""What an MSA grants to a platform that it has judged: certificates, trust list, recovery sheet (PROTOCOL §6)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from cryptography import x509

from lms.errors import DigitsDiffer, EkUntrusted, LmsError, PolicyMismatch, TakeOver, TrustListConflict
from lms.model.exchange import EncryptedCertificates, EnrolmentGrant, VerifiedEnrolment
from lms.model.keys import digits, same_digits
from lms.model.owner import Owner, RecoverySheet, SheetAuthority
from lms.model.policies import DuplicationPolicy
from lms.model.release import EnrolmentAnswer, EnrolmentOrder
from lms.model.secret import Secret
from lms.model.trust import Identity, Mode, Pair, Role, TrustedPlatform, TrustList
from lms.service.selection import judge_ek
from lms.wire.certificates import OwnerSigner, issue
from lms.wire.content import KEY_SIZE, NONCE_SIZE, encrypt
from lms.wire.endorsement import check_endorsement_key
from lms.wire.enrolment import read_platform_enrolment
from lms.wire.exchange_v1 import ENROLMENT_GRANT, TRUST_LIST, CertificateBundle, write_bundle
from lms.wire.seed import OwnerKeys
from lms.wire.signature import sign
from lms.wire.token_v1 import write_sheet
from lms.wire.tpm.credential import make_credential
from lms.wire.tpm.policy import duplication_policy_digest
from lms.wire.tpm.public import ec_public_key, name_of, read_public
from lms.wire.trust_list import read_trust_list


def grant(order: EnrolmentOrder, owner: Owner, keys: OwnerKeys) -> EnrolmentAnswer:
    """Judge an enrolment request and grant it.

    Raises the errors of `read_platform_enrolment`, DigitsDiffer, EkUntrusted, PolicyMismatch, TakeOver,
    TrustListConflict.
    """
    enrolment = read_platform_enrolment(order.request)
    if not same_digits(order.digits, enrolment.request_id):
        raise DigitsDiffer(f"cannot approve: the request's digits are {digits(enrolment.request_id)}, not those given")
    judge_ek(enrolment.ek)
    known = None if order.trust_list is None else read_trust_list(order.trust_list, owner)
    _judge_ek(enrolment, order, known)
    policy = _policy(enrolment, owner)
    signer = OwnerSigner(keys.ca, owner.ca_certificate)
    listed = _listed(enrolment, known, owner, order)
    trust_list = order.trust_list
    if trust_list is None or listed is not known:
        trust_list = sign(TRUST_LIST.write(listed), signer)
    sheet = RecoverySheet(
        platform_id=enrolment.platform.platform_id,
        owner_document=owner.document,
        policy=policy,
        authorities=tuple(SheetAuthority(a.ma_id, a.addresses[0], name_of(a.vault)) for a in listed.authorities),
        drsk=enrolment.platform.drsk.public,
        sequence=0,
    )
    answer = EnrolmentGrant(
        request_id=enrolment.request_id,
        certificates=_certificates(enrolment, owner, keys, order.now),
        approvals=tuple(a for authority in listed.authorities for a in authority.approvals),
        trust_list=trust_list,
        sheet=sign(write_sheet(sheet), signer),
        mode=Mode.TPM,
        combined=False,
    )
    return EnrolmentAnswer(sign(ENROLMENT_GRANT.write(answer), signer), trust_list)


def _roots(certificates: Sequence[bytes]) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
    parsed = [x509.load_der_x509_certificate(c) for c in certificates]
    return [c for c in parsed if c.issuer == c.subject], [c for c in parsed if c.issuer != c.subject]


def _judge_ek(enrolment: VerifiedEnrolment, order: EnrolmentOrder, known: TrustList | None) -> None:
    if order.vouch or (known is not None and enrolment.ek in known.vouched_eks):
        return
    roots, intermediates = _roots(order.ek_roots)
    refusal: LmsError = EkUntrusted("cannot approve: the request carries no certificate of its EK")
    for certificate in enrolment.ek_certificates:
        try:
            check_endorsement_key(enrolment.ek, certificate, roots, intermediates, order.now)
        except EkUntrusted as error:
            refusal = error
        else:
            return
    raise refusal


def _policy(enrolment: VerifiedEnrolment, owner: Owner) -> DuplicationPolicy:
    """The branches of the DRSK, found by recomputing its policy from what this owner has."""
    kept = read_public(enrolment.platform.drsk.public).policy
    for offline in ((), (owner.recovery_key_name,)):
        policy = DuplicationPolicy.of((owner.approval_root_name,), offline)
        if duplication_policy_digest(policy) == kept:
            return policy
    raise PolicyMismatch("cannot approve: DRSK does not have a policy of this owner")


def _listed(enrolment: VerifiedEnrolment, known: TrustList | None, owner: Owner, order: EnrolmentOrder) -> TrustList:
    """The trust list with this platform in it: the same object where it is there already."""
    before = known or TrustList(0, owner.fingerprint, order.now, (), (), (), ())
    pair = Pair(enrolment.ek_name, enrolment.srk_name)
    found = next((p for p in before.platforms if p.platform_id == enrolment.platform.platform_id), None)
    if any(enrolment.drsk_name in p.drsk_names for p in before.platforms if p is not found):
        raise TakeOver("cannot approve: its recoverable key is known as another platform's")
    pairs = () if found is None else found.pairs
    if found is not None and pair not in pairs and not order.replacement:
        raise TakeOver(f"cannot approve: platform {found.platform_id} is known with another TPM")
    drsks = () if found is None else found.drsk_names
    vouched = before.vouched_eks
    if order.vouch and enrolment.ek not in vouched:
        vouched = (*vouched, enrolment.ek)
    if pair in pairs and enrolment.drsk_name in drsks and vouched == before.vouched_eks:
        return before
    if pair not in pairs:
        pairs = (*pairs, pair)
    if enrolment.drsk_name not in drsks:
        drsks = (*drsks, enrolment.drsk_name)
    entry = TrustedPlatform(enrolment.platform.platform_id, pairs, drsks)
    others = tuple(p for p in before.platforms if p.platform_id != entry.platform_id)
    if order.now < before.issued:
        raise TrustListConflict("cannot approve: the clock is behind the newest trust list")
    return replace(before, number=before.number + 1, issued=order.now, platforms=(*others, entry), vouched_eks=vouched)


def _certificates(enrolment: VerifiedEnrolment, owner: Owner, keys: OwnerKeys, now: datetime) -> EncryptedCertificates:
    """Certificates for signing key and AK, to be opened only where EK and AK are on one chip."""
    identity = Identity(Role.PLATFORM, enrolment.platform.platform_id)
    made = tuple(
        issue(identity, ec_public_key(read_public(public)), owner.ca_certificate, keys.ca, now, attestation=attests)
        for public, attests in ((enrolment.platform.signing_key.public, False), (enrolment.platform.ak, True))
    )
    key = Secret(secrets.token_bytes(KEY_SIZE))
    return EncryptedCertificates(
        make_credential(enrolment.ek, key.reveal(), enrolment.ak_name),
        encrypt(key, secrets.token_bytes(NONCE_SIZE), write_bundle(CertificateBundle(made))),
    )
