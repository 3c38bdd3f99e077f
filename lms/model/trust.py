"""Who may speak for what, and who no longer may: roles and the trust list (PROTOCOL §5, §6)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Self
from uuid import UUID

from lms.model.keys import Name
from lms.model.packages import MsaApproval


class Role(Enum):
    """The one thing that a certificate speaks for; OWNER is the CA key itself."""

    PLATFORM = "platform"
    MIGRATION_AUTHORITY = "ma"
    SIGNER = "signer"
    STATION = "station"
    RESET = "reset"
    OWNER = "owner"


@dataclass(frozen=True, slots=True)
class Identity:
    """A role and whose it is; `uuid` is None for OWNER alone."""

    role: Role
    uuid: UUID | None

    @property
    def urn(self) -> str:
        """The SAN URI of a certificate with this identity."""
        if self.uuid is None:
            raise ValueError("cannot name the owner's CA by a URN")
        return f"urn:localmigration:{self.role.value}:{self.uuid}"

    @classmethod
    def from_urn(cls, urn: str) -> Self:
        """Read a SAN URI; ValueError for anything but the one canonical spelling."""
        prefix, _, rest = urn.partition("urn:localmigration:")
        role_text, _, uuid_text = rest.partition(":")
        identity = cls(Role(role_text), UUID(uuid_text))
        if prefix or identity.urn != urn or identity.role is Role.OWNER:
            raise ValueError("cannot read an identity: not in its canonical spelling")
        return identity


class Mode(Enum):
    """Where a Migration Authority keeps its vault key."""

    TPM = "tpm"
    SOFTWARE = "software"


@dataclass(frozen=True, slots=True)
class Pair:
    """What a PlatformID is bound to: an EK and an SRK."""

    ek_name: Name
    srk_name: Name


@dataclass(frozen=True, slots=True)
class TrustedPlatform:
    """A PlatformID with the pairs and DRSKs that the MSA approved."""

    platform_id: UUID
    pairs: tuple[Pair, ...]
    drsk_names: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class TrustedAuthority:
    """A Migration Authority as the MSA approved it; `tls_key` is SHA-256 of the SubjectPublicKeyInfo."""

    ma_id: UUID
    addresses: tuple[str, ...]
    mode: Mode
    combined: bool
    tls_key: bytes
    vault: bytes
    approvals: tuple[MsaApproval, ...]

    @property
    def role_identity(self) -> Identity:
        """Whom its certificate names."""
        return Identity(Role.MIGRATION_AUTHORITY, self.ma_id)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """An identity that no longer speaks from `since` on."""

    identity: Identity
    since: datetime


@dataclass(frozen=True, slots=True)
class TrustList:
    """The MSA's numbered word on platforms, EKs and authorities; the highest number counts."""

    number: int
    owner: bytes
    issued: datetime
    platforms: tuple[TrustedPlatform, ...]
    vouched_eks: tuple[bytes, ...]
    authorities: tuple[TrustedAuthority, ...]
    withdrawn: tuple[Withdrawal, ...]

    def withdrawn_since(self, identity: Identity) -> datetime | None:
        """When the identity was withdrawn, or None."""
        return min((w.since for w in self.withdrawn if w.identity == identity), default=None)

    @property
    def standing_authorities(self) -> tuple[TrustedAuthority, ...]:
        """The authorities that were not withdrawn: the only ones that anything is sent to, or taken from."""
        return tuple(a for a in self.authorities if self.withdrawn_since(a.role_identity) is None)

    def platform(self, platform_id: UUID) -> TrustedPlatform | None:
        """What the MSA approved of a platform, or None."""
        return next((p for p in self.platforms if p.platform_id == platform_id), None)

    def with_platform(self, entry: TrustedPlatform) -> TrustList:
        """The list with `entry` in place of what it says of that platform; the same object where it says so."""
        if entry in self.platforms:
            return self
        others = tuple(p for p in self.platforms if p.platform_id != entry.platform_id)
        return replace(self, platforms=(*others, entry))
