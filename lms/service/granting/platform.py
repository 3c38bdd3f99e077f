"""What an MSA grants to a platform that it has judged: certificates, trust list, recovery sheet (PROTOCOL §6)."""

from __future__ import annotations

from lms.errors import SignerWithdrawn, TakeOver
from lms.model.exchange import EnrolmentGrant, VerifiedEnrolment
from lms.model.owner import Owner
from lms.model.release import EnrolmentAnswer, EnrolmentOrder
from lms.model.trust import Identity, Mode, Pair, Role, TrustedPlatform, TrustList
from lms.service.judgement import (
    encrypt_certificates,
    issue_platform,
    judge_digits,
    judge_genuine,
    make_sheet,
    next_trust_list,
    open_register,
    sign_trust_list,
    with_pair,
    with_vouched,
)
from lms.service.selection import judge_ek
from lms.wire.certificates import OwnerSigner
from lms.wire.enrolment import read_platform_enrolment
from lms.wire.exchange_v1 import ENROLMENT_GRANT
from lms.wire.seed import OwnerKeys
from lms.wire.signature import sign
from lms.wire.token_v1 import write_sheet


def grant_platform(order: EnrolmentOrder, owner: Owner, keys: OwnerKeys) -> EnrolmentAnswer:
    """Judge the enrolment request of a platform and grant it.

    Raises the errors of `read_platform_enrolment`, DigitsDiffer, RegisterStale, EkUntrusted, PolicyMismatch,
    SignerWithdrawn, TakeOver, TrustListConflict.
    """
    enrolment = read_platform_enrolment(order.request)
    judge_digits(order.digits, enrolment.request_id)
    known = open_register(order.trust_list, owner, enrolment.trust_list_number, order.now)
    identity = Identity(Role.PLATFORM, enrolment.platform.platform_id)
    if known.withdrawn_since(identity) is not None:
        raise SignerWithdrawn(f"cannot approve: '{identity.urn}' was withdrawn")
    judge_ek(enrolment.ek)
    vouching = with_vouched(known, enrolment.ek) if order.vouch else known
    judge_genuine(enrolment.ek, enrolment.ek_certificates, order.ek_roots, vouching, order.now)
    platform = enrolment.platform
    listed = next_trust_list(known, _with_platform(vouching, enrolment, order), order.now)
    signer = OwnerSigner(keys.ca, owner.ca_certificate)
    trust_list = sign_trust_list(listed, known, order.trust_list, signer)
    sheet = sign(write_sheet(make_sheet(platform.platform_id, platform.drsk.public, owner, listed, 0)), signer)
    certificates = issue_platform(
        platform.platform_id, platform.signing_key.public, platform.ak, owner, keys, order.now
    )
    answer = EnrolmentGrant(
        request_id=enrolment.request_id,
        certificates=encrypt_certificates(certificates, enrolment.ek, enrolment.ak_name),
        approvals=tuple(a for authority in listed.standing_authorities for a in authority.approvals),
        trust_list=trust_list,
        sheet=sheet,
        mode=Mode.TPM,
        combined=order.combined,
    )
    return EnrolmentAnswer(sign(ENROLMENT_GRANT.write(answer), signer), trust_list, sheet)


def _with_platform(known: TrustList, enrolment: VerifiedEnrolment, order: EnrolmentOrder) -> TrustList:
    """The trust list with this platform in it."""
    pair = Pair(enrolment.ek_name, enrolment.srk_name)
    found = known.platform(enrolment.platform.platform_id)
    if any(enrolment.drsk_name in p.drsk_names for p in known.platforms if p is not found):
        raise TakeOver("cannot approve: its recoverable key is known as another platform's")
    pairs, drsks = ((), ()) if found is None else (found.pairs, found.drsk_names)
    if found is not None and pair not in pairs and not order.replacement:
        raise TakeOver(f"cannot approve: platform {found.platform_id} is known with another TPM")
    return known.with_platform(
        TrustedPlatform(
            enrolment.platform.platform_id,
            with_pair(pairs, pair, order.stolen),
            drsks if enrolment.drsk_name in drsks else (*drsks, enrolment.drsk_name),
        )
    )
