"""`provision`: SRK, DRSK, AK and signing key of a platform, up to state `created` (PROTOCOL §1, §8).

Each step is written down before the next; running again after a crash at any point goes on where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from lms.errors import AlreadyProvisioned, CloneOrReplacement, HandleOccupied, KeyNotFound, NotAClone
from lms.model.keys import Algorithm
from lms.model.owner import Owner, RecoverySheet
from lms.model.platform import Birth, PlatformState, RecoverableKey
from lms.model.policies import DuplicationPolicy
from lms.model.secret import Secret
from lms.service.adopting import Handles, adoptable, adopted, highest_sequence, sheet_for
from lms.service.probe import make_probe
from lms.service.setting import PreparedTpm, Setting, check_clock, prepare_tpm
from lms.service.signing import make_signing_key
from lms.wire.anchor import confirm_owner, read_owner
from lms.wire.tpm.policy import duplication_policy_digest
from lms.wire.tpm.public import drsk_template, name_of


@dataclass(frozen=True, slots=True)
class Provisioning:
    """What is fixed for ever at provisioning, and what this run may accept.

    `fingerprint`: the first 80 bits of the owner's fingerprint as the caller knows them. `offline_token`:
    whether the token alone may open the key. `new_platform_id` is used where the platform has none. `new_platform`:
    the state that is here belongs to the machine whose disk was cloned. `adopt`: a key at the handle is taken over,
    under the PlatformID of a `sheet` of this owner's, believed already, where it names that key; with `weaker` also one
    that the owner authorisation alone lets out.
    """

    owner_document: bytes
    fingerprint: str
    offline_token: bool
    algorithm: Algorithm
    srk_handle: int
    drsk_handle: int
    new_platform_id: UUID
    unverified_tpm: bool
    new_platform: bool = False
    adopt: bool = False
    weaker: bool = False
    sheet: RecoverySheet | None = None


def policy_of(owner: Owner, offline_token: bool) -> DuplicationPolicy:
    """The DRSK's policy: the owner's approval branch, and the offline branch where it is asked for."""
    return DuplicationPolicy.of((owner.approval_root_name,), (owner.recovery_key_name,) if offline_token else ())


def _same(state: PlatformState, order: Provisioning, policy: DuplicationPolicy) -> bool:
    return (
        state.algorithm is order.algorithm
        and state.srk_handle == order.srk_handle
        and state.drsk_handle == order.drsk_handle
        and (state.drsk is None or state.drsk.policy == policy)
    )


def provision(setting: Setting, order: Provisioning, owner_auth: Secret) -> tuple[PlatformState, bool]:
    """The platform's state, and whether this run changed anything.

    Raises FingerprintUnconfirmed, EkUntrusted, OwnerAuthFailed, HandleOccupied, AlreadyProvisioned (with other
    options), CloneOrReplacement (the recorded platform had another TPM), NotAClone, NotAdoptable, WeakerKey,
    KeyNotFound.
    """
    owner = confirm_owner(order.owner_document, order.fingerprint)
    state = before = setting.store.load()
    check_clock(setting.now(), state)
    aside = order.new_platform and _is_clone(setting, state)
    state = None if aside else state
    found = setting.tpm.read_public(order.drsk_handle)
    policy = _policy(order, owner, state, found)
    if state is not None:
        if not _same(state, order, policy) or read_owner(state.owner_document).fingerprint != owner.fingerprint:
            raise AlreadyProvisioned("cannot provision again with another owner, policy, algorithm or handle")
        # Before anything is done to a TPM that may be somebody else's.
        if state.ek_name not in {name_of(ek.public) for ek in setting.tpm.endorsement_keys()}:
            raise CloneOrReplacement(f"cannot provision platform {state.platform_id}: it had another TPM")
    if state is None and found is not None and not order.adopt:
        raise HandleOccupied(f"cannot provision: a key lives at {order.drsk_handle:#x} already")
    prepared = prepare_tpm(setting, order.algorithm, order.srk_handle, owner_auth, unverified_tpm=order.unverified_tpm)
    key = None
    if order.adopt and found is not None and (state is None or state.drsk is None):
        handles = Handles(order.srk_handle, order.drsk_handle)
        key = adopted(setting, found, policy, handles, prepared, owner_auth)
    if aside:
        setting.step("putting the other platform aside")
        setting.store.put_aside()
    state = _ensure_platform(setting, state, order, owner, prepared, key)
    state = _ensure_signing_key(setting, state)
    state = _ensure_drsk(setting, state, policy, prepared, key, owner_auth)
    return state, state != before or found is None


def _is_clone(setting: Setting, state: PlatformState | None) -> bool:
    """Whether the state that is here belongs to another machine. Raises NotAClone where it is this one's."""
    if state is None:
        return False
    if state.ek_name not in {name_of(ek.public) for ek in setting.tpm.endorsement_keys()}:
        return True
    if not setting.store.has_aside():  # else it was done, and this is the new platform
        raise NotAClone(f"cannot provision a new platform: this TPM is the one of platform {state.platform_id}")
    return False


def _policy(order: Provisioning, owner: Owner, state: PlatformState | None, found: bytes | None) -> DuplicationPolicy:
    """The key's policy as the order wants it; an adopted key has the one that it has."""
    if not order.adopt:
        return policy_of(owner, order.offline_token)
    if state is not None and state.drsk is not None:
        return state.drsk.policy
    if found is None:
        raise KeyNotFound(f"cannot adopt: no key lives at {order.drsk_handle:#x}")
    return adoptable(found, order.algorithm, owner, weaker=order.weaker)


def _ensure_platform(
    setting: Setting,
    state: PlatformState | None,
    order: Provisioning,
    owner: Owner,
    prepared: PreparedTpm,
    key: RecoverableKey | None,
) -> PlatformState:
    if state is None:
        sheet = None if key is None else sheet_for(order.sheet, key.key.public)
        platform_id = order.new_platform_id if sheet is None else sheet.platform_id
        highest = 0 if key is None else highest_sequence(setting, owner, platform_id, key.name)
        state = PlatformState(
            platform_id=platform_id,
            owner_document=owner.document,
            algorithm=order.algorithm,
            srk_handle=order.srk_handle,
            drsk_handle=order.drsk_handle,
            ek_name=name_of(prepared.ek),
            ak_name=name_of(prepared.ak),
            srk_name=prepared.srk_name,
            time_floor=setting.now(),
            drsk=key,
            sequence=max(highest, 0 if sheet is None else sheet.sequence),
        )
        setting.store.save(state)
    if (state.ek_name, state.srk_name) != (name_of(prepared.ek), prepared.srk_name):
        raise CloneOrReplacement(f"cannot provision platform {state.platform_id}: it had another TPM")
    return state


def _ensure_signing_key(setting: Setting, state: PlatformState) -> PlatformState:
    if state.signing_key is None:
        setting.step("making the signing key")
        key = make_signing_key(setting.tpm, state.srk_handle, state.platform_id, setting.now())
        state = replace(state, signing_key=key)
        setting.store.save(state)
    return state


def _ensure_drsk(
    setting: Setting,
    state: PlatformState,
    policy: DuplicationPolicy,
    prepared: PreparedTpm,
    key: RecoverableKey | None,
    owner_auth: Secret,
) -> PlatformState:
    tpm = setting.tpm
    if state.drsk is None and key is not None:  # adopted where provisioning had ended before its own key
        state = replace(state, drsk=key)
        setting.store.save(state)
    if state.drsk is None:
        setting.step("making the recoverable key")
        if tpm.read_public(state.drsk_handle) is not None:
            raise HandleOccupied(f"cannot provision: a key lives at {state.drsk_handle:#x} already")
        template = drsk_template(state.algorithm, duplication_policy_digest(policy))
        born = tpm.create_certified(state.srk_handle, template)
        birth = Birth(born.creation_data, born.attestation, prepared.ak)
        # The blob is on disk before the key is at its handle: whatever lives there is then known to be ours.
        state = replace(state, drsk=RecoverableKey(born.key, name_of(born.key.public), policy, birth, None))
        setting.store.save(state)
    setting.step("putting the recoverable key to its handle")
    drsk = state.require_drsk()
    if not drsk.key.private and tpm.read_public(state.drsk_handle) is None:
        raise KeyNotFound("cannot put the key back: it was adopted, so its blob is not here")
    tpm.persist(state.srk_handle, drsk.key, state.drsk_handle, owner_auth)
    if drsk.probe is None:
        state = replace(state, drsk=replace(drsk, probe=make_probe(tpm, state.drsk_handle, drsk.name)))
        setting.store.save(state)
    return state
