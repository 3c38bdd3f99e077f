"""What an asker may do at an authority: the owner's newest trust list decides, at each call (PROTOCOL §5, §7).

An MA may serve owners who do not trust each other. A PlatformID is its owner's word and another owner may say it too:
what is kept of a platform is kept of this owner's platform.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from lms.errors import LmsError, NotAuthorised, PolicyMismatch
from lms.model.authorities import KeptOwner, KeptPackage, KeptRelease
from lms.model.owner import Owner
from lms.model.packages import Signed
from lms.model.trust import Identity, Pair, Role, TrustedPlatform, TrustList
from lms.ports import VaultTransaction
from lms.service.judgement import owner_policy
from lms.service.keeping.sessions import Claim
from lms.wire.anchor import read_owner
from lms.wire.certificates import SignerRule, judge_signer
from lms.wire.trust_list import newer, read_trust_list

_MSA: Final = SignerRule(frozenset({Role.OWNER, Role.SIGNER}))
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Served:
    """An owner whom this MA serves, with its word on platforms."""

    kept: KeptOwner
    owner: Owner
    trusted: TrustList

    @classmethod
    def of(cls, kept: KeptOwner) -> Served:
        """Read what is kept of an owner; it was verified when it was taken, and is again."""
        owner = read_owner(kept.document)
        return cls(kept, owner, read_trust_list(kept.trust_list, owner))

    def approved(self, platform_id: UUID, pair: Pair) -> TrustedPlatform | None:
        """The platform, where the trust list knows it with this pair and does not withdraw it."""
        platform = self.trusted.platform(platform_id)
        if platform is None or pair not in platform.pairs:
            return None
        withdrawn = self.trusted.withdrawn_since(Identity(Role.PLATFORM, platform_id))
        return platform if withdrawn is None else None

    def packages(self, transaction: VaultTransaction, platform_id: UUID) -> tuple[KeptPackage, ...]:
        """All packages of this owner's platform, highest Sequence first."""
        return tuple(p for p in transaction.packages(platform_id) if p.owner == self.kept.fingerprint)

    def releases(self, transaction: VaultTransaction, platform_id: UUID) -> tuple[KeptRelease, ...]:
        """All releases of this owner's platform, newest first."""
        return tuple(r for r in transaction.releases(platform_id) if r.owner == self.kept.fingerprint)


@dataclass(frozen=True, slots=True)
class Bound:
    """A platform whose pair the MSA approved, and whose pair was not retired."""

    claim: Claim
    served: Served
    platform: TrustedPlatform

    def packages(self, transaction: VaultTransaction) -> tuple[KeptPackage, ...]:
        """All its packages, highest Sequence first."""
        return self.served.packages(transaction, self.claim.platform_id)


@dataclass(frozen=True, slots=True)
class Station:
    """A station of the MSA: its TLS certificate named it."""

    served: Served


def served_owners(transaction: VaultTransaction) -> tuple[Served, ...]:
    """All owners served."""
    return tuple(Served.of(kept) for kept in transaction.owners())


def bound(transaction: VaultTransaction, claim: Claim) -> Bound | None:
    """The platform behind a claim, where its pair may act for it; None where it may do no more than ask."""
    found = [
        Bound(claim, served, platform)
        for served in served_owners(transaction)
        if (platform := served.approved(claim.platform_id, claim.pair)) is not None
        and not _retired(served.releases(transaction, claim.platform_id), claim.pair)
    ]
    served = _whose(transaction, [b.served for b in found], claim.platform_id)
    return next((b for b in found if b.served is served), None)


def require_bound(transaction: VaultTransaction, claim: Claim) -> Bound:
    """As `bound`. Raises NotAuthorised, whatever the reason: a stranger learns nothing."""
    found = bound(transaction, claim)
    if found is None:
        raise NotAuthorised("cannot do this: no approval for this TPM is known here")
    return found


def _whose(transaction: VaultTransaction, knowing: Sequence[Served], platform_id: UUID) -> Served | None:
    """Of several owners who say that a platform is theirs, the one whose package of it was here first."""
    if len(knowing) < 2:
        return knowing[0] if knowing else None
    return min(knowing, key=lambda s: min((p.stored for p in s.packages(transaction, platform_id)), default=_NEVER))


def _retired(releases: Sequence[KeptRelease], pair: Pair) -> bool:
    own = [r for r in releases if Pair(r.ek_name, r.srk_name) == pair]
    if own and all(r.ended and not r.confirmed for r in own):
        return True  # superseded before it had archived: that TPM never was the platform
    for release in releases:  # newest first
        if release in own:
            return False
        if pair in release.retires and (release.confirmed or release.stolen):
            return True
    return False


def served_for(transaction: VaultTransaction, claim: Claim) -> Served | None:
    """Whose queue a request of this platform belongs to: its owner's, or that of the one owner who is served."""
    owners = served_owners(transaction)
    knowing = tuple(s for s in owners if s.trusted.platform(claim.platform_id) is not None)
    return _whose(transaction, knowing, claim.platform_id) or (owners[0] if len(owners) == 1 else None)


def served_by_policy(transaction: VaultTransaction, drsk: bytes) -> Served | None:
    """The owner who can approve destinations of a DRSK (TPM2B_PUBLIC): its policy tells before any trust list does.

    The preset `owner` tells of nobody.
    """
    for served in served_owners(transaction):
        with suppress(PolicyMismatch):
            if owner_policy(drsk, served.owner).approval_roots:
                return served
    return None


def signed_by_msa(transaction: VaultTransaction, signed: Signed, now: datetime) -> Served:
    """As `whose_msa`, of all owners served."""
    return whose_msa(served_owners(transaction), signed, now)


def whose_msa(owners: Sequence[Served], signed: Signed, now: datetime) -> Served:
    """The owner whose MSA signed a document. Raises the refusal of the last owner who did not."""
    refusal: LmsError = NotAuthorised("cannot take this: no owner is served here")
    for served in owners:
        try:
            judge_signer(signed, _MSA, served.owner, served.trusted, now)
        except LmsError as error:
            refusal = error
        else:
            return served
    raise refusal


def keep_trust_list(transaction: VaultTransaction, served: Served, offered: bytes) -> bool:
    """Take a trust list where it is newer; whether it was. Raises the errors of `newer`."""
    if offered == served.kept.trust_list:
        return False
    newest = newer(served.kept.trust_list, offered, served.owner)
    if newest == served.kept.trust_list:
        return False
    kept = served.kept
    transaction.keep_owner(KeptOwner(kept.fingerprint, kept.document, newest, kept.tls_certificate, kept.combined))
    return True
