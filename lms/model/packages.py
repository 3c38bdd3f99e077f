"""The Migration Package (PROTOCOL §6) and its two states: `UntrustedPackage` and `VerifiedPackage`.

A package that was only read is not yet believed. `lms.wire.acceptance` is the one place that turns an
`UntrustedPackage` into a `VerifiedPackage`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final
from uuid import UUID

from lms.model.keys import KeyType, Name
from lms.model.policies import DuplicationPolicy
from lms.model.tpm import Attestation, Credential, OuterWrap

VERSION: Final = "1"
SYSTEM: Final = "system"
_MOST_IN_A_DAY: Final = 1000


def sequence_ceiling(last: int, stored: datetime, now: datetime) -> int:
    """The highest Sequence that a platform can have reached since `last` was stored (PROTOCOL §6).

    Without it, one package with an absurd number would make every later one stale.
    """
    return last + _MOST_IN_A_DAY * (1 + max(0, (now - stored).days))


class Flow(Enum):
    """Where a package goes."""

    ARCHIVE = "archive"
    DIRECT = "direct"
    AUTHORITY = "authority"


class DestinationKind(Enum):
    """What kind of place holds the new parent of a blob."""

    MIGRATION_AUTHORITY = "MigrationAuthority"
    PLATFORM = "Platform"
    RECOVERY_TOKEN = "RecoveryToken"


@dataclass(frozen=True, slots=True)
class Source:
    """The platform that made the package, as it describes itself."""

    platform_id: UUID
    ek_names: tuple[Name, ...]
    ak_name: Name
    parent_name: Name
    host_name: str


@dataclass(frozen=True, slots=True)
class Destination:
    """One place that a package is for: `identity` is a UUID, or an owner fingerprint in hex for a token."""

    ref: str
    kind: DestinationKind
    identity: str
    parent_name: Name


@dataclass(frozen=True, slots=True)
class Header:
    """Who, when, for whom. Times are UTC, without fractions of a second."""

    package_id: UUID
    flow: Flow
    created: datetime
    expires: datetime | None
    sequence: int
    supersedes: UUID | None
    source: Source
    destinations: tuple[Destination, ...]


@dataclass(frozen=True, slots=True)
class ContentKey:
    """A 32-byte key sealed below `parent`, for the items that name it."""

    ref: str
    public: bytes
    private: bytes
    parent: Name


class ItemUsage(Enum):
    """What an item is; also the `Usage` inside its encrypted content."""

    PASSWORD = "password"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class Item:
    """A password or application data, encrypted: `ciphertext` is 12-byte nonce ‖ ciphertext ‖ 16-byte tag."""

    usage: ItemUsage
    owner: str
    application: str
    label: str
    content_key: str
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class MsaApproval:
    """One link of an approval chain, innermost first: who approved which policy."""

    public: bytes
    approved_policy: bytes
    policy_ref: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class InnerKey:
    """The inner key of a blob, encrypted to the key named `recipient`."""

    recipient: Name
    credential: Credential


@dataclass(frozen=True, slots=True)
class MigrationBlob:
    """A key's way to one destination. `symmetric` is the TPMT_SYM_DEF_OBJECT of the inner wrap."""

    destination: str
    outer: OuterWrap
    symmetric: bytes
    inner_keys: tuple[InnerKey, ...]
    approvals: tuple[MsaApproval, ...]


@dataclass(frozen=True, slots=True)
class Certification:
    """Birth evidence (TPM2_CertifyCreation): `creation_data` is TPM2B_CREATION_DATA, `certificate` DER of the AK."""

    attestation: Attestation
    creation_data: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True)
class MigratingKey:
    """A key that moves by itself, with the blobs that carry it; an MK has no branches, its policy is preset."""

    key_id: Name
    type: KeyType
    label: str
    public: bytes
    policy: DuplicationPolicy | None
    certification: Certification | None
    blobs: tuple[MigrationBlob, ...]
    passwords: tuple[Item, ...] = ()
    data: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class ChildKey:
    """A key below a migrating key; its blobs go on unchanged."""

    key_id: Name
    parent: Name
    owner: str
    application: str
    label: str
    public: bytes
    private: bytes
    passwords: tuple[Item, ...] = ()
    data: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class MigrationPackage:
    """Everything one platform archives or migrates at once."""

    header: Header
    content_keys: tuple[ContentKey, ...]
    migrating_keys: tuple[MigratingKey, ...]
    child_keys: tuple[ChildKey, ...]
    version: str = VERSION


@dataclass(frozen=True, slots=True)
class Signed:
    """A well-formed signature: what was signed, by which certificates (DER, the signer's first); not yet verified."""

    signed_info: bytes
    value: bytes
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class UntrustedPackage:
    """A well-formed package whose signature nobody has judged; good for `inspect` only."""

    content: MigrationPackage
    document: bytes
    signed: Signed


@dataclass(frozen=True, slots=True)
class VerifiedPackage:
    """A package that passed every check of PROTOCOL §6 up to the TPM; made by `lms.wire.acceptance` alone.

    `approved` is false where the signer is a self-issued platform certificate (PROTOCOL §5).
    """

    content: MigrationPackage
    document: bytes
    certificates: tuple[bytes, ...]
    approved: bool
    age_known: bool
