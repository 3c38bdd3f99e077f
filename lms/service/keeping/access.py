"""What an asker may do at an authority: the owner's newest trust list decides, at each call (PROTOCOL §5, §7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from lms.errors import LmsError, NotAuthorised
from lms.model.authorities import KeptOwner
from lms.model.owner import Owner
from lms.model.packages import Signed
from lms.model.trust import Identity, Role, TrustedPlatform, TrustList
from lms.ports import VaultTransaction
from lms.service.keeping.sessions import Claim
from lms.wire.anchor import read_owner
from lms.wire.certificates import SignerRule, judge_signer
from lms.wire.trust_list import newer, read_trust_list

_MSA = SignerRule(frozenset({Role.OWNER, Role.SIGNER}))


@lru_cache(maxsize=16)
def _trusted(document: bytes, trust_list: bytes) -> tuple[Owner, TrustList]:
    owner = read_owner(document)
    return owner, read_trust_list(trust_list, owner)


@dataclass(frozen=True, slots=True)
class Served:
    """An owner whom this MA serves, with its word on platforms."""

    kept: KeptOwner
    owner: Owner
    trusted: TrustList

    @classmethod
    def of(cls, kept: KeptOwner) -> Served:
        """Read what is kept of an owner; it was verified when it was taken, and is again."""
        return cls(kept, *_trusted(kept.document, kept.trust_list))

    def platform(self, claim: Claim) -> TrustedPlatform | None:
        """The platform that the claim is for, where the trust list knows it, with whatever pair."""
        return next((p for p in self.trusted.platforms if p.platform_id == claim.platform_id), None)


@dataclass(frozen=True, slots=True)
class Bound:
    """A platform whose pair the MSA approved, and whose pair was not retired."""

    claim: Claim
    served: Served
    platform: TrustedPlatform


@dataclass(frozen=True, slots=True)
class Station:
    """A station of the MSA: its TLS certificate named it."""

    served: Served


def served_owners(transaction: VaultTransaction) -> tuple[Served, ...]:
    """All owners served."""
    return tuple(Served.of(kept) for kept in transaction.owners())


def bound(transaction: VaultTransaction, claim: Claim) -> Bound | None:
    """The platform behind a claim, where its pair may act for it; None where it may do no more than ask."""
    for served in served_owners(transaction):
        platform = served.platform(claim)
        if platform is None or claim.pair not in platform.pairs:
            continue
        since = served.trusted.withdrawn_since(Identity(Role.PLATFORM, claim.platform_id))
        if since is None and not _retired(transaction, claim):
            return Bound(claim, served, platform)
    return None


def require_bound(transaction: VaultTransaction, claim: Claim) -> Bound:
    """As `bound`. Raises NotAuthorised, whatever the reason: a stranger learns nothing."""
    found = bound(transaction, claim)
    if found is None:
        raise NotAuthorised("cannot do this: no approval for this TPM is known here")
    return found


def _retired(transaction: VaultTransaction, claim: Claim) -> bool:
    for release in transaction.releases(claim.platform_id):  # newest first
        if (release.ek_name, release.srk_name) == (claim.pair.ek_name, claim.pair.srk_name):
            return False
        if claim.pair in release.retires and (release.confirmed or release.stolen):
            return True
    return False


def served_for(transaction: VaultTransaction, claim: Claim) -> Served | None:
    """Whose queue a request of this platform belongs to: its owner's, or that of the one owner who is served."""
    owners = served_owners(transaction)
    known = next((s for s in owners if s.platform(claim) is not None), None)
    return known or (owners[0] if len(owners) == 1 else None)


def signed_by_msa(transaction: VaultTransaction, signed: Signed, now: datetime) -> Served:
    """The owner whose MSA signed a document. Raises the refusal of the last owner who did not."""
    refusal: LmsError = NotAuthorised("cannot take this: no owner is served here")
    for served in served_owners(transaction):
        try:
            judge_signer(signed, _MSA, served.owner, served.trusted, now)
        except LmsError as error:
            refusal = error
        else:
            return served
    raise refusal


def keep_trust_list(transaction: VaultTransaction, served: Served, offered: bytes) -> bool:
    """Take a trust list where it is newer; whether it was. Raises the errors of `newer`."""
    newest = newer(served.kept.trust_list, offered, served.owner)
    if newest == served.kept.trust_list:
        return False
    kept = served.kept
    transaction.keep_owner(KeptOwner(kept.fingerprint, kept.document, newest, kept.tls_certificate, kept.combined))
    return True
