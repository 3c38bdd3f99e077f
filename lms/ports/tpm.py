"""The TPM as the use cases see it.

Every method may raise the TPM errors of `lms.errors`; none blocks longer than its deadline. All bytes are
TPM wire bytes with size fields (PROTOCOL §0), handles are persistent TPM handles. Secrets never cross the
TPM channel in the clear: they go through sessions salted with the key named to `trust_salt`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lms.model.keys import Algorithm, Name
from lms.model.packages import MsaApproval
from lms.model.policies import Branch, DuplicationPolicy
from lms.model.secret import Secret
from lms.model.tpm import Attestation, Credential, OuterWrap, SealedObject, Tries


@dataclass(frozen=True, slots=True)
class EndorsementKey:
    """One EK of the TPM: TPM2B_PUBLIC, and its certificate (DER) where the TPM's NV holds one."""

    public: bytes
    certificate: bytes | None


@dataclass(frozen=True, slots=True)
class CertifiedKey:
    """A key just created, with TPM2_CertifyCreation by the AK; `creation_data` is TPM2B_CREATION_DATA."""

    key: SealedObject
    creation_data: bytes
    attestation: Attestation


@dataclass(frozen=True, slots=True)
class DuplicatedKey:
    """A key wrapped for one new parent: the 16-byte inner key and what TPM2_Duplicate gave."""

    inner_key: Secret
    outer: OuterWrap


@dataclass(frozen=True, slots=True)
class Step:
    """A storage key on the way down from a persistent key to an object, and the authorisation that using it takes."""

    key: SealedObject
    auth: Secret


class Tpm(Protocol):
    """One TPM. Implemented by `lms.adapters.tpm`."""

    def begin(self, endorsement_auth: Secret) -> None:
        """A new act begins: no salt is trusted any more, AK and EKs are derived with this authorisation."""
        ...

    def endorsement_keys(self) -> tuple[EndorsementKey, ...]:
        """All EKs: RSA-2048 first where there is one; also those without a certificate."""
        ...

    def trust_salt(self, name: Name) -> None:
        """Salt sessions with this key from now on: an EK that was verified, or the SRK that is pinned."""
        ...

    def owner_auth_is_set(self) -> bool:
        """Whether the owner hierarchy has an authorisation value."""
        ...

    def lockout_auth_is_set(self) -> bool:
        """Whether the lock-out hierarchy has an authorisation value."""
        ...

    def is_locked_out(self) -> bool:
        """Whether it refuses all that wrong guesses count for, because there were too many."""
        ...

    def tries(self) -> Tries:
        """How many wrong guesses it takes still, and when it forgets one."""
        ...

    def set_owner_auth(self, old: Secret, new: Secret) -> None:
        """TPM2_HierarchyChangeAuth of the owner hierarchy."""
        ...

    def read_public(self, handle: int) -> bytes | None:
        """TPM2B_PUBLIC of the persistent key at `handle`; None where there is no key."""
        ...

    def kept(self) -> dict[int, bytes]:
        """All that it keeps, by handles: TPM2B_PUBLIC of persistent keys, TPM2B_NV_PUBLIC of NV indices."""
        ...

    def ensure_srk(self, handle: int, algorithm: Algorithm, owner_auth: Secret) -> bytes:
        """Derive the SRK, persist it where the handle is free, and return its TPM2B_PUBLIC.

        HandleOccupied where another key than the derived one lives at `handle`.
        """
        ...

    def attestation_key(self) -> bytes:
        """TPM2B_PUBLIC of the AK, re-derived in the endorsement hierarchy."""
        ...

    def create(
        self, parent: int, template: bytes, *, auth: Secret, data: Secret, path: tuple[Step, ...] = ()
    ) -> SealedObject:
        """TPM2_Create below the persistent `parent`, or below the last key of `path`; empty secrets mean none."""
        ...

    def create_certified(self, parent: int, template: bytes) -> CertifiedKey:
        """TPM2_Create with empty auth, then TPM2_CertifyCreation by the AK."""
        ...

    def persist(self, parent: int, key: SealedObject, handle: int, owner_auth: Secret) -> None:
        """TPM2_Load and TPM2_EvictControl; already so is success, another key there is HandleOccupied."""
        ...

    def evict(self, handle: int, owner_auth: Secret) -> None:
        """Remove the persistent key at `handle`; absent is success."""
        ...

    def certify(self, parent: int, key: SealedObject | None, auth: Secret) -> Attestation:
        """TPM2_Certify by the AK of `key` below `parent`, or of `parent` itself where `key` is None."""
        ...

    def sign(self, parent: int, key: SealedObject, auth: Secret, digest: bytes) -> bytes:
        """TPMT_SIGNATURE (ECDSA, SHA-256) by an unrestricted signing key over a 32-byte digest."""
        ...

    def duplicate(
        self,
        handle: int,
        new_parent: bytes,
        policy: DuplicationPolicy,
        branch: Branch,
        approvals: tuple[MsaApproval, ...],
        owner_auth: Secret,
    ) -> DuplicatedKey:
        """TPM2_Duplicate of a persistent key with inner wrap, through one branch of its policy (PROTOCOL §2)."""
        ...

    def supports_rewrap(self) -> bool:
        """Whether the TPM has TPM2_Rewrap."""
        ...

    def rewrap(self, handle: int, auth: Secret, key_id: Name, outer: OuterWrap, new_parent: bytes) -> OuterWrap:
        """TPM2_Rewrap from the persistent storage key at `handle`, by its authorisation, to the key `new_parent`.

        `new_parent` is the TPM2B_PUBLIC of a storage key; the inner wrap stays. BlobRefused, AuthFailed.
        """
        ...

    def import_key(
        self, parent: int, public: bytes, outer: OuterWrap, symmetric: bytes, inner_key: Secret
    ) -> SealedObject:
        """TPM2_Import below the persistent `parent`; `symmetric` is TPMT_SYM_DEF_OBJECT of the inner wrap."""
        ...

    def loaded_name(
        self, parent: int, key: SealedObject, probe: SealedObject | None, path: tuple[Step, ...] = ()
    ) -> tuple[Name, Secret]:
        """Load `key` as a transient object, return its Name, and what the sealed `probe` below it holds.

        The probe has userWithAuth and an empty authorisation; without one the secret is empty.
        """
        ...

    def unseal(self, parent: int, key: SealedObject, *, auth: Secret, path: tuple[Step, ...] = ()) -> Secret:
        """TPM2_Unseal of a sealed object below `parent`, or the last key of `path`, by its own authorisation."""
        ...

    def unseal_as_owner(self, parent: int, key: SealedObject, owner_auth: Secret) -> Secret:
        """TPM2_Unseal of a sealed object whose policy is PolicySecret(owner)."""
        ...

    def unseal_by_policy(self, parent: int, key: SealedObject, pcrs: tuple[int, ...], auth: Secret) -> Secret:
        """TPM2_Unseal through PolicyPCR of `pcrs` (SHA-256) and PolicyAuthValue of `auth`; what is empty is left out.

        PolicyRefused where the PCRs have other values, AuthFailed.
        """
        ...

    def read_pcrs(self, pcrs: tuple[int, ...]) -> dict[int, bytes]:
        """The values of these PCRs in the SHA-256 bank; PcrsMissing where the TPM has none."""
        ...

    def activate(self, ek: Name, activated: int, credential: Credential, endorsement_auth: Secret) -> Secret:
        """TPM2_ActivateCredential with the EK named `ek` for the persistent key `activated` (or 0: the AK)."""
        ...

    def random(self, size: int) -> bytes:
        """`size` bytes (at most 32) from the TPM's random number generator."""
        ...
