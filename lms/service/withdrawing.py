"""What an owner takes back: an identity, or one TPM of a platform, by the next trust list (PROTOCOL §5, §6).

A withdrawal is for ever: no later trust list takes it back, and an ID is not used again. A TPM that is taken back may
be approved anew. Nothing is deleted anywhere.
"""

from __future__ import annotations

from dataclasses import replace

from lms.errors import BadRequest, NotEnrolled
from lms.model.owner import Owner
from lms.model.release import WithdrawalAnswer, WithdrawalOrder
from lms.model.trust import Role, TrustList, Withdrawal
from lms.service.judgement import next_trust_list, open_register, sign_trust_list
from lms.wire.certificates import OwnerSigner
from lms.wire.seed import OwnerKeys


def withdraw(order: WithdrawalOrder, owner: Owner, keys: OwnerKeys) -> WithdrawalAnswer:
    """Sign the next trust list without what is taken back; the same one where it is without it already.

    Raises BadRequest (the owner, or the last TPM of a platform), NotEnrolled, TrustListConflict and the errors of
    `read_trust_list`.
    """
    known = open_register(order.trust_list, owner, 0, order.now)
    changed = _without_identity(order, known) if order.pair is None else _without_pair(order, known)
    listed = next_trust_list(known, changed, order.now)
    signer = OwnerSigner(keys.ca, owner.ca_certificate)
    return WithdrawalAnswer(sign_trust_list(listed, known, order.trust_list, signer))


def _without_identity(order: WithdrawalOrder, known: TrustList) -> TrustList:
    identity = order.identity
    if identity.uuid is None:
        raise BadRequest("cannot withdraw the owner: a token is succeeded by another one")
    if known.withdrawn_since(identity) is not None:
        return known
    return replace(known, withdrawn=(*known.withdrawn, Withdrawal(identity, order.now)))


def _without_pair(order: WithdrawalOrder, known: TrustList) -> TrustList:
    identity = order.identity
    platform = None if identity.uuid is None else known.platform(identity.uuid)
    if identity.role is not Role.PLATFORM or platform is None:
        raise NotEnrolled("cannot withdraw a TPM: the trust list knows no such platform")
    pairs = tuple(pair for pair in platform.pairs if pair != order.pair)
    if not pairs:
        raise BadRequest("cannot withdraw the last TPM of a platform: withdraw the platform, or approve another first")
    return known.with_platform(replace(platform, pairs=pairs))
