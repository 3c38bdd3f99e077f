"""What an owner hands out and keeps: owner document, Emergency Recovery Token, recovery sheet (PROTOCOL §6)."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from lms.model.keys import Name
from lms.model.policies import DuplicationPolicy


@dataclass(frozen=True, slots=True)
class OwnerDocument:
    """The public half of a token: all that setting up and archiving need.

    `ca_certificate` is DER, `approval_root` and `recovery_key` are TPM2B_PUBLIC, `root_signature` is the
    TPMT_SIGNATURE of the approval root with the fingerprint as the digest.
    """

    ca_certificate: bytes
    approval_root: bytes
    recovery_key: bytes
    root_signature: bytes


@dataclass(frozen=True, slots=True)
class Owner:
    """An owner document that proved itself: `lms.wire.anchor` alone makes it. Trust starts with its fingerprint."""

    document: bytes
    ca_certificate: bytes
    approval_root: bytes
    approval_root_name: Name
    recovery_key: bytes
    recovery_key_name: Name
    fingerprint: bytes

    @property
    def token_id(self) -> str:
        """ID of this owner's token as a destination: the fingerprint in lower-case hex (PROTOCOL §0)."""
        return self.fingerprint.hex()


@dataclass(frozen=True, slots=True)
class Argon2id:
    """Cost of opening a token: `memory` in KiB, `time` in passes, `parallelism` in lanes."""

    memory: int
    time: int
    parallelism: int

    def __post_init__(self) -> None:
        if not (256 * 1024 <= self.memory <= 2 * 1024 * 1024 and 3 <= self.time <= 16 and 1 <= self.parallelism <= 8):
            raise ValueError("cannot accept these Argon2id parameters")


@dataclass(frozen=True, slots=True)
class EmergencyRecoveryToken:
    """The owner document (its signed bytes) and the owner's seed, encrypted by a password."""

    owner_document: bytes
    cost: Argon2id
    salt: bytes
    nonce: bytes
    sealed: bytes

    def __post_init__(self) -> None:
        if len(self.salt) != 16 or len(self.nonce) != 12:
            raise ValueError("cannot accept a token: its Salt has not 16 or its Nonce not 12 bytes")


@dataclass(frozen=True, slots=True)
class SheetAuthority:
    """A Migration Authority as a recovery sheet names it."""

    ma_id: UUID
    address: str
    vault_name: Name


@dataclass(frozen=True, slots=True)
class RecoverySheet:
    """All that a bare machine must know to begin a restore; `drsk` is TPM2B_PUBLIC."""

    platform_id: UUID
    owner_document: bytes
    policy: DuplicationPolicy
    authorities: tuple[SheetAuthority, ...]
    drsk: bytes
    sequence: int
