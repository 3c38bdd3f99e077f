"""The end of every restore: an imported key is proven, written down, and only then put into place (DESIGN §3).

Whoever released the key, by token or through an authority, it arrives here as an object below this TPM's SRK.
Running again after a crash at any point converges.
"""

from __future__ import annotations

from dataclasses import dataclass

from lms.errors import HandleOccupied, NameMismatch
from lms.model.keys import Algorithm, Name
from lms.model.owner import Owner
from lms.model.packages import ChildKey, DestinationKind, MigratingKey, MigrationPackage
from lms.model.platform import Birth, Enrolment, PlatformState, RecoverableKey, SigningKey
from lms.model.registered import Registry
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.service import probe
from lms.service.archive import archive
from lms.service.enroll import enroll_again
from lms.service.packing import unpack
from lms.service.setting import PreparedTpm, Setting
from lms.wire.signature import read_certificate
from lms.wire.tpm.public import algorithm_of, attestation_public, name_of, read_public
from lms.wire.tpm.recoverable import is_recoverable


@dataclass(frozen=True, slots=True)
class Target:
    """What is restored and where to: handles as recorded, or of the configuration where nothing is.

    `replace_foreign`: the Name of a foreign key at the handle that may go. `known_sequence`: the highest Sequence that
    is known of the platform, though an older package is restored.
    """

    owner: Owner
    package: MigrationPackage
    key: MigratingKey
    srk_handle: int
    drsk_handle: int
    replace_foreign: Name | None
    known_sequence: int = 0

    @property
    def algorithm(self) -> Algorithm:
        """Of the key, and so of its SRK."""
        return algorithm_of(self.key.public)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the owner gave to the new chip: a certified signing key, and where an MSA approved it, all it granted.

    `confirmed_list` as in the state.
    """

    signing_key: SigningKey
    trust_list: bytes | None
    enrolment: Enrolment | None = None
    confirmed_list: bytes | None = None


def recoverable(content: MigrationPackage, state: PlatformState | None) -> MigratingKey:
    """The one key of a package that goes to the DRSK's handle: the one that lived there, or else its only DRSK."""
    storage = [k for k in content.migrating_keys if k.policy and is_recoverable(read_public(k.public))]
    found = storage if state is None else [k for k in storage if k.key_id == state.require_drsk().name]
    if len(found) != 1:
        raise NameMismatch("cannot restore: the package does not hold exactly the one recoverable key to restore")
    return found[0]


def refuse_foreign(setting: Setting, handle: int, expected: Name, allowed: Name | None) -> None:
    """Raises HandleOccupied where another key than the expected or the allowed one lives at the handle."""
    found = setting.tpm.read_public(handle)
    if found is None or name_of(found) in (expected, allowed):
        return
    raise HandleOccupied(f"cannot restore: another key, {name_of(found)}, lives at {handle:#x}")


def install(
    setting: Setting,
    state: PlatformState | None,
    target: Target,
    prepared: PreparedTpm,
    imported: SealedObject,
    credentials: Credentials,
    owner_auth: Secret,
) -> PlatformState:
    """Prove the imported key, write the new state down, and make the key persistent.

    Raises BlobRefused, HandleOccupied and the TPM's errors.
    """
    setting.step("proving the key and putting it into place")
    package, key = target.package, target.key
    sealed_probe = _probe(package, key.key_id)
    probe.prove(setting.tpm, target.srk_handle, imported, key.key_id, sealed_probe)
    assert key.policy is not None  # `recoverable` takes no other
    restored = PlatformState(
        platform_id=package.header.source.platform_id,
        owner_document=target.owner.document,
        algorithm=target.algorithm,
        srk_handle=target.srk_handle,
        drsk_handle=target.drsk_handle,
        ek_name=name_of(prepared.ek),
        ak_name=name_of(prepared.ak),
        srk_name=prepared.srk_name,
        time_floor=setting.now(),
        signing_key=credentials.signing_key,
        drsk=RecoverableKey(imported, key.key_id, key.policy, _birth(key, state), sealed_probe),
        # Blobs whose inner keys were kept on the old chip cannot be proven any more: all are made anew.
        destinations=(),
        to_enroll=_destinations(package, state),
        sequence=max(package.header.sequence, target.known_sequence, 0 if state is None else state.sequence),
        archived=package.header.sequence,
        trust_list=credentials.trust_list,
        enrolment=credentials.enrolment,
        confirmed_list=credentials.confirmed_list,
        registry=_registry(setting, package, key.key_id, state, sealed_probe),
    )
    setting.store.save(restored)
    setting.store.sweep()
    make_room(setting, target.drsk_handle, key.key_id, target.replace_foreign, owner_auth)
    setting.tpm.persist(target.srk_handle, imported, target.drsk_handle, owner_auth)
    return restored


def _destinations(package: MigrationPackage, state: PlatformState | None) -> tuple[str, ...]:
    """Where the keys were kept before: as this machine knows it, or else as the package names it."""
    if state is not None and (state.destinations or state.to_enroll):
        return tuple(dict.fromkeys((*(d.identity for d in state.destinations), *state.to_enroll)))
    kept = (DestinationKind.MIGRATION_AUTHORITY, DestinationKind.RECOVERY_TOKEN)
    return tuple(d.identity for d in package.header.destinations if d.kind in kept)


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


def make_room(setting: Setting, handle: int, expected: Name, allowed: Name | None, owner_auth: Secret) -> None:
    """Evict a foreign key that may go. Raises HandleOccupied."""
    # Looked at again: the restore took its time, and others use the TPM too.
    refuse_foreign(setting, handle, expected, allowed)
    found = setting.tpm.read_public(handle)
    if found is not None and name_of(found) == allowed:
        setting.tpm.evict(handle, owner_auth)


def _probe(package: MigrationPackage, drsk: Name) -> SealedObject | None:
    for child in package.child_keys:
        if child.parent == drsk and _is_probe(child):
            return SealedObject(child.public, child.private)
    return None


def _is_probe(child: ChildKey) -> bool:
    return (child.application, child.label) == (probe.APPLICATION, probe.LABEL)


def finish(setting: Setting, state: PlatformState, owner_auth: Secret, endorsement_auth: Secret) -> PlatformState:
    """New blobs and a new archive: what a crash after persisting would have left undone."""
    setting.tpm.trust_salt(state.srk_name)
    if state.to_enroll:
        state = enroll_again(setting, state, owner_auth)
    kept = state.package_id is not None and not state.unarchived
    return state if kept or not state.destinations else archive(setting, endorsement_auth)
