"""What a platform knows of itself: the whole state of `lmsd` that a package does not carry (DESIGN §4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

from lms.errors import NotProvisioned
from lms.model.keys import Algorithm, Name
from lms.model.packages import DestinationKind, InnerKey, MsaApproval
from lms.model.policies import DuplicationPolicy
from lms.model.registered import Registry
from lms.model.secret import Secret
from lms.model.tpm import Attestation, OuterWrap, SealedObject

ADDED_LATER: Final[dict[str, Any]] = {"added_later": True}
"""Metadata of a field that records of an earlier version do not have: there it has its default."""


class Health(Enum):
    """States of a platform, the worst first in each group (DESIGN §3)."""

    UNPROVISIONED = "unprovisioned"
    CREATED = "created"
    STALE = "stale"
    AT_RISK = "at-risk"
    PROTECTED = "protected"
    RESTORE_NEEDED = "restore-needed"
    RESTORED_NOT_ENROLLED = "restored-not-enrolled"


@dataclass(frozen=True, slots=True)
class Birth:
    """TPM2_CertifyCreation of the DRSK, by the AK whose TPM2B_PUBLIC is `ak`; its certificate (DER) once it has one."""

    creation_data: bytes
    attestation: Attestation
    ak: bytes
    certificate: bytes | None = None


@dataclass(frozen=True, slots=True)
class RecoverableKey:
    """The DRSK: its blob below the present SRK, its policy, where it came from, and a probe below it."""

    key: SealedObject
    name: Name
    policy: DuplicationPolicy
    birth: Birth | None
    probe: SealedObject | None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The platform signing key below the SRK, the authorisation that it needs, and its certificate (DER)."""

    key: SealedObject
    auth: Secret
    certificate: bytes


@dataclass(frozen=True, slots=True)
class EnrolledDestination:
    """Where the DRSK is wrapped to: made once, repeated in every package (PROTOCOL §3).

    `kept_inner_key` is the inner key sealed below the SRK, so that a copy can be proven without the MSA.
    """

    kind: DestinationKind
    identity: str
    parent: bytes
    outer: OuterWrap
    symmetric: bytes
    inner_keys: tuple[InnerKey, ...]
    approvals: tuple[MsaApproval, ...]
    kept_inner_key: SealedObject
    held: int = field(default=0, metadata=ADDED_LATER)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the MSA granted to this chip: a certificate (DER) for the AK, and the recovery sheet."""

    ak_certificate: bytes
    sheet: bytes


@dataclass(frozen=True, slots=True)
class PendingRestore:
    """A restore request on its way, for this one TPM: `document` is its signed bytes, the same each time."""

    platform_id: UUID
    ek_name: Name
    srk_name: Name
    signing_key: SigningKey
    request_id: bytes
    document: bytes


@dataclass(frozen=True, slots=True)
class PlatformState:
    """One platform. `time_floor` is the latest time seen.

    `sequence` is the last number spent on a package, `archived` that of the newest package which every place
    keeps (`package_id`, made at `archived_at`); 0 before the first. `request_nonce` is that of the enrolment request
    on its way.
    `unarchived` says that something was registered or unregistered since that package. `to_enroll` are the IDs of
    the destinations that held the keys before a restore, and still have to be enrolled anew. `retired_at` are the IDs
    of the authorities that took packages from this TPM once, and know it no more. `confirmed_list` is the trust list
    that does not name the TPMs before this one: it counts once an authority has a package of this one.
    """

    platform_id: UUID
    owner_document: bytes
    algorithm: Algorithm
    srk_handle: int
    drsk_handle: int
    ek_name: Name
    ak_name: Name
    srk_name: Name
    time_floor: datetime
    signing_key: SigningKey | None = None
    drsk: RecoverableKey | None = None
    destinations: tuple[EnrolledDestination, ...] = ()
    sequence: int = 0
    archived: int = 0
    package_id: UUID | None = None
    trust_list: bytes | None = None
    enrolment: Enrolment | None = None
    request_nonce: bytes | None = None
    registry: Registry = field(default=Registry(), metadata=ADDED_LATER)
    unarchived: bool = field(default=False, metadata=ADDED_LATER)
    to_enroll: tuple[str, ...] = field(default=(), metadata=ADDED_LATER)
    archived_at: datetime | None = field(default=None, metadata=ADDED_LATER)
    retired_at: tuple[str, ...] = field(default=(), metadata=ADDED_LATER)
    confirmed_list: bytes | None = field(default=None, metadata=ADDED_LATER)

    def require_drsk(self) -> RecoverableKey:
        """The DRSK. Raises NotProvisioned where there is none yet."""
        if self.drsk is None:
            raise NotProvisioned("cannot do this before the platform has its recoverable key")
        return self.drsk

    def require_signing_key(self) -> SigningKey:
        """The signing key. Raises NotProvisioned where there is none yet."""
        if self.signing_key is None:
            raise NotProvisioned("cannot do this before the platform has its signing key")
        return self.signing_key

    @property
    def health(self) -> Health:
        """What the state alone tells; whether the TPM still agrees is another question."""
        if self.drsk is None or self.drsk.probe is None:
            return Health.UNPROVISIONED
        if self.to_enroll:
            return Health.RESTORED_NOT_ENROLLED
        if not self.destinations or self.package_id is None:
            return Health.CREATED
        if self.unarchived:
            return Health.STALE
        return Health.AT_RISK if len(self.destinations) == 1 else Health.PROTECTED
