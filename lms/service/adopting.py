"""Adoption: a recoverable key that lives at its handle, while the state that knew it is gone (PROTOCOL §1, §2).

Taken over is only what we would make for this owner: our template, the owner's branches, below this TPM's SRK. What
nothing proves is where it was born: an adopted key has no birth evidence for ever. Keys with another policy, as the
preset one of tpm_keys, are not adopted.
"""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from lms.errors import LmsError, MalformedStructure, NotAdoptable, SheetMismatch
from lms.model.keys import Algorithm, Name
from lms.model.owner import Owner, RecoverySheet
from lms.model.platform import RecoverableKey
from lms.model.policies import DuplicationPolicy
from lms.model.tpm import SealedObject
from lms.service.setting import NO_SECRET, PreparedTpm, Setting
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.tpm.attest import check_certify, qualified
from lms.wire.tpm.policy import duplication_policy_digest
from lms.wire.tpm.public import drsk_template, name_of, template_of

_OWNER_HIERARCHY = 0x40000001.to_bytes(4, "big")


def adoptable(public: bytes, algorithm: Algorithm, owner: Owner) -> DuplicationPolicy:
    """The branches of a key (TPM2B_PUBLIC) that follows our template for this owner. Raises NotAdoptable."""
    for offline in ((), (owner.recovery_key_name,)):
        policy = DuplicationPolicy.of((owner.approval_root_name,), offline)
        with suppress(MalformedStructure):  # a key of a kind that we do not know
            if template_of(public) == drsk_template(algorithm, duplication_policy_digest(policy)):
                return policy
    raise NotAdoptable("cannot adopt the key at the handle: it is no recoverable key of this owner and algorithm")


def adopted(
    setting: Setting, public: bytes, policy: DuplicationPolicy, handle: int, prepared: PreparedTpm
) -> RecoverableKey:
    """The key at its handle as ours: without its blob, which no TPM gives, and without birth evidence.

    Raises NotAdoptable where it lives below another parent, CertificationInvalid.
    """
    name = name_of(public)
    attestation = setting.tpm.certify(handle, None, NO_SECRET)
    expected = qualified(qualified(_OWNER_HIERARCHY, prepared.srk_name), name)
    if check_certify(attestation, prepared.ak, name).qualified_name != expected:
        raise NotAdoptable("cannot adopt the key at the handle: it does not live below this TPM's storage root key")
    return RecoverableKey(SealedObject(public, b""), name, policy, None, None)


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
