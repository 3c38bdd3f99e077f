"""Trust lists: who may have signed one, and which of two counts (PROTOCOL §5)."""

from __future__ import annotations

from functools import lru_cache

from lms.errors import OwnerMismatch, TrustListConflict
from lms.model.owner import Owner
from lms.model.trust import Role, TrustList
from lms.wire.certificates import SignerRule, judge_signer
from lms.wire.exchange_v1 import TRUST_LIST

_RULE = SignerRule(frozenset({Role.OWNER, Role.SIGNER}))


@lru_cache(maxsize=16)
def read_trust_list(document: bytes, owner: Owner) -> TrustList:
    """The trust list in `document`, signed for this owner. Raises the errors of `judge_signer`, OwnerMismatch.

    The same bytes are judged once for an owner: it is judged by its own date, never by the clock.
    """
    trust_list, signed = TRUST_LIST.read(document)
    assert isinstance(trust_list, TrustList)
    judge_signer(signed, _RULE, owner, trust_list, trust_list.issued)
    if trust_list.owner != owner.fingerprint:
        raise OwnerMismatch("cannot accept the trust list: it is another owner's")
    return trust_list


def newer(known: bytes | None, offered: bytes, owner: Owner) -> bytes:
    """Which of two trust lists counts: the higher number; never back.

    Raises TrustListConflict for other bytes under a known number: the first stays.
    """
    if known is None or known == offered:
        read_trust_list(offered, owner)
        return offered
    before, after = read_trust_list(known, owner), read_trust_list(offered, owner)
    if before.number == after.number:
        raise TrustListConflict(f"cannot accept another trust list under number {after.number}")
    if after.number < before.number:
        return known
    # Who was withdrawn must not be able to take that back.
    judge_signer(TRUST_LIST.read(offered)[1], _RULE, owner, before, after.issued)
    if not set(before.withdrawn) <= set(after.withdrawn):
        raise TrustListConflict(f"cannot accept trust list {after.number}: it takes a withdrawal back")
    return offered
