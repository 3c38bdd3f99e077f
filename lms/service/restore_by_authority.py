"""`restore` through Migration Authorities: ask, wait for the owner's approval, take what is released (PROTOCOL §8).

Run it again and again: it finds its request where it left it, and ends with the keys in their place. The request
names no authority, so the same one is left at all of them; the first that releases is enough.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from lms.errors import (
    ApprovalPending,
    Denied,
    GrantMismatch,
    LmsError,
    NoAuthority,
    PackageStale,
    PlatformUnknown,
    ReleaseMismatch,
)
from lms.model.authorities import Kind
from lms.model.exchange import AttestedKey, Entry, ReleasedPackage, RequestBase, RestoreApproval, RestoreRequest
from lms.model.keys import Algorithm, Name, digits
from lms.model.owner import Owner, RecoverySheet
from lms.model.packages import DestinationKind, MigrationPackage
from lms.model.platform import Enrolment, PendingRestore, PlatformState
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.model.trust import TrustedAuthority, TrustList
from lms.service.certified import certificate_for, open_certificates
from lms.service.diagnosis import Reason, diagnose
from lms.service.enroll import trust_list_of, trusted_authority
from lms.service.installing import Credentials, Target, finish, install, recoverable, refuse_foreign
from lms.service.line import Chip, Whereabouts, open_line, shown_sequence
from lms.service.putting_back import put_back
from lms.service.restore import Restored
from lms.service.setting import NO_SECRET, PreparedTpm, Setting, check_clock, genuine_ek, prepare_tpm
from lms.service.signing import PlatformSigner, make_signing_key
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.anchor import read_owner
from lms.wire.exchange_v1 import RESTORE_REQUEST
from lms.wire.package_v1 import read_package
from lms.wire.request_proofs import NONCE_SIZE
from lms.wire.restoration import read_released_package, read_restore_approval, restore_id
from lms.wire.signature import sign
from lms.wire.tpm.inner_key import read_inner_plaintext
from lms.wire.tpm.public import algorithm_of, ec_public_key, name_of, read_public
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC
from lms.wire.trust_list import newer, read_trust_list


@dataclass(frozen=True, slots=True)
class AuthorityOrder:
    """What the caller says: `sheet` and its `owner`, believed already, where this machine has no state.

    With a state, a sheet names further ways to the authorities. `approval`: the MSA's answer, where it came by file.
    Handles are used where this machine has no state.
    """

    sheet: RecoverySheet | None
    owner: Owner | None
    srk_handle: int
    drsk_handle: int
    approval: bytes | None = None
    unverified_tpm: bool = False
    accepted_stale: int | None = None
    replace_foreign: Name | None = None


@dataclass(frozen=True, slots=True)
class _Lost:
    """Whose keys are to come back, and from where; `current` are the authorities known to have the newest package."""

    platform_id: UUID
    owner: Owner
    trust_list: bytes | None
    authorities: tuple[Whereabouts, ...]
    drsk: Name
    algorithm: Algorithm
    srk_handle: int
    drsk_handle: int
    highest_sequence: int
    current: frozenset[str]

    @property
    def trusted(self) -> TrustList | None:
        return None if self.trust_list is None else read_trust_list(self.trust_list, self.owner)


@dataclass(frozen=True, slots=True)
class _Asking:
    """Who asks the authorities, and for what."""

    setting: Setting
    order: AuthorityOrder
    lost: _Lost
    state: PlatformState | None
    prepared: PreparedTpm
    pending: PendingRestore
    endorsement_auth: Secret


@dataclass(frozen=True, slots=True)
class _Taken:
    """What an authority released, judged: it opens here."""

    target: Target
    imported: SealedObject
    credentials: Credentials


def restore_by_authority(
    setting: Setting, order: AuthorityOrder, owner_auth: Secret, endorsement_auth: Secret
) -> Restored:
    """Bring the DRSK back: into the TPM that it was in at once, into another from whichever authority releases it.

    Raises ApprovalPending with the request's digits as long as the owner has not approved, NoAuthority, Denied,
    AlreadyReleased, HandleOccupied, the errors of connection, acceptance and TPM.
    """
    state = setting.store.load()
    reason = diagnose(setting, state)
    check_clock(setting.now(), state)
    if state is not None and reason is Reason.INTACT:
        setting.store.save_pending(None)
        finished = finish(setting, state, owner_auth, endorsement_auth)
        return Restored(finished, reason, finished != state, age_known=True)
    lost = _lost(order, state)
    refuse_foreign(setting, lost.drsk_handle, lost.drsk, order.replace_foreign)
    accepted = order.unverified_tpm or (state is not None and _is_recorded(setting, state))
    prepared = prepare_tpm(setting, lost.algorithm, lost.srk_handle, owner_auth, unverified_tpm=accepted)
    if state is not None:
        back = put_back(setting, state, prepared, lost.authorities, order.replace_foreign, owner_auth, endorsement_auth)
        if back is not None:
            setting.store.save_pending(None)
            return Restored(finish(setting, back, owner_auth, endorsement_auth), reason, True, age_known=True)
    pending = _ensure_request(setting, lost, prepared)
    _judge_approval(order, lost, pending)
    try:
        taken = _take(_Asking(setting, order, lost, state, prepared, pending, endorsement_auth))
    except PackageStale:
        _ask_for_the_newest(setting, state)
        raise
    restored = install(setting, state, taken.target, prepared, taken.imported, taken.credentials, owner_auth)
    setting.store.save_pending(None)
    return Restored(finish(setting, restored, owner_auth, endorsement_auth), reason, True, age_known=state is not None)


def _is_recorded(setting: Setting, state: PlatformState) -> bool:
    """Whether this is the TPM of the state, which was accepted when the platform came to it."""
    return name_of(setting.tpm.endorsement_keys()[0].public) == state.ek_name


def _judge_approval(order: AuthorityOrder, lost: _Lost, pending: PendingRestore) -> None:
    """An approval that came by file is of no use where it is another owner's or answers another request.

    Raises the errors of `read_restore_approval`, GrantMismatch.
    """
    if order.approval is None:
        return
    if read_restore_approval(order.approval, lost.owner, lost.trust_list).request_id != pending.request_id:
        shown = digits(pending.request_id)
        raise GrantMismatch(f"cannot take the approval: it answers another request than {shown}, which waits here")


def _ask_for_the_newest(setting: Setting, state: PlatformState | None) -> None:
    """The package here is not the newest: the next request leaves it to the authority to name it."""
    if state is not None:
        setting.store.save(replace(state, destinations=tuple(replace(d, held=0) for d in state.destinations)))
    setting.store.save_pending(None)


def _lost(order: AuthorityOrder, state: PlatformState | None) -> _Lost:
    if state is not None:
        return _lost_by_state(order, state)
    if order.sheet is None or order.owner is None:
        raise PlatformUnknown("cannot restore: this machine has no state, and no recovery sheet was given")
    sheet, owner = order.sheet, order.owner
    return _Lost(
        platform_id=sheet.platform_id,
        owner=owner,
        trust_list=None,
        authorities=_ways((), sheet, owner, None),
        drsk=name_of(sheet.drsk),
        algorithm=algorithm_of(sheet.drsk),
        srk_handle=order.srk_handle,
        drsk_handle=order.drsk_handle,
        highest_sequence=sheet.sequence,
        current=frozenset(),
    )


def _ways(
    known: Iterable[TrustedAuthority], sheet: RecoverySheet | None, owner: Owner, trusted: TrustList | None
) -> tuple[Whereabouts, ...]:
    """Every address of every authority: as the trust list knows them, then as the sheet does."""
    found: dict[UUID, tuple[str, ...]] = {a.ma_id: a.addresses for a in known}
    for listed in () if sheet is None else sheet.authorities:
        addresses = found.get(listed.ma_id, ())
        found[listed.ma_id] = addresses if listed.address in addresses else (*addresses, listed.address)
    return tuple(Whereabouts(ma_id, addresses, owner, trusted) for ma_id, addresses in found.items())


def _lost_by_state(order: AuthorityOrder, state: PlatformState) -> _Lost:
    owner, trusted = read_owner(state.owner_document), trust_list_of(state)
    held = [d.identity for d in state.destinations if d.kind is DestinationKind.MIGRATION_AUTHORITY]
    held += [i for i in state.to_enroll if i != owner.token_id]
    listed = () if trusted is None else trusted.standing_authorities
    known = [a for a in listed if str(a.ma_id) in held]
    return _Lost(
        platform_id=state.platform_id,
        owner=owner,
        trust_list=state.trust_list,
        authorities=_ways(known, order.sheet, owner, trusted),
        drsk=state.require_drsk().name,
        algorithm=state.algorithm,
        srk_handle=state.srk_handle,
        drsk_handle=state.drsk_handle,
        highest_sequence=state.archived,
        current=frozenset(d.identity for d in state.destinations if d.held == state.archived),
    )


def _ensure_request(setting: Setting, lost: _Lost, prepared: PreparedTpm) -> PendingRestore:
    """The request of this TPM for this platform; made once, and written down before anybody sees it."""
    pending = setting.store.load_pending()
    platform_id, ek_name, srk_name = asked = (lost.platform_id, name_of(prepared.ek), prepared.srk_name)
    if pending is not None and (pending.platform_id, pending.ek_name, pending.srk_name) == asked:
        return pending
    tpm = setting.tpm
    signing_key = make_signing_key(tpm, lost.srk_handle, platform_id, setting.now())
    nonce = secrets.token_bytes(NONCE_SIZE)
    public = ec_public_key(read_public(signing_key.key.public))
    request_id = restore_id(platform_id, nonce, ek_name, srk_name, name_of(prepared.ak), public)
    certificate = next(k.certificate for k in tpm.endorsement_keys() if k.public == prepared.ek)
    held = _package_at_hand(setting, lost)
    request = RestoreRequest(
        base=RequestBase(
            request_id=request_id,
            nonce=nonce,
            ek=prepared.ek,
            ek_certificates=() if certificate is None else (certificate,),
            trust_list_number=0 if lost.trusted is None else lost.trusted.number,
        ),
        platform_id=platform_id,
        ak=prepared.ak,
        srk=AttestedKey(prepared.srk, tpm.certify(lost.srk_handle, None, NO_SECRET)),
        signing_key=AttestedKey(
            signing_key.key.public, tpm.certify(lost.srk_handle, signing_key.key, signing_key.auth)
        ),
        package_id=None if held is None else held.header.package_id,
        sequence=None if held is None else held.header.sequence,
        entries=() if held is None else _entries(held, lost),
    )
    signer = PlatformSigner(tpm, lost.srk_handle, signing_key)
    document = sign(RESTORE_REQUEST.write(request), signer)
    pending = PendingRestore(platform_id, ek_name, srk_name, signing_key, request_id, document)
    setting.store.save_pending(pending)
    return pending


def _package_at_hand(setting: Setting, lost: _Lost) -> MigrationPackage | None:
    """The newest package here, where an authority has it too: it names the entries without its help."""
    document = setting.store.load_package()
    if document is None or not lost.current:
        return None
    package = read_package(document).content
    same = (package.header.source.platform_id, package.header.sequence) == (lost.platform_id, lost.highest_sequence)
    return package if same and _entries(package, lost) else None


def _entries(package: MigrationPackage, lost: _Lost) -> tuple[Entry, ...]:
    identities = {str(a.ma_id) for a in lost.authorities} & lost.current
    refs = {d.ref: d.identity for d in package.header.destinations if d.identity in identities}
    return tuple(
        Entry(key.key_id, refs[blob.destination], blob.inner_keys)
        for key in package.migrating_keys
        for blob in key.blobs
        if blob.destination in refs
    )


def _take(asking: _Asking) -> _Taken:
    """What the first authority released that can be believed; the request is left at each."""
    refusals: list[LmsError] = []
    for authority in asking.lost.authorities:
        try:
            return _judged(asking, authority, *_fetched(asking, authority))
        except LmsError as error:
            refusals.append(error)
    verdict = _verdict(refusals, asking.pending)
    if isinstance(verdict, Denied):
        asking.setting.store.save_pending(None)  # this one stays denied: who begins again asks anew
    raise verdict


def _fetched(asking: _Asking, authority: Whereabouts) -> tuple[ReleasedPackage, int]:
    """What an authority releases, and the highest Sequence that it can show."""
    lost, approval = asking.lost, asking.order.approval
    chip = Chip(genuine_ek(asking.setting, unverified_tpm=True), asking.prepared.srk, lost.srk_handle)
    line = open_line(asking.setting, authority, lost.platform_id, chip, asking.endorsement_auth)
    line.upload(asking.pending.document)
    if approval is not None:
        line.upload(approval)
    document = line.download(Kind.RELEASED_PACKAGE, asking.pending.request_id.hex().upper())
    trust = PackageTrust(lost.owner, asking.setting.now(), lost.platform_id, trust_list=lost.trusted)
    highest = shown_sequence(line, lost.highest_sequence, trust)
    return read_released_package(document, authority.ma_id, lost.owner, lost.trusted), highest


def _verdict(refusals: Sequence[LmsError], pending: PendingRestore) -> LmsError:
    """What to tell: that one authority waits says more than that another is away, or lies."""
    stale = next((error for error in refusals if isinstance(error, PackageStale)), None)
    if stale is not None:
        return stale  # a newer package was shown: what was asked for will not do anywhere
    if any(isinstance(error, ApprovalPending) for error in refusals):
        shown = digits(pending.request_id)
        return ApprovalPending(f"cannot restore yet: the owner has to approve request {shown}")
    denied = next((error for error in refusals if isinstance(error, Denied)), None)
    if denied is not None:
        return denied
    return refusals[0] if refusals else NoAuthority("cannot restore: no authority holds the keys of this platform")


def _judged(asking: _Asking, authority: Whereabouts, released: ReleasedPackage, highest: int) -> _Taken:
    lost = asking.lost
    approval = read_restore_approval(released.approval, lost.owner, lost.trust_list)
    if approval.request_id != asking.pending.request_id:
        raise _mismatch(authority, "it answers another request")
    if read_package(released.package).content.header.package_id != approval.package_id:
        raise _mismatch(authority, "the approval is for another package")
    trust_list = newer(lost.trust_list, approval.trust_list, lost.owner)
    package = _accepted(asking, released, authority, read_trust_list(trust_list, lost.owner), highest)
    target = Target(
        owner=lost.owner,
        package=package,
        key=recoverable(package, asking.state),
        srk_handle=lost.srk_handle,
        drsk_handle=lost.drsk_handle,
        replace_foreign=asking.order.replace_foreign,
    )
    if target.key.key_id != lost.drsk:
        raise _mismatch(authority, "it is not the key that was asked for")
    imported = _imported(asking, target, released, approval, authority)
    return _Taken(target, imported, _credentials(asking, approval, trust_list))


def _mismatch(authority: Whereabouts, why: str) -> ReleaseMismatch:
    return ReleaseMismatch(f"cannot take what authority {authority.ma_id} released: {why}")


def _accepted(
    asking: _Asking, released: ReleasedPackage, authority: Whereabouts, trusted: TrustList, highest: int
) -> MigrationPackage:
    trust = PackageTrust(
        owner=asking.lost.owner,
        now=asking.setting.now(),
        platform_id=asking.lost.platform_id,
        parent=name_of(trusted_authority(trusted, authority.ma_id).vault),
        highest_sequence=highest,
        accepted_stale=asking.order.accepted_stale,
        trust_list=trusted,
    )
    return accept_package(released.package, trust).content


def _credentials(asking: _Asking, approval: RestoreApproval, trust_list: bytes) -> Credentials:
    setting, prepared, signing_key = asking.setting, asking.prepared, asking.pending.signing_key
    platform_id, owner = asking.lost.platform_id, asking.lost.owner
    certificates = open_certificates(setting.tpm, name_of(prepared.ek), approval.certificates, asking.endorsement_auth)
    ak = certificate_for(prepared.ak, certificates, platform_id, owner)
    certified = certificate_for(signing_key.key.public, certificates, platform_id, owner)
    return Credentials(replace(signing_key, certificate=certified), trust_list, Enrolment(ak, approval.sheet))


def _imported(
    asking: _Asking, target: Target, released: ReleasedPackage, approval: RestoreApproval, authority: Whereabouts
) -> SealedObject:
    tpm, ek, key = asking.setting.tpm, name_of(asking.prepared.ek), target.key
    blob = next((b for b in released.blobs if b.key_id == key.key_id), None)
    credential = next(
        (
            inner.credential
            for entry in approval.entries
            if (entry.key_id, entry.destination_id) == (key.key_id, str(authority.ma_id))
            for inner in entry.inner_keys
            if inner.recipient == ek
        ),
        None,
    )
    if blob is None or credential is None:
        raise _mismatch(authority, "the key that was asked for is not in it")
    plaintext = tpm.activate(ek, target.srk_handle, credential, asking.endorsement_auth)
    inner = Secret(read_inner_plaintext(plaintext.reveal(), target.package.header.source.platform_id, key.key_id))
    return tpm.import_key(target.srk_handle, key.public, blob.outer, AES_128_CFB_SYMMETRIC, inner)
