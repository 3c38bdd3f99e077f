"""Letting a package out: the annex that names it, and its release to an approved pair (PROTOCOL §3, §6).

The MA passes the outer wrap on and never has an inner key: what it hands out opens on one chip, that of the
approval. It releases once, to one pair, until the MSA says otherwise.
"""

from __future__ import annotations

from dataclasses import replace

from lms.errors import AlreadyReleased, ApprovalPending, NotAtAuthority, NotAuthorised, WrongDestination
from lms.model.authorities import KeptRelease, KeptRequest, RequestKind
from lms.model.exchange import (
    Entry,
    ReleasedBlob,
    ReleasedPackage,
    RestoreAnnex,
    RestoreApproval,
)
from lms.model.packages import MigratingKey, MigrationBlob, MigrationPackage
from lms.model.trust import Pair
from lms.ports import VaultTransaction
from lms.service.keeping.access import Served, Station, served_owners
from lms.service.keeping.requests import own_request
from lms.service.keeping.sessions import Claim
from lms.service.keeping.setting import AuthoritySetting
from lms.wire.exchange_v1 import RELEASED_PACKAGE, RESTORE_ANNEX
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
    package = read_package(document).content
    destination = setting.identity.destination
    granted = {entry.key_id for entry in approval.entries if entry.destination_id == destination}
    blobs = tuple(
        ReleasedBlob(key.key_id, setting.key.rewrap(key.key_id, blob.outer, claim.srk))
        for key in package.migrating_keys
        if key.key_id in granted
        for blob in _ours(setting, package, key)
    )
    if {blob.key_id for blob in blobs} != granted or not blobs:
        raise WrongDestination("cannot release: the approval names keys that the package does not hold for us")
    return blobs


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
