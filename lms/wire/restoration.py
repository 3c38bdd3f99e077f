"""Restore through a Migration Authority: request, annex and approval, each with its proofs (PROTOCOL §3, §5, §6).

All three travel through other hands. A request is bound to one chip as an enrolment is (`lms.wire.request_proofs`),
an annex to one request and one authority, an approval to its signer, its time and the newest trust list. What may be
approved, `lms.service.approving` judges; nothing here opens a key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec

from lms.errors import ApprovalExpired, OwnerMismatch, RequestInvalid, SignerWithdrawn, WrongDocument, WrongRole
from lms.model.exchange import (
    Entry,
    ReleasedPackage,
    RestoreAnnex,
    RestoreApproval,
    RestoreRequest,
    RewrappedPackage,
    VerifiedRestoreRequest,
)
from lms.model.keys import Name
from lms.model.owner import Owner
from lms.model.packages import Signed
from lms.model.trust import Identity, Pair, Role, TrustList
from lms.wire.certificates import SignerRule, judge_signer
from lms.wire.exchange_v1 import (
    RELEASED_PACKAGE,
    RESTORE_ANNEX,
    RESTORE_APPROVAL,
    RESTORE_REQUEST,
    REWRAPPED_PACKAGE,
)
from lms.wire.request_proofs import (
    attestation_key,
    check_request_id,
    check_roles,
    check_signature,
    checked_key,
    request_id,
)
from lms.wire.signature import read_certificate, verify
from lms.wire.tls import tls_key
from lms.wire.token_v1 import read_sheet
from lms.wire.tpm.public import SIGNING_ATTRIBUTES, SRK_ATTRIBUTES, ec_public_key, name_of, read_public
from lms.wire.trust_list import newer, read_trust_list

_RESTORE: Final = b"localmigration:restore:1"
_AUTHORITIES: Final = SignerRule(frozenset({Role.MIGRATION_AUTHORITY}))
_APPROVERS: Final = SignerRule(frozenset({Role.OWNER, Role.SIGNER}))


def restore_id(
    platform_id: UUID, nonce: bytes, ek: Name, srk: Name, ak: Name, signing_key: ec.EllipticCurvePublicKey
) -> bytes:
    """RequestID of a restore: SHA-256 over who asks, for which keys (PROTOCOL §6)."""
    return request_id(_RESTORE, platform_id, nonce, ek, srk, ak, signing_key)


def _check_entries(entries: Sequence[Entry]) -> None:
    if len({(e.key_id, e.destination_id) for e in entries}) != len(entries):
        raise RequestInvalid("cannot accept the entries: one key is there twice for one destination")


def read_restore_request(document: bytes) -> VerifiedRestoreRequest:
    """A platform's restore request with all its proofs; the EK is not judged yet, the entries prove nothing.

    Raises the errors of `read_document`, WrongDocument (no TPM), SignatureInvalid, BadAttributes,
    CertificationInvalid, RequestInvalid; each names the element that does not fit.
    """
    request, signed = RESTORE_REQUEST.read(document)
    assert isinstance(request, RestoreRequest)
    ek = request.base.ek
    if ek is None:
        raise WrongDocument("cannot restore: this is not the request of a platform with a TPM")
    signing = checked_key("SigningKey", request.signing_key, request.ak, SIGNING_ATTRIBUTES)
    srk = checked_key("SRK", request.srk, request.ak, SRK_ATTRIBUTES)
    signing_key = ec_public_key(read_public(request.signing_key.public))
    check_signature(signed, "SigningKey", signing_key, Identity(Role.PLATFORM, request.platform_id))
    ak, ek_name = attestation_key(request.ak), name_of(ek)
    check_request_id(request.base, restore_id(request.platform_id, request.base.nonce, ek_name, srk, ak, signing_key))
    check_roles(signing, srk, ak, ek_name)
    _check_entries(request.entries)
    return VerifiedRestoreRequest(request, hashlib.sha256(document).digest(), ek, ek_name, ak, srk)


def _known_key(signed: Signed, trust_list: TrustList | None) -> UUID | None:
    """The MAID under which the trust list knows the key that signed: an MA of several owners has one TLS key."""
    _, key = read_certificate(signed.certificates[0])
    authorities = () if trust_list is None else trust_list.authorities
    return next((a.ma_id for a in authorities if a.tls_key == tls_key(key)), None)


def _authority(signed: Signed, owner: Owner, trust_list: TrustList | None, when: datetime) -> UUID:
    verify(signed)
    known = _known_key(signed, trust_list)
    if known is None:
        identity, _ = judge_signer(signed, _AUTHORITIES, owner, trust_list, when)
        assert identity.uuid is not None
        return identity.uuid
    since = None if trust_list is None else trust_list.withdrawn_since(Identity(Role.MIGRATION_AUTHORITY, known))
    if since is not None and when >= since:
        raise SignerWithdrawn(f"cannot accept what authority {known} signed: it was withdrawn")
    return known


def read_annex(
    document: bytes, request: VerifiedRestoreRequest, owner: Owner, trust_list: TrustList | None
) -> RestoreAnnex:
    """What an MA of this owner claims to hold for this very request, at its own destination.

    Signed under a certificate of the owner's CA, or by a TLS key that the trust list names. Withdrawal is judged at
    the trust list's own time: Stored is the MA's word. Raises the errors of `judge_signer`, RequestInvalid, WrongRole.
    """
    annex, signed = RESTORE_ANNEX.read(document)
    assert isinstance(annex, RestoreAnnex)
    when = annex.stored if trust_list is None else max(annex.stored, trust_list.issued)
    authority = _authority(signed, owner, trust_list, when)
    if (annex.request_id, annex.request_digest) != (request.request_id, request.digest):
        raise RequestInvalid("cannot accept the annex: it answers another request")
    held = request.request.package_id
    if held is not None and (annex.package_id, annex.sequence) != (held, request.request.sequence):
        raise RequestInvalid("cannot accept the annex: it is about another package than the request")
    if any(entry.destination_id != str(authority) for entry in annex.entries):
        raise WrongRole(f"cannot accept the annex: authority {authority} speaks for another destination")
    _check_entries(annex.entries)
    return annex


def read_released_package(document: bytes, ma_id: UUID, owner: Owner, trust_list: TrustList | None) -> ReleasedPackage:
    """What this MA released: signed by its TLS key. Package, approval and blobs in it are still to be judged.

    Raises the errors of `judge_signer`, WrongRole where another authority signed.
    """
    released, signed = RELEASED_PACKAGE.read(document)
    assert isinstance(released, ReleasedPackage)
    _check_releaser(signed, ma_id, owner, trust_list)
    return released


def read_rewrapped_package(
    document: bytes, ma_id: UUID, owner: Owner, trust_list: TrustList | None
) -> RewrappedPackage:
    """What this MA passed on to a pair that it knows: signed by its TLS key. The blobs in it are still to be judged.

    Raises the errors of `judge_signer`, WrongRole where another authority signed.
    """
    rewrapped, signed = REWRAPPED_PACKAGE.read(document)
    assert isinstance(rewrapped, RewrappedPackage)
    _check_releaser(signed, ma_id, owner, trust_list)
    return rewrapped


def _check_releaser(signed: Signed, ma_id: UUID, owner: Owner, trust_list: TrustList | None) -> None:
    # The time of a release is nowhere in it: withdrawn is withdrawn.
    signer = _authority(signed, owner, trust_list, datetime.max.replace(tzinfo=UTC))
    if signer != ma_id:
        raise WrongRole(f"cannot take what authority {signer} released: it was asked of {ma_id}")


def _pairs(trust_list: TrustList, platform_id: UUID) -> set[Pair]:
    return {pair for p in trust_list.platforms if p.platform_id == platform_id for pair in p.pairs}


def read_restore_approval(
    document: bytes, owner: Owner, trust_list: bytes | None, now: datetime | None = None
) -> RestoreApproval:
    """An approval signed for this owner, with its trust list and sheet; its time is judged where `now` is given.

    `trust_list` is the newest one known here. An approval with an older one stands as long as no pair of its
    platform was taken back since: a fleet's list grows daily, and a withdrawn chip must not come back by an old
    approval. Which request it answers is compared by the caller. Raises the errors of `judge_signer` and of
    `newer`, ApprovalExpired, OwnerMismatch.
    """
    approval, signed = RESTORE_APPROVAL.read(document)
    assert isinstance(approval, RestoreApproval)
    own = read_trust_list(approval.trust_list, owner)
    newest = read_trust_list(newer(trust_list, approval.trust_list, owner), owner)
    # A withdrawn signer would date its approval back: without a clock, the newest list's time is the least.
    when = max(approval.not_before, newest.issued) if now is None else now
    judge_signer(signed, _APPROVERS, owner, newest, when)
    sheet, sheet_signed = read_sheet(approval.sheet)
    judge_signer(sheet_signed, _APPROVERS, owner, newest, when)
    if sheet.owner_document != owner.document:
        raise OwnerMismatch("cannot accept the approval: its recovery sheet is another owner's")
    if now is not None and not approval.not_before <= now < approval.not_after:
        raise ApprovalExpired(
            f"cannot accept the approval: it holds from {approval.not_before:%Y-%m-%d %H:%M}"
            f" to {approval.not_after:%Y-%m-%d %H:%M}"
        )
    if not _pairs(own, sheet.platform_id) <= _pairs(newest, sheet.platform_id):
        raise ApprovalExpired("cannot accept the approval: since then a TPM of its platform was taken back")
    _check_entries(approval.entries)
    return approval
