"""Letting a package out: the annex that names it, and its release to an approved pair (PROTOCOL §3, §6).

The MA passes the outer wrap on and never has an inner key: what it hands out opens on one chip, that of the
approval, or the one that kept the inner key. It releases once, to one pair, until the MSA says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from lms.errors import AlreadyReleased, ApprovalPending, NotAtAuthority, NotAuthorised, WrongDestination
from lms.model.authorities import KeptRelease, KeptRequest, RequestKind
from lms.model.exchange import (
    Entry,
    ReleasedBlob,
    ReleasedPackage,
    RestoreAnnex,
    RestoreApproval,
    RewrappedPackage,
)
from lms.model.packages import MigratingKey, MigrationBlob, MigrationPackage
from lms.model.trust import Pair
from lms.ports import VaultTransaction
from lms.service.keeping.access import Bound, Served, Station, served_owners
from lms.service.keeping.requests import own_request
from lms.service.keeping.sessions import Claim
from lms.service.keeping.setting import AuthoritySetting
from lms.wire.exchange_v1 import RELEASED_PACKAGE, RESTORE_ANNEX, REWRAPPED_PACKAGE
from lms.wire.package_v1 import read_package
from lms.wire.restoration import read_restore_approval, read_restore_request
from lms.wire.signature import sign


def annex(setting: AuthoritySetting, transaction: VaultTransaction, station: Station, kept: KeptRequest) -> bytes:
    """What is here for a restore request: its package, or the newest one. Raises NotAtAuthority."""
    verified = read_restore_request(kept.document)
    wanted = verified.request.package_id
    served = station.served
    packages = [p for p in served.packages(transaction, kept.platform_id) if wanted in (None, p.package_id)]
    if not packages:
        raise NotAtAuthority("cannot answer the request: no package of its platform is here")
    newest = packages[0]
    document = transaction.package(newest.package_id)
    assert document is not None
    value = RestoreAnnex(
        request_id=kept.request_id,
        request_digest=verified.digest,
        package_id=newest.package_id,
        sequence=newest.sequence,
        stored=newest.stored,
        digest=newest.digest,
        earlier_releases=tuple(
            r.request_id
            for r in served.releases(transaction, kept.platform_id)
            if not r.ended and r.request_id != kept.request_id
        ),
        entries=_entries(setting, read_package(document).content),
    )
    return sign(RESTORE_ANNEX.write(value), setting.signer(served.kept))


def _entries(setting: AuthoritySetting, package: MigrationPackage) -> tuple[Entry, ...]:
    destination = setting.identity.destination
    return tuple(
        Entry(key.key_id, destination, blob.inner_keys)
        for key in package.migrating_keys
        for blob in _ours(setting, package, key)
    )


def _ours(setting: AuthoritySetting, package: MigrationPackage, key: MigratingKey) -> tuple[MigrationBlob, ...]:
    refs = {d.ref for d in package.header.destinations if d.identity == setting.identity.destination}
    return tuple(blob for blob in key.blobs if blob.destination in refs)


def release(setting: AuthoritySetting, transaction: VaultTransaction, claim: Claim, request_id: bytes) -> bytes:
    """The ReleasedPackage for the TPM that asks; asking again before it has archived gives it again.

    Raises NotAtAuthority, Denied, ApprovalPending, ApprovalExpired, AlreadyReleased, WrongDestination, NotAuthorised
    where the trust list does not have this TPM any more.
    """
    kept = own_request(transaction, claim, request_id, RequestKind.RESTORE)
    if kept.answer is None:
        raise ApprovalPending(f"cannot release yet: request {request_id.hex().upper()} waits", request_id)
    served = next(s for s in served_owners(transaction) if s.kept.fingerprint == kept.owner)
    if served.approved(kept.platform_id, claim.pair) is None:
        raise NotAuthorised("cannot release: the owner took this TPM or its platform back")
    earlier = served.releases(transaction, kept.platform_id)
    begun = next((r for r in earlier if r.request_id == request_id), None)
    # A repeat gives the pair what it has already: only a release that begins is judged by the clock.
    approval = read_restore_approval(
        kept.answer, served.owner, served.kept.trust_list, setting.now() if begun is None else None
    )
    if begun is None:
        _begin(setting, transaction, served, approval, kept, earlier)
    elif begun.ended or begun.confirmed:
        raise AlreadyReleased("cannot release again: this release has ended")
    document = transaction.package(approval.package_id)
    if document is None:
        raise NotAtAuthority(f"cannot release package {approval.package_id}: it is not here any more")
    value = ReleasedPackage(document, _rewrapped(setting, document, approval, claim), kept.answer)
    return sign(RELEASED_PACKAGE.write(value), setting.signer(served.kept))


def _rewrapped(
    setting: AuthoritySetting, document: bytes, approval: RestoreApproval, claim: Claim
) -> tuple[ReleasedBlob, ...]:
    destination = setting.identity.destination
    granted = {entry.key_id for entry in approval.entries if entry.destination_id == destination}
    blobs = _passed_on(setting, document, claim, lambda key: key.key_id in granted)
    if {blob.key_id for blob in blobs} != granted or not blobs:
        raise WrongDestination("cannot release: the approval names keys that the package does not hold for us")
    return blobs


def _passed_on(
    setting: AuthoritySetting, document: bytes, claim: Claim, wanted: Callable[[MigratingKey], bool]
) -> tuple[ReleasedBlob, ...]:
    """The outer wraps of the keys that are wanted, from our vault to the SRK of the TPM that asks."""
    package = read_package(document).content
    return tuple(
        ReleasedBlob(key.key_id, setting.key.rewrap(key.key_id, blob.outer, claim.srk))
        for key in filter(wanted, package.migrating_keys)
        for blob in _ours(setting, package, key)
    )


def rewrapped(setting: AuthoritySetting, transaction: VaultTransaction, asker: Bound, package_id: UUID) -> bytes:
    """The RewrappedPackage for a pair that had the keys: it opens where the inner key is kept, on the TPM that made it.

    No approval, and no release: the next one is judged as if this had not been. Raises NotAuthorised, NotAtAuthority,
    WrongDestination.
    """
    if not _had_the_keys(transaction, asker):
        raise NotAuthorised("cannot pass keys on without an approval: this TPM is not known to have had them")
    document = kept_package(transaction, asker, package_id)
    blobs = _passed_on(setting, document, asker.claim, lambda key: key.key_id in asker.platform.drsk_names)
    if not blobs:
        raise WrongDestination(f"cannot pass package {package_id} on: it holds no key of this platform for us")
    return sign(REWRAPPED_PACKAGE.write(RewrappedPackage(package_id, blobs)), setting.signer(asker.served.kept))


def _had_the_keys(transaction: VaultTransaction, asker: Bound) -> bool:
    """Whether this pair made the oldest package, which never goes, or archived after its release.

    A pair that the trust list names may come of an approval whose time passed before anything was released: it has
    that approval's inner key, and must not get the outer wrap for it without another one.
    """
    pair = asker.claim.pair
    releases = asker.served.releases(transaction, asker.claim.platform_id)
    if any(r.confirmed and Pair(r.ek_name, r.srk_name) == pair for r in releases):
        return True
    oldest = transaction.package(asker.packages(transaction)[-1].package_id) if asker.packages(transaction) else None
    return oldest is not None and read_package(oldest).content.header.source.parent_name == pair.srk_name


def kept_package(transaction: VaultTransaction, asker: Bound, package_id: UUID) -> bytes:
    """A package of the platform that asks. Raises NotAtAuthority."""
    if all(p.package_id != package_id for p in asker.packages(transaction)):
        raise NotAtAuthority(f"cannot find package {package_id}: it is not here")
    document = transaction.package(package_id)
    assert document is not None
    return document


def _begin(
    setting: AuthoritySetting,
    transaction: VaultTransaction,
    served: Served,
    approval: RestoreApproval,
    kept: KeptRequest,
    earlier: tuple[KeptRelease, ...],
) -> None:
    """Write the release down before it happens; end those that the approval supersedes. Raises AlreadyReleased."""
    pair = Pair(kept.ek_name, kept.srk_name)
    for release in earlier:
        if release.ended:
            continue
        repeated = Pair(release.ek_name, release.srk_name) == pair and not release.confirmed
        if not repeated and release.request_id not in approval.supersedes:
            raise AlreadyReleased(
                f"cannot release: request {release.request_id.hex().upper()} was released before and is not superseded"
            )
        transaction.keep_release(replace(release, ended=True))
    platform = served.trusted.platform(kept.platform_id)
    pairs = () if platform is None else platform.pairs
    transaction.keep_release(
        KeptRelease(
            request_id=kept.request_id,
            owner=kept.owner,
            platform_id=kept.platform_id,
            package_id=approval.package_id,
            ek_name=kept.ek_name,
            srk_name=kept.srk_name,
            released=setting.now(),
            retires=tuple(other for other in pairs if other != pair),
            stolen=approval.stolen,
        )
    )
