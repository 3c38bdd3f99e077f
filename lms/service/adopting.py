"""Adoption: a recoverable key that lives at its handle, while no state knows it (PROTOCOL §1, §2).

Taken over is what we would make for this owner: our template, the owner's branches, below this TPM's SRK; and, where
that is said, a key with the preset policy `owner` as tpm_keys makes it, which is weaker for ever. What nothing proves
is where it was born: an adopted key has no birth evidence for ever.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import UUID

from lms.errors import LmsError, MalformedStructure, NotAdoptable, SheetMismatch, WeakerKey
from lms.model.keys import Algorithm, Name
from lms.model.owner import Owner, RecoverySheet
from lms.model.platform import RecoverableKey
from lms.model.policies import DuplicationPolicy
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.service.probe import prove
from lms.service.setting import NO_SECRET, PreparedTpm, Setting
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.tpm.attest import check_certify, qualified
from lms.wire.tpm.public import DRSK_ATTRIBUTES, drsk_template, name_of, read_public, write_public
from lms.wire.tpm.recoverable import is_recoverable, policy_under
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC

_OWNER_HIERARCHY = 0x40000001.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class Handles:
    """Where SRK and DRSK live."""

    srk: int
    drsk: int


def adoptable(public: bytes, algorithm: Algorithm, owner: Owner, *, weaker: bool) -> DuplicationPolicy:
    """The branches of a key (TPM2B_PUBLIC) that follows our template for this owner, or tpm_keys' one.

    Raises NotAdoptable, WeakerKey for the preset policy where `weaker` was not said.
    """
    policy = None
    with suppress(MalformedStructure):  # a key of a kind that we do not know
        policy = _followed(public, algorithm, owner)
    if policy is None:
        raise NotAdoptable("cannot adopt the key at the handle: it is no recoverable key of this owner and algorithm")
    if policy.owner_alone and not weaker:
        raise WeakerKey("cannot adopt the key at the handle unasked: its policy is the preset `owner` of tpm_keys")
    return policy


def _followed(public: bytes, algorithm: Algorithm, owner: Owner) -> DuplicationPolicy | None:
    """The policy of a key whose whole public area is as it has to be."""
    area = read_public(public)
    if not is_recoverable(area):
        return None
    like_ours = write_public(replace(area, attributes=DRSK_ATTRIBUTES, unique=b""))
    return policy_under(area, owner) if like_ours == drsk_template(algorithm, area.policy) else None


def adopted(
    setting: Setting, public: bytes, policy: DuplicationPolicy, handles: Handles, prepared: PreparedTpm, auth: Secret
) -> RecoverableKey:
    """The key at its handle as ours, without birth evidence; `auth` is the owner authorisation.

    Raises NotAdoptable where it lives below another parent, CertificationInvalid, and the errors of the TPM.
    """
    name = name_of(public)
    if policy.owner_alone:
        key = _below_ours(setting, public, policy, handles, prepared.srk, auth)
    else:
        _check_parent(setting, name, handles.drsk, prepared)
        key = SealedObject(public, b"")  # no TPM gives its blob
    return RecoverableKey(key, name, policy, None, None)


def _check_parent(setting: Setting, name: Name, handle: int, prepared: PreparedTpm) -> None:
    attestation = setting.tpm.certify(handle, None, NO_SECRET)
    expected = qualified(qualified(_OWNER_HIERARCHY, prepared.srk_name), name)
    if check_certify(attestation, prepared.ak, name).qualified_name != expected:
        raise NotAdoptable("cannot adopt the key at the handle: it does not live below this TPM's storage root key")


def _below_ours(
    setting: Setting, public: bytes, policy: DuplicationPolicy, handles: Handles, srk: bytes, auth: Secret
) -> SealedObject:
    """A blob of the key below our SRK, made by its own policy: tpm_keys has another SRK, which nobody keeps."""
    tpm, name = setting.tpm, name_of(public)
    copy = tpm.duplicate(handles.drsk, srk, policy, policy.branches[0], (), auth)
    key = tpm.import_key(handles.srk, public, copy.outer, AES_128_CFB_SYMMETRIC, copy.inner_key)
    prove(tpm, handles.srk, key, name, None)
    return key


def sheet_for(sheet: RecoverySheet | None, public: bytes) -> RecoverySheet | None:
    """A sheet of the owner's that names the very key. Raises SheetMismatch."""
    if sheet is not None and sheet.drsk != public:
        raise SheetMismatch("cannot adopt the key at the handle: the recovery sheet names another one")
    return sheet


def highest_sequence(setting: Setting, owner: Owner, platform_id: UUID, key: Name) -> int:
    """The highest number that a package of this platform here carries; 0 where there is none."""
    trust = PackageTrust(owner=owner, now=setting.now(), platform_id=platform_id, known_drsks=frozenset({key}))
    here = [setting.store.load_package(), None if setting.recovery is None else setting.recovery.package()]
    highest = 0
    for document in here:
        if document is not None:
            with suppress(LmsError):  # what is no package of this platform says nothing of it
                highest = max(highest, accept_package(document, trust).content.header.sequence)
    return highest
