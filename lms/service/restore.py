"""`restore` by token: the owner's token opens a package, and its keys go to this TPM (PROTOCOL §8).

What an authority releases is `lms.service.restore_by_authority`; both end in `lms.service.installing`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from cryptography.hazmat.primitives.serialization import Encoding

from lms.errors import NameMismatch, OwnerMismatch, UnconfirmedPackage
from lms.model.keys import Name, digits, same_digits
from lms.model.owner import Owner, RecoverySheet
from lms.model.packages import MigratingKey, MigrationPackage, VerifiedPackage
from lms.model.platform import PlatformState
from lms.model.release import EnrolmentOrder, Release, ReleasedKey, ReleaseRequest
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.model.trust import TrustList
from lms.ports import TokenOpener
from lms.service.at_hand import highest_at_hand
from lms.service.diagnosis import Reason, diagnose
from lms.service.installing import Credentials, Target, finish, install, recoverable, refuse_foreign
from lms.service.setting import PreparedTpm, Setting, check_clock, prepare_tpm
from lms.service.signing import make_signing_key
from lms.service.succession import Successor, approved_list, check_retirable, check_retired
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.anchor import read_owner
from lms.wire.package_v1 import read_package
from lms.wire.signature import read_certificate
from lms.wire.tpm.inner_key import read_inner_plaintext
from lms.wire.tpm.public import ec_public_key, name_of, read_public
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC
from lms.wire.trust_list import newer, read_trust_list


@dataclass(frozen=True, slots=True)
class RestoreOrder:
    """What to restore, and what the caller accepts.

    `confirmed_key`: 80 bits of the DRSK's Name, for a package that no authority approved; a `sheet` of the owner's,
    believed already, names platform and key instead. `replace_foreign`: the Name of a foreign key at the handle that
    may go. `stolen`: the platform's other TPMs are retired at once. `trust_list`: the newest that the owner has, where
    it is at hand. Handles are used where this machine has no state.
    """

    package: bytes
    owner: Owner
    srk_handle: int
    drsk_handle: int
    unverified_tpm: bool = False
    confirmed_key: str | None = None
    accepted_stale: int | None = None
    replace_foreign: Name | None = None
    sheet: RecoverySheet | None = None
    stolen: bool = False
    trust_list: bytes | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore found and did; `changed` is false where everything was in its place.

    `age_known` is false where there was no Sequence to compare the package's with.
    """

    state: PlatformState
    reason: Reason
    changed: bool
    age_known: bool


@dataclass(frozen=True, slots=True)
class _Grounds:
    """What is known before the package is believed: by this machine's state, the owner's list, the archives."""

    state: PlatformState | None
    trust_list: TrustList | None
    highest_sequence: int | None


def restore_by_token(
    setting: Setting, opener: TokenOpener, order: RestoreOrder, owner_auth: Secret, endorsement_auth: Secret
) -> Restored:
    """Bring the DRSK of a package back; `opener` holds the token.

    Where a trust list is known, the next one names this TPM: the authorities see it with the next package, and the
    other TPMs of the platform are retired by that, or at once where they were stolen. Raises the errors of acceptance
    and of the TPM, HandleOccupied, OwnerMismatch, UnconfirmedPackage, NotEnrolled, TrustListConflict.
    """
    state = setting.store.load()
    reason = diagnose(setting, state)
    check_clock(setting.now(), state)
    if state is not None and read_owner(state.owner_document).fingerprint != order.owner.fingerprint:
        raise OwnerMismatch("cannot restore with this token: the platform belongs to another owner")
    order = _with_newest_list(order, state)
    if state is not None and reason is Reason.INTACT and not _is_newer(order.package, state):
        if order.stolen:
            check_retired(state, _trust_list(order))
        state = _knowing(setting, state, order.trust_list)
        finished = finish(setting, state, owner_auth, endorsement_auth)
        return Restored(finished, reason, finished != state, age_known=True)
    grounds = _Grounds(state, _trust_list(order), _highest_sequence(setting, order, state))
    verified = _accept(setting, order, grounds)
    if order.stolen:
        check_retirable(grounds.trust_list, verified.content.header.source.platform_id)
    restored = _restore(setting, opener, order, grounds, verified, owner_auth, endorsement_auth)
    finished = finish(setting, restored, owner_auth, endorsement_auth)
    return Restored(finished, reason, True, age_known=state is not None)


def _is_newer(package: bytes, state: PlatformState) -> bool:
    """Whether it may have entries that this machine does not know, whose state is an old one."""
    return read_package(package).content.header.sequence > state.sequence


def _with_newest_list(order: RestoreOrder, state: PlatformState | None) -> RestoreOrder:
    """The order with the newer one of the owner's trust list and this machine's. Raises TrustListConflict."""
    known = None if state is None else state.trust_list
    offered = known if order.trust_list is None else order.trust_list
    return order if offered is None else replace(order, trust_list=newer(known, offered, order.owner))


def _knowing(setting: Setting, state: PlatformState, trust_list: bytes | None) -> PlatformState:
    if trust_list != state.trust_list:
        state = replace(state, trust_list=trust_list)
        setting.store.save(state)
    return state


def _accept(setting: Setting, order: RestoreOrder, grounds: _Grounds) -> VerifiedPackage:
    content, state = read_package(order.package).content, grounds.state
    offered = frozenset(key.key_id for key in content.migrating_keys)
    verified = accept_package(
        order.package,
        PackageTrust(
            owner=order.owner,
            now=setting.now(),
            platform_id=_platform_id(order, state) or content.header.source.platform_id,
            parent=order.owner.recovery_key_name,
            highest_sequence=grounds.highest_sequence,
            accepted_stale=order.accepted_stale,
            trust_list=grounds.trust_list,
            known_drsks=offered if state is None else frozenset({state.require_drsk().name}),
        ),
    )
    key = recoverable(content, state)
    if _contradicted(order, key) or not (_is_known(verified, state) or _confirmed(order, key)):
        raise _unconfirmed(content, key)
    return verified


def _is_known(verified: VerifiedPackage, state: PlatformState | None) -> bool:
    """Whether this machine knows by itself whose package it is; without a state nothing here tells."""
    if state is None:
        return False
    if verified.approved or verified.content.header.sequence <= state.sequence:
        return True  # of an old one nothing counts but the key, which is proven
    # Whoever has a package can sign another one around its blob, with a Sequence and entries of his own.
    own = state.signing_key
    signer = read_certificate(verified.certificates[0])[1]
    return own is not None and ec_public_key(read_public(own.key.public)) == signer


def _contradicted(order: RestoreOrder, key: MigratingKey) -> bool:
    """Whether the owner named another key by its digits: nobody types them to be ignored."""
    return order.confirmed_key is not None and not same_digits(order.confirmed_key, key.key_id.digest)


def _confirmed(order: RestoreOrder, key: MigratingKey) -> bool:
    """Whether the owner named this key: by its digits, or by a sheet."""
    if order.sheet is not None and name_of(order.sheet.drsk) == key.key_id:
        return True
    return order.confirmed_key is not None and same_digits(order.confirmed_key, key.key_id.digest)


def _platform_id(order: RestoreOrder, state: PlatformState | None) -> UUID | None:
    if state is not None:
        return state.platform_id
    return None if order.sheet is None else order.sheet.platform_id


def _highest_sequence(setting: Setting, order: RestoreOrder, state: PlatformState | None) -> int | None:
    """Without a state, what a sheet says or a package at hand has."""
    if state is not None:
        return state.archived
    named = None if order.sheet is None else order.sheet.sequence
    found = highest_at_hand(setting, read_package(order.package).content.header)
    return max((n for n in (named, found) if n is not None), default=None)


def _trust_list(order: RestoreOrder) -> TrustList | None:
    return None if order.trust_list is None else read_trust_list(order.trust_list, order.owner)


def _unconfirmed(content: MigrationPackage, key: MigratingKey) -> UnconfirmedPackage:
    header = content.header
    return UnconfirmedPackage(
        f"cannot restore unconfirmed: platform {header.source.platform_id} ('{header.source.host_name}'),"
        f" made {header.created:%Y-%m-%d %H:%M} UTC, Sequence {header.sequence}, key {key.key_id.digits}"
    )


def _restore(
    setting: Setting,
    opener: TokenOpener,
    order: RestoreOrder,
    grounds: _Grounds,
    verified: VerifiedPackage,
    owner_auth: Secret,
    endorsement_auth: Secret,
) -> PlatformState:
    package, state = verified.content, grounds.state
    target = Target(
        owner=order.owner,
        package=package,
        key=recoverable(package, state),
        srk_handle=order.srk_handle if state is None else state.srk_handle,
        drsk_handle=order.drsk_handle if state is None else state.drsk_handle,
        replace_foreign=order.replace_foreign,
        known_sequence=grounds.highest_sequence or 0,
    )
    refuse_foreign(setting, target.drsk_handle, target.key.key_id, order.replace_foreign)
    prepared = prepare_tpm(
        setting, target.algorithm, target.srk_handle, owner_auth, unverified_tpm=order.unverified_tpm
    )
    platform_id = package.header.source.platform_id
    signing_key = make_signing_key(setting.tpm, target.srk_handle, platform_id, setting.now())
    successor = Successor(
        platform_id, target.key.public, None if state is None else state.require_drsk().birth, prepared,
        target.srk_handle, signing_key,
    )  # fmt: skip
    listed = approved_list(grounds.trust_list, platform_id)
    setting.step("opening the token")
    release = opener.release(
        ReleaseRequest(
            package=order.package,
            ek=prepared.ek,
            srk=prepared.srk,
            signing_key=signing_key.key.public,
            now=setting.now(),
            platform_id=platform_id,
            confirmed=frozenset({target.key.key_id}),
            trust_list=order.trust_list,
            highest_sequence=grounds.highest_sequence,
            accepted_stale=order.accepted_stale,
            enrolment=None if listed is None else _enrolment(setting, order, successor, listed),
            succeeds=listed is not None and successor.succeeds(state, listed),
        )
    )
    imported = _import(setting, target, _released(release, target.key), prepared, endorsement_auth)
    if release.succession is None:
        credentials = Credentials(replace(signing_key, certificate=release.certificate), order.trust_list)
    else:
        credentials = successor.credentials(setting, release.succession, order.owner, endorsement_auth)
    return install(setting, state, target, prepared, imported, credentials, owner_auth)


def _enrolment(setting: Setting, order: RestoreOrder, successor: Successor, listed: TrustList) -> EnrolmentOrder:
    """What the token has to sign so that the authorities know this TPM, by this machine's own request."""
    request, request_id = successor.request(setting, listed)
    return EnrolmentOrder(
        request=request,
        digits=digits(request_id),
        ek_roots=tuple(c.public_bytes(Encoding.DER) for c in (*setting.ek_roots, *setting.ek_intermediates)),
        vouch=order.unverified_tpm,
        trust_list=order.trust_list,
        now=setting.now(),
        replacement=True,
        stolen=order.stolen,
    )


def _released(release: Release, key: MigratingKey) -> ReleasedKey:
    for released in release.keys:
        if released.key_id == key.key_id:
            return released
    raise NameMismatch("cannot restore: the token released other keys than the one that was asked for")


def _import(
    setting: Setting, target: Target, released: ReleasedKey, prepared: PreparedTpm, endorsement_auth: Secret
) -> SealedObject:
    key, platform_id = target.key, target.package.header.source.platform_id
    plaintext = setting.tpm.activate(name_of(prepared.ek), target.srk_handle, released.inner_key, endorsement_auth)
    inner = Secret(read_inner_plaintext(plaintext.reveal(), platform_id, key.key_id))
    return setting.tpm.import_key(target.srk_handle, key.public, released.outer, AES_128_CFB_SYMMETRIC, inner)
