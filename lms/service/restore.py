"""`restore` by token: bring the DRSK back on this TPM, and everything below it (PROTOCOL §8; DESIGN §3).

Nothing is replaced before its successor is proven: import, load as transient, compare the Name, open the
probe, write down, and only then persist. Running again after a crash at any point converges.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from lms.errors import HandleOccupied, NameMismatch, OwnerMismatch, UnconfirmedPackage
from lms.model.keys import Algorithm, Name, same_digits
from lms.model.owner import Owner
from lms.model.packages import ChildKey, MigratingKey, MigrationPackage, VerifiedPackage
from lms.model.platform import Birth, PlatformState, RecoverableKey
from lms.model.registered import Registry
from lms.model.release import Release, ReleasedKey, ReleaseRequest
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.model.trust import TrustList
from lms.ports import TokenOpener
from lms.service import probe
from lms.service.archive import archive
from lms.service.enroll import enroll_token
from lms.service.packing import unpack
from lms.service.setting import PreparedTpm, Setting, check_clock, prepare_tpm
from lms.service.signing import make_signing_key
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.anchor import read_owner
from lms.wire.package_v1 import read_package
from lms.wire.signature import read_certificate
from lms.wire.tpm.inner_key import read_inner_plaintext
from lms.wire.tpm.public import ALG_RSA, DRSK_ATTRIBUTES, attestation_public, name_of, read_public
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC
from lms.wire.trust_list import read_trust_list


class Reason(Enum):
    """Why a restore is needed, as found by looking; INTACT where it is not."""

    INTACT = "intact"
    DRSK_ABSENT = "drsk-absent"
    FOREIGN_KEY = "foreign-key"
    OTHER_TPM = "other-tpm"
    CLEARED_TPM = "cleared-tpm"
    NO_STATE = "no-state"


WORDS: Final = {
    Reason.INTACT: "the recoverable key is in its place",
    Reason.DRSK_ABSENT: "the recoverable key is gone from its handle",
    Reason.FOREIGN_KEY: "another key lives at the handle of the recoverable key",
    Reason.OTHER_TPM: "this machine has another TPM than the one it was provisioned with",
    Reason.CLEARED_TPM: "the TPM was cleared",
    Reason.NO_STATE: "this machine does not know which platform it is",
}


@dataclass(frozen=True, slots=True)
class RestoreOrder:
    """What to restore, and what the caller accepts.

    `confirmed_key`: 80 bits of the DRSK's Name, for a package that no authority approved. `replace_foreign`:
    the Name of a foreign key at the handle that may go. Handles are used where this machine has no state.
    """

    package: bytes
    owner: Owner
    srk_handle: int
    drsk_handle: int
    unverified_tpm: bool = False
    confirmed_key: str | None = None
    accepted_stale: int | None = None
    replace_foreign: Name | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore found and did; `changed` is false where everything was in its place.

    `age_known` is false where there was no Sequence to compare the package's with.
    """

    state: PlatformState
    reason: Reason
    changed: bool
    age_known: bool


def diagnose(setting: Setting, state: PlatformState | None) -> Reason:
    """Why this machine needs a restore, by looking at the TPM; changes nothing."""
    if state is None:
        return Reason.NO_STATE
    found = setting.tpm.read_public(state.drsk_handle)
    if found is not None and name_of(found) == state.require_drsk().name:
        return Reason.INTACT
    if state.ek_name not in {name_of(ek.public) for ek in setting.tpm.endorsement_keys()}:
        return Reason.OTHER_TPM
    if found is not None:
        return Reason.FOREIGN_KEY
    srk = setting.tpm.read_public(state.srk_handle)
    return Reason.DRSK_ABSENT if srk is not None and name_of(srk) == state.srk_name else Reason.CLEARED_TPM


def restore_by_token(
    setting: Setting, opener: TokenOpener, order: RestoreOrder, owner_auth: Secret, endorsement_auth: Secret
) -> Restored:
    """Bring the DRSK of a package back; `opener` holds the token.

    Raises the errors of acceptance and of the TPM, HandleOccupied, OwnerMismatch, UnconfirmedPackage.
    """
    state = setting.store.load()
    reason = diagnose(setting, state)
    if state is not None:
        check_clock(setting, state)
        if read_owner(state.owner_document).fingerprint != order.owner.fingerprint:
            raise OwnerMismatch("cannot restore with this token: the platform belongs to another owner")
    if state is not None and reason is Reason.INTACT:
        finished = _finish(setting, state, owner_auth)
        return Restored(finished, reason, finished != state, age_known=True)
    verified = _accept(setting, order, state)
    restored = _restore(setting, opener, order, state, verified, owner_auth, endorsement_auth)
    return Restored(_finish(setting, restored, owner_auth), reason, True, verified.age_known)


def _accept(setting: Setting, order: RestoreOrder, state: PlatformState | None) -> VerifiedPackage:
    content = read_package(order.package).content
    offered = frozenset(key.key_id for key in content.migrating_keys)
    verified = accept_package(
        order.package,
        PackageTrust(
            owner=order.owner,
            now=setting.now(),
            platform_id=content.header.source.platform_id if state is None else state.platform_id,
            parent=order.owner.recovery_key_name,
            highest_sequence=None if state is None else state.archived,
            accepted_stale=order.accepted_stale,
            trust_list=_trust_list(order, state),
            known_drsks=offered if state is None else frozenset({state.require_drsk().name}),
        ),
    )
    key = _recoverable(content, state)
    # Without a state nothing here tells which platform this is: only the owner does.
    if state is None and not (order.confirmed_key and same_digits(order.confirmed_key, key.key_id.digest)):
        raise _unconfirmed(content, key)
    return verified


def _trust_list(order: RestoreOrder, state: PlatformState | None) -> TrustList | None:
    if state is None or state.trust_list is None:
        return None
    return read_trust_list(state.trust_list, order.owner)


def _recoverable(content: MigrationPackage, state: PlatformState | None) -> MigratingKey:
    """The one key of a package that goes to the DRSK's handle: the one that lived there, or else its only DRSK."""
    storage = [k for k in content.migrating_keys if read_public(k.public).attributes == DRSK_ATTRIBUTES and k.policy]
    found = storage if state is None else [k for k in storage if k.key_id == state.require_drsk().name]
    if len(found) != 1:
        raise NameMismatch("cannot restore: the package does not hold exactly the one recoverable key to restore")
    return found[0]


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
    state: PlatformState | None,
    verified: VerifiedPackage,
    owner_auth: Secret,
    endorsement_auth: Secret,
) -> PlatformState:
    package = verified.content
    key = _recoverable(package, state)
    srk_handle = order.srk_handle if state is None else state.srk_handle
    drsk_handle = order.drsk_handle if state is None else state.drsk_handle
    _refuse_foreign(setting, drsk_handle, key.key_id, order.replace_foreign)
    algorithm = Algorithm.RSA_2048 if read_public(key.public).type == ALG_RSA else Algorithm.ECC_P256
    prepared = prepare_tpm(setting, algorithm, srk_handle, owner_auth, unverified_tpm=order.unverified_tpm)
    signing_key = make_signing_key(setting.tpm, srk_handle, package.header.source.platform_id, setting.now())
    release = opener.release(
        ReleaseRequest(
            package=order.package,
            ek=prepared.ek,
            srk=prepared.srk,
            signing_key=signing_key.key.public,
            now=setting.now(),
            platform_id=package.header.source.platform_id,
            confirmed=frozenset({key.key_id}),
            trust_list=None if state is None else state.trust_list,
            highest_sequence=None if state is None else state.archived,
            accepted_stale=order.accepted_stale,
        )
    )
    imported = _import(setting, package, key, _released(release, key), prepared, srk_handle, endorsement_auth)
    sealed_probe = _probe(package, key.key_id)
    probe.prove(setting.tpm, srk_handle, imported, key.key_id, sealed_probe)
    assert key.policy is not None  # `_recoverable` takes no other
    registry = _registry(setting, package, key.key_id, state, sealed_probe)
    restored = PlatformState(
        platform_id=package.header.source.platform_id,
        owner_document=order.owner.document,
        algorithm=algorithm,
        srk_handle=srk_handle,
        drsk_handle=drsk_handle,
        ek_name=name_of(prepared.ek),
        ak_name=name_of(prepared.ak),
        srk_name=prepared.srk_name,
        time_floor=setting.now(),
        signing_key=replace(signing_key, certificate=release.certificate),
        drsk=RecoverableKey(imported, key.key_id, key.policy, _birth(key, state), sealed_probe),
        # Blobs whose inner keys were kept on the old chip cannot be proven any more: all are made anew.
        destinations=(),
        sequence=max(package.header.sequence, 0 if state is None else state.sequence),
        archived=package.header.sequence,
        trust_list=None if state is None else state.trust_list,
        registry=registry,
    )
    setting.store.save(restored)
    setting.store.sweep()
    _make_room(setting, drsk_handle, key.key_id, order.replace_foreign, owner_auth)
    setting.tpm.persist(srk_handle, imported, drsk_handle, owner_auth)
    return restored


def _registry(
    setting: Setting,
    package: MigrationPackage,
    drsk: Name,
    state: PlatformState | None,
    sealed_probe: SealedObject | None,
) -> Registry:
    """What is registered: as this machine knows it, unless the package is newer than its state (an old disk image)."""
    known = Registry() if state is None else state.registry
    if state is not None and package.header.sequence <= state.sequence:
        return known
    archived = unpack(package, drsk, setting.store.keep_ciphertext, sealed_probe)
    # What only the state knows was perhaps never archived: better kept twice than lost.
    return archived.over(known).rooted(drsk)


def _birth(key: MigratingKey, state: PlatformState | None) -> Birth | None:
    """Birth evidence is carried unchanged: from our own state, or with the certificate that came with it."""
    if state is not None:
        return state.require_drsk().birth
    if key.certification is None:
        return None
    ak = attestation_public(read_certificate(key.certification.certificate)[1])
    certification = key.certification
    return Birth(certification.creation_data, certification.attestation, ak, certification.certificate)


def _refuse_foreign(setting: Setting, handle: int, expected: Name, allowed: Name | None) -> None:
    found = setting.tpm.read_public(handle)
    if found is None or name_of(found) in (expected, allowed):
        return
    raise HandleOccupied(f"cannot restore: another key, {name_of(found)}, lives at {handle:#x}")


def _make_room(setting: Setting, handle: int, expected: Name, allowed: Name | None, owner_auth: Secret) -> None:
    # Looked at again: the restore took its time, and others use the TPM too.
    _refuse_foreign(setting, handle, expected, allowed)
    found = setting.tpm.read_public(handle)
    if found is not None and name_of(found) == allowed:
        setting.tpm.evict(handle, owner_auth)


def _released(release: Release, key: MigratingKey) -> ReleasedKey:
    for released in release.keys:
        if released.key_id == key.key_id:
            return released
    raise NameMismatch("cannot restore: the token released other keys than the one that was asked for")


def _import(
    setting: Setting,
    package: MigrationPackage,
    key: MigratingKey,
    released: ReleasedKey,
    prepared: PreparedTpm,
    srk_handle: int,
    endorsement_auth: Secret,
) -> SealedObject:
    plaintext = setting.tpm.activate(name_of(prepared.ek), srk_handle, released.inner_key, endorsement_auth)
    inner = read_inner_plaintext(plaintext.reveal(), package.header.source.platform_id, key.key_id)
    return setting.tpm.import_key(srk_handle, key.public, released.outer, AES_128_CFB_SYMMETRIC, Secret(inner))


def _probe(package: MigrationPackage, drsk: Name) -> SealedObject | None:
    for child in package.child_keys:
        if child.parent == drsk and _is_probe(child):
            return SealedObject(child.public, child.private)
    return None


def _is_probe(child: ChildKey) -> bool:
    return (child.application, child.label) == (probe.APPLICATION, probe.LABEL)


def _finish(setting: Setting, state: PlatformState, owner_auth: Secret) -> PlatformState:
    """New blobs and a new archive: what a crash after persisting would have left undone."""
    setting.tpm.trust_salt(state.srk_name)
    if not state.destinations:
        state, _ = enroll_token(setting, owner_auth)
    return archive(setting) if state.package_id is None else state
