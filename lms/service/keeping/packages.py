"""Packages at a Migration Authority: what is taken, how long it stays, what never goes (PROTOCOL §6, §7).

A platform whose root is an attacker's has a good session and a good signing key. It can add packages, and mark
them; it cannot take away what was there before it was taken over.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from uuid import UUID

from lms.errors import AuthorityBusy, LastPackage, NameMismatch, NotAtAuthority, PackageStale, SequenceTooHigh
from lms.model.authorities import KeptPackage, Receipt
from lms.model.packages import MigrationPackage, VerifiedPackage, sequence_ceiling
from lms.ports import VaultTransaction
from lms.service.keeping.access import Bound
from lms.service.keeping.setting import AuthoritySetting
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.tpm.public import name_of, read_public
from lms.wire.tpm.recoverable import is_recoverable


@dataclass(frozen=True, slots=True)
class Accepted:
    """A package that is good for whoever brought it, by the trust list that its owner's word was then."""

    package: KeptPackage
    document: bytes
    trust_list: bytes


def kept_before(transaction: VaultTransaction, asker: Bound, document: bytes) -> Receipt | None:
    """The receipt of these very bytes, where they are here."""
    digest = hashlib.sha256(document).digest()
    found = next((p for p in asker.packages(transaction) if p.digest == digest), None)
    return None if found is None else _receipt(found, changed=False)


def accept(setting: AuthoritySetting, asker: Bound, document: bytes) -> Accepted:
    """A package of the platform that asks, judged without the store: one of thousands of keys takes its time.

    Raises the errors of acceptance, BlobRefused (no blob that our vault opens), NameMismatch (a key that the MSA does
    not know).
    """
    served, platform_id, now = asker.served, asker.claim.platform_id, setting.now()
    trust = PackageTrust(
        owner=served.owner,
        now=now,
        platform_id=platform_id,
        parent=name_of(setting.identity.vault),
        judged_at=now,
        trust_list=served.trusted,
    )
    header = _judged(setting, accept_package(document, trust), asker).header
    digest = hashlib.sha256(document).digest()
    package = KeptPackage(
        header.package_id, served.kept.fingerprint, platform_id, header.sequence, now, digest, len(document)
    )
    return Accepted(package, document, served.kept.trust_list)


def keep(setting: AuthoritySetting, transaction: VaultTransaction, asker: Bound, accepted: Accepted) -> Receipt:
    """Keep a package that was accepted; the same bytes again are no change.

    Raises PackageStale, SequenceTooHigh, PackageConflict, AuthorityBusy where the owner spoke meanwhile.
    """
    new = accepted.package
    before = kept_before(transaction, asker, accepted.document)
    if before is not None:
        return before
    if (asker.served.kept.fingerprint, asker.served.kept.trust_list) != (new.owner, accepted.trust_list):
        raise AuthorityBusy("cannot keep the package: its owner changed the trust list while it was judged")
    _check_sequence(new.sequence, asker.packages(transaction), new.stored)
    transaction.keep_package(new, accepted.document)
    _confirm_release(transaction, asker)
    _make_room(setting, transaction, asker, new.stored)
    return _receipt(new, changed=True)


def _receipt(kept: KeptPackage, *, changed: bool) -> Receipt:
    return Receipt(str(kept.package_id), kept.digest, kept.stored, changed)


def _judged(setting: AuthoritySetting, verified: VerifiedPackage, asker: Bound) -> MigrationPackage:
    package = verified.content
    if package.header.source.parent_name != asker.claim.pair.srk_name:
        raise NameMismatch("cannot keep the package: it was made below another SRK than the one that asks")
    destination = setting.identity.destination
    ours = {d.ref for d in package.header.destinations if d.identity == destination}
    for key in package.migrating_keys:
        if is_recoverable(read_public(key.public)) and key.key_id not in asker.platform.drsk_names:
            raise NameMismatch(f"cannot keep the package: key '{key.label}' is not one that was approved")
        for blob in key.blobs:
            if blob.destination in ours:
                # A blob that our vault does not open would be found out on the day it is needed.
                setting.key.rewrap(key.key_id, blob.outer, setting.identity.vault)
    return package


def _check_sequence(sequence: int, kept: tuple[KeptPackage, ...], now: datetime) -> None:
    if not kept:
        return
    last = kept[0]
    if sequence <= last.sequence:
        raise PackageStale(f"cannot keep Sequence {sequence}: {last.sequence} is here")
    ceiling = sequence_ceiling(last.sequence, last.stored, now)
    if sequence > ceiling:
        raise SequenceTooHigh(f"cannot keep Sequence {sequence}: after {last.sequence} it is at most {ceiling} today")


def _confirm_release(transaction: VaultTransaction, asker: Bound) -> None:
    """An archive by the new pair confirms its release, and retires the pairs before it."""
    pair = asker.claim.pair
    for release in asker.served.releases(transaction, asker.claim.platform_id):
        if (release.ek_name, release.srk_name) == (pair.ek_name, pair.srk_name) and not release.ended:
            transaction.keep_release(replace(release, confirmed=True))


def mark_package(setting: AuthoritySetting, transaction: VaultTransaction, asker: Bound, package_id: UUID) -> Receipt:
    """Mark a package for deletion; it stays for the retention. Raises NotAtAuthority, LastPackage."""
    kept = asker.packages(transaction)
    found = next((p for p in kept if p.package_id == package_id), None)
    if found is None:
        raise NotAtAuthority(f"cannot delete {package_id}: it is not here")
    if found.marked is not None:
        return _receipt(found, changed=False)
    if sum(p.marked is None for p in kept) == 1:
        raise LastPackage(f"cannot delete {package_id}: it is the last one here")
    transaction.mark_package(package_id, setting.now())
    return _receipt(found, changed=True)


def _make_room(setting: AuthoritySetting, transaction: VaultTransaction, asker: Bound, now: datetime) -> None:
    """Drop what was marked long ago; above the quota, thin out. Neither takes the oldest or the newest.

    Whether a package is good shows on the day it is opened: after a flood of bad ones, all others marked, the oldest
    is the last good one.
    """
    limits = setting.limits
    left = list(reversed(asker.packages(transaction)))
    expired = [p for p in left[1:-1] if p.marked is not None and p.marked + limits.retention <= now]
    for package in expired:
        transaction.drop_package(package.package_id)
        left.remove(package)
    while len(left) > 2 and (len(left) > limits.packages or sum(p.size for p in left) > limits.quota):
        dropped = least_missed(left)
        transaction.drop_package(dropped.package_id)
        left.remove(dropped)


def least_missed(packages: list[KeptPackage]) -> KeptPackage:
    """Of at least three packages in the order of their Sequence, the one with which least time is lost for its size.

    Never the oldest or the newest. Time is that between a package's neighbours, size counts by powers of two, and of
    equals the newer goes. So a flood thins itself out, of many packages or of big ones: what was stored before it,
    further apart or smaller, stays.
    """
    seconds = {
        between.package_id: (after.stored - before.stored).total_seconds()
        for (before, between), (_, after) in pairwise(pairwise(packages))
    }
    return min(packages[1:-1], key=lambda p: (seconds[p.package_id] / (1 << p.size.bit_length()), -p.sequence))
