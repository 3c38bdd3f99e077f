"""Letting a package out: the annex that names it, and its release to an approved pair (PROTOCOL §3, §6).

The MA passes the outer wrap on and never has an inner key: what it hands out opens on one chip, that of the
approval. It releases once, to one pair, until the MSA says otherwise.
"""

from __future__ import annotations

from dataclasses import replace

from lms.errors import AlreadyReleased, ApprovalPending, NotAtAuthority, WrongDestination
from lms.model.authorities import KeptRelease, KeptRequest, RequestKind, RequestState
from lms.model.exchange import (
    Entry,
    ReleasedBlob,
    ReleasedPackage,
    RestoreAnnex,
    RestoreApproval,
    VerifiedRestoreRequest,
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
    packages = [p for p in transaction.packages(kept.platform_id) if wanted in (None, p.package_id)]
    packages = [p for p in packages if p.owner == station.served.kept.fingerprint]
    if kept.kind is not RequestKind.RESTORE or not packages:
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
            for r in transaction.releases(kept.platform_id)
            if not r.ended and r.request_id != kept.request_id
        ),
        entries=_entries(setting, read_package(document).content),
    )
    return sign(RESTORE_ANNEX.write(value), setting.signer(station.served.kept))


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

    Raises NotAtAuthority, Denied, ApprovalPending, ApprovalExpired, AlreadyReleased, WrongDestination.
    """
    kept = own_request(transaction, claim, request_id)
    if kept.kind is not RequestKind.RESTORE or kept.state is not RequestState.APPROVED or kept.answer is None:
        raise ApprovalPending(f"cannot release yet: request {request_id.hex().upper()} waits", request_id)
    served = next(s for s in served_owners(transaction) if s.kept.fingerprint == kept.owner)
    approval = read_restore_approval(kept.answer, served.owner, served.kept.trust_list, setting.now())
    verified = read_restore_request(kept.document)
    _record(setting, transaction, served, approval, verified)
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


def _record(
    setting: AuthoritySetting,
    transaction: VaultTransaction,
    served: Served,
    approval: RestoreApproval,
    verified: VerifiedRestoreRequest,
) -> None:
    """Write the release down before it happens; end those that the approval supersedes. Raises AlreadyReleased."""
    platform_id = verified.request.platform_id
    for earlier in transaction.releases(platform_id):
        if earlier.request_id == approval.request_id:
            if earlier.ended or earlier.confirmed:
                raise AlreadyReleased("cannot release again: this release has ended")
            return
    for earlier in transaction.releases(platform_id):
        if earlier.ended:
            continue
        repeated = Pair(earlier.ek_name, earlier.srk_name) == verified.pair and not earlier.confirmed
        if not repeated and earlier.request_id not in approval.supersedes:
            raise AlreadyReleased(
                f"cannot release: request {earlier.request_id.hex().upper()} was released before and is not superseded"
            )
        transaction.keep_release(replace(earlier, ended=True))
    platform = next((p for p in served.trusted.platforms if p.platform_id == platform_id), None)
    pairs = () if platform is None else platform.pairs
    transaction.keep_release(
        KeptRelease(
            request_id=approval.request_id,
            platform_id=platform_id,
            package_id=approval.package_id,
            ek_name=verified.ek_name,
            srk_name=verified.srk_name,
            released=setting.now(),
            retires=tuple(pair for pair in pairs if pair != verified.pair),
            stolen=approval.stolen,
        )
    )
