"""Requests that wait at a Migration Authority for its owner's MSA (PROTOCOL §6, §7).

Whoever has a TPM may leave one and fetch its answer. The MA keeps them and judges only what keeps its queue
clean; whether to approve is the MSA's.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from lms.errors import Denied, LmsError, NotAtAuthority, NotAuthorised, QuotaExceeded
from lms.model.authorities import KeptRequest, Receipt, RequestKind, RequestState
from lms.model.keys import digits
from lms.model.trust import Pair
from lms.ports import VaultTransaction
from lms.service.keeping.access import (
    Served,
    Station,
    keep_trust_list,
    served_by_policy,
    served_for,
    served_owners,
    signed_by_msa,
)
from lms.service.keeping.sessions import Claim
from lms.service.keeping.setting import AuthoritySetting
from lms.wire.enrolment import read_platform_enrolment
from lms.wire.exchange_v1 import ENROLMENT_GRANT, TRUST_LIST
from lms.wire.restoration import read_restore_approval, read_restore_request

_NOBODY: Final = b""
# An answered restore stays as long as an old approval of it may turn up: what was denied stays denied.
_FORGOTTEN_AFTER: Final[dict[tuple[RequestKind, RequestState], timedelta]] = {
    (RequestKind.ENROLMENT, RequestState.PENDING): timedelta(days=30),
    (RequestKind.ENROLMENT, RequestState.APPROVED): timedelta(days=30),
    (RequestKind.ENROLMENT, RequestState.DENIED): timedelta(days=30),
    (RequestKind.RESTORE, RequestState.PENDING): timedelta(days=30),
    (RequestKind.RESTORE, RequestState.APPROVED): timedelta(days=365),
    (RequestKind.RESTORE, RequestState.DENIED): timedelta(days=365),
}


def take_enrolment_request(
    setting: AuthoritySetting, transaction: VaultTransaction, claim: Claim, address: str, document: bytes
) -> Receipt:
    """Queue a platform's enrolment request. Raises its errors, NotAuthorised, QuotaExceeded."""
    enrolment = read_platform_enrolment(document)
    pair = Pair(enrolment.ek_name, enrolment.srk_name)
    asked = (enrolment.request_id, enrolment.platform.platform_id, pair)
    served = served_by_policy(transaction, enrolment.platform.drsk.public) or served_for(transaction, claim)
    return _queue(setting, transaction, claim, address, document, RequestKind.ENROLMENT, asked, served)


def take_restore_request(
    setting: AuthoritySetting, transaction: VaultTransaction, claim: Claim, address: str, document: bytes
) -> Receipt:
    """Queue a platform's restore request. Raises its errors, NotAuthorised, QuotaExceeded."""
    verified = read_restore_request(document)
    asked = (verified.request_id, verified.request.platform_id, verified.pair)
    served = served_for(transaction, claim)
    return _queue(setting, transaction, claim, address, document, RequestKind.RESTORE, asked, served)


def _queue(
    setting: AuthoritySetting,
    transaction: VaultTransaction,
    claim: Claim,
    address: str,
    document: bytes,
    kind: RequestKind,
    asked: tuple[bytes, UUID, Pair],
    served: Served | None,
) -> Receipt:
    request_id, platform_id, pair = asked
    if (platform_id, pair) != (claim.platform_id, claim.pair):
        raise NotAuthorised("cannot take the request: it is not by the TPM that brings it")
    now = setting.now()
    owner = _NOBODY if served is None else served.kept.fingerprint
    _clean(transaction, pair, request_id, now)
    found = transaction.request(request_id)
    if found is not None:
        return _receipt(found, changed=False)
    limits = setting.limits
    if transaction.count_requests(address) >= limits.requests_per_address:
        raise QuotaExceeded("cannot take the request: too many of this address wait")
    if transaction.count_requests(None) >= limits.requests:
        _drop_from_the_crowd(transaction)
    new = KeptRequest(request_id, kind, owner, platform_id, pair.ek_name, pair.srk_name, document, now, address)
    transaction.keep_request(new)
    return _receipt(new, changed=True)


def _receipt(kept: KeptRequest, *, changed: bool) -> Receipt:
    return Receipt(kept.request_id.hex().upper(), hashlib.sha256(kept.document).digest(), kept.received, changed)


def _clean(transaction: VaultTransaction, pair: Pair, request_id: bytes, now: datetime) -> None:
    """One request waits for each TPM: the newest; what is old is forgotten."""
    for kept in transaction.requests_of(pair.ek_name):
        if kept.state is RequestState.PENDING and kept.request_id != request_id:
            transaction.drop_request(kept.request_id)
    for (kind, state), age in _FORGOTTEN_AFTER.items():
        transaction.forget_requests(kind, state, now - age)


def _drop_from_the_crowd(transaction: VaultTransaction) -> None:
    # Whoever asks again leaves the request again; a full queue that refused would keep everybody out for a month.
    crowding = transaction.crowding_request()
    if crowding is not None:
        transaction.drop_request(crowding)


def own_request(transaction: VaultTransaction, claim: Claim, request_id: bytes, kind: RequestKind) -> KeptRequest:
    """A request of the TPM that asks. Raises NotAtAuthority, Denied."""
    kept = transaction.request(request_id)
    if kept is None or kept.kind is not kind or Pair(kept.ek_name, kept.srk_name) != claim.pair:
        raise NotAtAuthority("cannot find this request: it was never left here, or was forgotten")
    _refuse_denied(kept)
    return kept


def _refuse_denied(kept: KeptRequest) -> None:
    if kept.state is RequestState.DENIED:
        shown = digits(kept.request_id)  # as the machine showed them to its person
        raise Denied(f"cannot go on with request {shown}: the owner denied it", kept.request_id)


def take_grant(setting: AuthoritySetting, transaction: VaultTransaction, document: bytes) -> Receipt:
    """The MSA's answer to an enrolment, whoever brings it.

    Raises the errors of `judge_signer` and of `newer`, NotAtAuthority, Denied.
    """
    grant, signed = ENROLMENT_GRANT.read(document)
    served = signed_by_msa(transaction, signed, setting.now())
    changed = keep_trust_list(transaction, served, grant.trust_list)
    return _answer(setting, transaction, served.kept.fingerprint, grant.request_id, document, changed=changed)


def take_approval(setting: AuthoritySetting, transaction: VaultTransaction, document: bytes) -> Receipt:
    """The MSA's answer to a restore request, whoever brings it.

    Raises the errors of `read_restore_approval`, NotAtAuthority (no such request, or no such package here), Denied.
    """
    now = setting.now()
    refusal: LmsError = NotAuthorised("cannot take this: no owner is served here")
    for served in served_owners(transaction):
        try:
            approval = read_restore_approval(document, served.owner, served.kept.trust_list, now)
        except LmsError as error:
            refusal = error
            continue
        kept = transaction.request(approval.request_id)
        if kept is None or kept.kind is not RequestKind.RESTORE:
            raise NotAtAuthority("cannot take the approval: the request that it answers was not left here")
        if approval.package_id not in {p.package_id for p in served.packages(transaction, kept.platform_id)}:
            raise NotAtAuthority(f"cannot take the approval: package {approval.package_id} is not here")
        changed = keep_trust_list(transaction, served, approval.trust_list)
        return _answer(setting, transaction, served.kept.fingerprint, approval.request_id, document, changed=changed)
    raise refusal


def take_trust_list(setting: AuthoritySetting, transaction: VaultTransaction, document: bytes) -> Receipt:
    """The MSA's newest word, whoever brings it. Raises the errors of `judge_signer` and of `newer`."""
    now = setting.now()
    served = signed_by_msa(transaction, TRUST_LIST.read(document)[1], now)
    changed = keep_trust_list(transaction, served, document)
    return Receipt("", hashlib.sha256(document).digest(), now, changed)


def _answer(
    setting: AuthoritySetting,
    transaction: VaultTransaction,
    owner: bytes,
    request_id: bytes,
    document: bytes,
    *,
    changed: bool,
) -> Receipt:
    kept = transaction.request(request_id)
    if kept is not None and kept.owner not in (_NOBODY, owner):
        raise NotAtAuthority("cannot take the answer: the request waits for another owner")
    if kept is not None:
        _refuse_denied(kept)  # a denial would mean nothing if the answer before it could be brought again
    if kept is not None and kept.answer != document:
        transaction.keep_request(replace(kept, owner=owner, state=RequestState.APPROVED, answer=document))
        changed = True
    return Receipt(request_id.hex().upper(), hashlib.sha256(document).digest(), setting.now(), changed)


def deny(transaction: VaultTransaction, kept: KeptRequest) -> Receipt:
    """Deny a request for ever: who left it is told, and no answer to it is taken any more."""
    changed = kept.state is not RequestState.DENIED
    transaction.keep_request(replace(kept, state=RequestState.DENIED, answer=None))
    return _receipt(kept, changed=changed)


def station_request(
    transaction: VaultTransaction, station: Station, request_id: bytes, kind: RequestKind | None = None
) -> KeptRequest:
    """A request of a station's owner, of a kind where one is named. Raises NotAtAuthority."""
    kept = transaction.request(request_id)
    if kept is None or kept.owner != station.served.kept.fingerprint or kind not in (None, kept.kind):
        raise NotAtAuthority("cannot find this request in the owner's queue")
    return kept
