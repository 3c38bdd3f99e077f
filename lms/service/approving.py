"""What an MSA approves of a restore through a Migration Authority: inner keys for the new chip (PROTOCOL §3, §6, §8).

The approver's digits are the proof that a new TPM of a known platform is the right one. Each inner key is opened
with the recovery key, compared with platform and key, and encrypted unchanged for the chip that was judged: no
blob is seen here, no digest is signed that was given, and without the authority's rewrap nothing of it opens a key.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from lms.errors import (
    BadRequest,
    InnerKeyMismatch,
    LmsError,
    NotEnrolled,
    OwnerMismatch,
    PackageStale,
    SignerWithdrawn,
)
from lms.model.exchange import Entry, RestoreAnnex, RestoreApproval, RestoreRequest, VerifiedRestoreRequest
from lms.model.owner import Owner, RecoverySheet
from lms.model.packages import InnerKey
from lms.model.release import RestorationAnswer, RestorationOrder
from lms.model.trust import Identity, Role, TrustedPlatform, TrustList
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
from lms.service.selection import judge_new_chip
from lms.wire.certificates import OwnerSigner, SignerRule, judge_signer
from lms.wire.exchange_v1 import RESTORE_APPROVAL
from lms.wire.restoration import read_annex, read_restore_request
from lms.wire.seed import OwnerKeys
from lms.wire.signature import sign
from lms.wire.token_v1 import read_sheet, write_sheet
from lms.wire.tpm.credential import make_credential, open_credential
from lms.wire.tpm.inner_key import read_inner_plaintext
from lms.wire.tpm.public import name_of

# An approval goes to an authority at once: its clock may be behind the approver's.
_CLOCKS_DIFFER = timedelta(minutes=5)
_ISSUERS = SignerRule(frozenset({Role.OWNER, Role.SIGNER}))


@dataclass(frozen=True, slots=True)
class _Claim:
    """The package that is asked for, as requester or authority names it."""

    package_id: UUID
    sequence: int
    entries: tuple[Entry, ...]


def approve_restore(order: RestorationOrder, owner: Owner, keys: OwnerKeys) -> RestorationAnswer:
    """Judge a restore request and approve it; the same request may be approved again.

    The new pair goes into the trust list. The platform's other pairs stay in it, because keys and archive are
    theirs until the new one has archived; with `stolen` they go at once.
    Raises the errors of `read_restore_request` and `read_annex`, DigitsDiffer, RegisterStale, EkUntrusted,
    BadAttributes, NotEnrolled, SignerWithdrawn, PackageStale, InnerKeyMismatch, TrustListConflict, BadRequest.
    """
    asked = read_restore_request(order.request)
    judge_digits(order.digits, asked.request_id)
    request = asked.request
    known = open_register(order.trust_list, owner, request.base.trust_list_number, order.now)
    judge_new_chip(asked.ek, request.srk.public, request.signing_key.public)
    vouching = with_vouched(known, asked.ek) if order.vouch else known
    judge_genuine(asked.ek, request.base.ek_certificates, order.ek_roots, vouching, order.now)
    platform = _known_platform(request.platform_id, known)
    before = _known_sheet(order, platform, owner, known)
    annex = None if order.annex is None else read_annex(order.annex, asked, owner, known)
    claim = _claimed(request, annex)
    _judge_times(order, claim, before)
    entries = tuple(_granted(e, asked, platform, known, owner, keys) for e in _standing(claim.entries, known))
    approved = replace(platform, pairs=with_pair(platform.pairs, asked.pair, order.stolen))
    listed = next_trust_list(known, vouching.with_platform(approved), order.now)
    signer = OwnerSigner(keys.ca, owner.ca_certificate)
    trust_list = sign_trust_list(listed, known, order.trust_list, signer)
    # The package's Sequence is a claim: a sheet that believed it could be driven out of reach of every package.
    sheet = make_sheet(platform.platform_id, before.drsk, owner, listed, before.sequence)
    certificates = issue_platform(platform.platform_id, request.signing_key.public, request.ak, owner, keys, order.now)
    approval = RestoreApproval(
        request_id=asked.request_id,
        package_id=claim.package_id,
        not_before=order.now - _CLOCKS_DIFFER,
        not_after=order.not_after,
        entries=entries,
        certificates=encrypt_certificates(certificates, asked.ek, asked.ak_name),
        trust_list=trust_list,
        sheet=sign(write_sheet(sheet), signer),
        supersedes=_superseded(order, annex, asked.request_id),
        stolen=order.stolen,
    )
    return RestorationAnswer(sign(RESTORE_APPROVAL.write(approval), signer), trust_list, approval.sheet)


def _known_platform(platform_id: UUID, known: TrustList) -> TrustedPlatform:
    platform = known.platform(platform_id)
    if platform is None:
        raise NotEnrolled(f"cannot approve: the trust list knows no platform {platform_id}")
    if known.withdrawn_since(Identity(Role.PLATFORM, platform_id)) is not None:
        raise SignerWithdrawn(f"cannot approve: platform {platform_id} was withdrawn")
    return platform


def _known_sheet(order: RestorationOrder, platform: TrustedPlatform, owner: Owner, known: TrustList) -> RecoverySheet:
    """The platform's last sheet: the one place where its DRSK's public stands."""
    sheet, signed = read_sheet(order.sheet)
    judge_signer(signed, _ISSUERS, owner, known, known.issued)
    if sheet.owner_document != owner.document:
        raise OwnerMismatch("cannot approve: the recovery sheet is another owner's")
    if sheet.platform_id != platform.platform_id or name_of(sheet.drsk) not in platform.drsk_names:
        raise NotEnrolled("cannot approve: the recovery sheet is another platform's, or for a key that is not known")
    return sheet


def _claimed(request: RestoreRequest, annex: RestoreAnnex | None) -> _Claim:
    if request.package_id is not None and request.sequence is not None:
        return _Claim(request.package_id, request.sequence, request.entries)
    if annex is None:
        raise BadRequest("cannot approve: the request names no package; give the annex of an authority that has one")
    return _Claim(annex.package_id, annex.sequence, annex.entries)


def _judge_times(order: RestorationOrder, claim: _Claim, before: RecoverySheet) -> None:
    if claim.sequence < before.sequence and claim.sequence != order.accepted_stale:
        raise PackageStale(f"cannot approve Sequence {claim.sequence}: {before.sequence} is known")
    if order.not_after <= order.now:
        raise BadRequest("cannot approve: the approval would end before it begins")


def _standing(entries: tuple[Entry, ...], known: TrustList) -> tuple[Entry, ...]:
    """The entries without those at withdrawn authorities: the machine that names one may not know it yet."""
    withdrawn = {w.identity for w in known.withdrawn}
    gone = {str(a.ma_id) for a in known.authorities if a.role_identity in withdrawn}
    left = tuple(entry for entry in entries if entry.destination_id not in gone)
    if entries and not left:
        raise SignerWithdrawn("cannot approve: every authority that the request names was withdrawn")
    return left


def _granted(
    entry: Entry,
    asked: VerifiedRestoreRequest,
    platform: TrustedPlatform,
    known: TrustList,
    owner: Owner,
    keys: OwnerKeys,
) -> Entry:
    """The entry with its inner key for the new chip in place of those that it came with."""
    if entry.key_id not in platform.drsk_names:
        raise NotEnrolled(f"cannot approve key {entry.key_id.digits}: it is not known as this platform's")
    if entry.destination_id not in {str(a.ma_id) for a in known.standing_authorities}:
        raise NotEnrolled(f"cannot approve key {entry.key_id.digits}: no authority '{entry.destination_id}' is known")
    plaintext = _inner_plaintext(entry, platform.platform_id, owner, keys)
    credential = make_credential(asked.ek, plaintext, asked.srk_name)
    return Entry(entry.key_id, entry.destination_id, (InnerKey(asked.ek_name, credential),))


def _inner_plaintext(entry: Entry, platform_id: UUID, owner: Owner, keys: OwnerKeys) -> bytes:
    for inner in entry.inner_keys:
        if inner.recipient == owner.recovery_key_name:
            try:
                plaintext = open_credential(
                    keys.recovery, owner.recovery_key, owner.recovery_key_name, inner.credential
                )
                read_inner_plaintext(plaintext, platform_id, entry.key_id)
            except LmsError as error:
                raise InnerKeyMismatch(f"cannot approve key {entry.key_id.digits}: {error}") from None
            return plaintext
    raise InnerKeyMismatch(f"cannot approve key {entry.key_id.digits}: its inner key is not for this token")


def _superseded(order: RestorationOrder, annex: RestoreAnnex | None, own: bytes) -> tuple[bytes, ...]:
    """All earlier RequestIDs, each once; an approval that is given again does not end itself."""
    earlier = (*order.supersedes, *(() if annex is None else annex.earlier_releases))
    return tuple(dict.fromkeys(request_id for request_id in earlier if request_id != own))
