"""What the use cases call: the TPM as the service sees it (DESIGN §5).

Every method may raise the TPM errors of `lms.errors`; none blocks longer than its deadline. All bytes are
TPM wire bytes with size fields (PROTOCOL §0), handles are persistent TPM handles. Secrets never cross the
TPM channel in the clear: they go through sessions salted with the key named to `trust_salt`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from lms.model.authorities import (
    Challenge,
    Hello,
    Inventory,
    KeptOwner,
    KeptPackage,
    KeptRelease,
    KeptRequest,
    Kind,
    ListedRequest,
    Receipt,
    RequestKind,
    RequestState,
    ServiceInformation,
    Session,
)
from lms.model.jobs import JobLedger
from lms.model.keys import Algorithm, Name
from lms.model.owner import Owner
from lms.model.packages import MsaApproval
from lms.model.platform import PendingRestore, PlatformState
from lms.model.policies import Branch, DuplicationPolicy
from lms.model.recovery import RecoveryFacts
from lms.model.release import Release, ReleaseRequest
from lms.model.secret import Secret
from lms.model.tpm import Attestation, Credential, OuterWrap, SealedObject


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


class PlatformStore(Protocol):
    """Where a platform's state and its newest package live. Every write is durable when it returns."""

    def load(self) -> PlatformState | None:
        """The state, or None on a platform that has none."""
        ...

    def save(self, state: PlatformState) -> None:
        """Replace the state, wholly or not at all."""
        ...

    def put_aside(self) -> None:
        """Take everything of the platform out of the way, so that there is no state; nothing is deleted."""
        ...

    def has_aside(self) -> bool:
        """Whether a platform was put aside here."""
        ...

    def load_pending(self) -> PendingRestore | None:
        """The restore request on its way, or None."""
        ...

    def save_pending(self, pending: PendingRestore | None) -> None:
        """Replace the restore request on its way, or forget it."""
        ...

    def keep_ciphertext(self, ciphertext: bytes) -> bytes:
        """Keep the ciphertext of an item, before the state names it by what this returns: its SHA-256."""
        ...

    def load_ciphertext(self, digest: bytes) -> bytes:
        """A ciphertext that the state names. Raises CiphertextLost where it is gone or altered."""
        ...

    def sweep(self) -> None:
        """Remove the ciphertexts that the state does not name: forgotten ones, and what a crash left."""
        ...

    def save_package(self, document: bytes) -> None:
        """Replace the newest package."""
        ...

    def load_package(self) -> bytes | None:
        """The newest package."""
        ...

    def remains(self) -> tuple[str, ...]:
        """What a platform that is given up leaves without its newest package, in words for a person."""
        ...

    def purge(self) -> None:
        """Remove that, the state last."""
        ...


class JobJournal(Protocol):
    """Where jobs are written down. Every write is durable when it returns; no secret is in it."""

    def load(self) -> JobLedger:
        """The journal; an empty one where there is none yet."""
        ...

    def save(self, ledger: JobLedger) -> None:
        """Replace the journal, wholly or not at all."""
        ...


class PackageArchive(Protocol):
    """A place that keeps packages: a Backup Archive directory."""

    def keep(self, platform_id: UUID, sequence: int, package_id: UUID, document: bytes) -> None:
        """Add a package and read it back; one that is there is never overwritten."""
        ...

    def find(self, platform_id: UUID, sequence: int, package_id: UUID) -> str | None:
        """Where this package lies, in words for a person; None where it does not."""
        ...

    def older(self, platform_id: UUID, sequence: int) -> tuple[str, ...]:
        """Where the platform's packages with a lower number lie, in words for a person, the oldest first."""
        ...

    def remove_older(self, platform_id: UUID, sequence: int) -> None:
        """Remove those."""
        ...


class RecoveryPlace(Protocol):
    """What a machine whose root cannot be opened finds: the newest package and the recovery sheet."""

    def publish(self, facts: RecoveryFacts, package: bytes, sheet: bytes | None) -> None:
        """Replace all; without a sheet the one that is there stays."""
        ...

    def is_behind(self, facts: RecoveryFacts) -> bool:
        """Whether it could keep what these facts tell of, and does not."""
        ...

    def find(self) -> str | None:
        """Where the package lies, in words for a person; None where there is none."""
        ...

    def package(self) -> bytes | None:
        """The newest package."""
        ...

    def sheet(self) -> bytes | None:
        """The recovery sheet."""
        ...

    def remains(self) -> tuple[str, ...]:
        """Where the facts lie, in words for a person; nowhere where there are none."""
        ...

    def forget(self) -> None:
        """Remove the facts, so that no boot looks for the key; package and sheet stay."""
        ...


class TokenOpener(Protocol):
    """The short process that opens an Emergency Recovery Token."""

    def vouch(self, owner: Owner) -> None:
        """Go on only where the password opens the token of this owner. Raises WrongPassword, OwnerMismatch."""
        ...

    def release(self, request: ReleaseRequest) -> Release:
        """Wrap the keys of a package to a new TPM and certify its signing key; grant its enrolment where it asks."""
        ...


class MigrationAuthority(Protocol):
    """What a Migration Authority offers (PROTOCOL §7), on both ends of the line.

    `lms.service.keeping` is the authority itself, `lms.adapters.authority` the way to a remote one. `session` is
    the token of `session()`, empty for a station that its TLS certificate names.
    """

    def information(self) -> ServiceInformation:
        """GetMAServiceInformation."""
        ...

    def vault_public(self) -> bytes:
        """GetMAKey: TPM2B_PUBLIC of the vault parent. Believed only where the trust list names it."""
        ...

    def challenge(self, hello: Hello) -> Challenge:
        """Authenticate, first call. Raises BadAttributes, MalformedStructure, AuthorityBusy."""
        ...

    def session(self, server_nonce: bytes, proof: bytes) -> Session:
        """Authenticate, second call. Raises NotAuthenticated."""
        ...

    def upload(self, session: bytes, document: bytes) -> Receipt:
        """Hand a document over: a package, a request, or what the MSA signed. Nothing is ever overwritten."""
        ...

    def query(self, session: bytes) -> Inventory:
        """What the asker has there."""
        ...

    def download(self, session: bytes, kind: Kind, id: str) -> bytes:
        """One document, its exact signed bytes. Raises NotAtAuthority, ApprovalPending, Denied, AlreadyReleased."""
        ...

    def delete(self, session: bytes, id: str) -> Receipt:
        """Mark a package for deletion; of a request, by a station: deny it. Raises LastPackage."""
        ...


class RemoteAuthority(MigrationAuthority, Protocol):
    """A Migration Authority at the other end of a TLS connection."""

    @property
    def leaf(self) -> bytes:
        """DER of the certificate that it showed on the present connection; empty before the first call."""
        ...

    def download(self, session: bytes, kind: Kind, id: str, at_most: int | None = None) -> bytes:
        """As `MigrationAuthority.download`; of more than `at_most` bytes not all are read. Raises AuthorityFailed."""
        ...


class VaultKey(Protocol):
    """The key below which an MA keeps outer wraps: in a TPM or in software."""

    @property
    def public(self) -> bytes:
        """TPM2B_PUBLIC."""
        ...

    def rewrap(self, key_id: Name, outer: OuterWrap, new_parent: bytes) -> OuterWrap:
        """TPM2_Rewrap to the storage key TPM2B_PUBLIC `new_parent`; the inner wrap stays. Raises BlobRefused."""
        ...


class VaultTransaction(Protocol):
    """What an MA keeps, within one transaction."""

    def owners(self) -> tuple[KeptOwner, ...]:
        """All owners served."""
        ...

    def keep_owner(self, owner: KeptOwner) -> None:
        """Add an owner, or replace what is kept of the one with this fingerprint."""
        ...

    def packages(self, platform_id: UUID) -> tuple[KeptPackage, ...]:
        """All packages of a platform, whoever's it is said to be, highest Sequence first."""
        ...

    def package(self, package_id: UUID) -> bytes | None:
        """The document of a package."""
        ...

    def keep_package(self, package: KeptPackage, document: bytes) -> None:
        """Add a package. Raises PackageConflict where its PackageID, or (owner, platform, Sequence), is taken."""
        ...

    def mark_package(self, package_id: UUID, when: datetime) -> None:
        """Write down that deletion was asked for."""
        ...

    def drop_package(self, package_id: UUID) -> None:
        """Remove a package for good."""
        ...

    def request(self, request_id: bytes) -> KeptRequest | None:
        """One request."""
        ...

    def requests(self, owner: bytes) -> tuple[ListedRequest, ...]:
        """All requests of an owner's queue, newest first."""
        ...

    def requests_of(self, ek_name: Name) -> tuple[ListedRequest, ...]:
        """All requests that the TPM with this EK left, in whichever queue, newest first."""
        ...

    def count_requests(self, address: str | None) -> int:
        """How many requests are pending: from one address, or in total."""
        ...

    def crowding_request(self) -> bytes | None:
        """RequestID of the oldest pending request of the address that has most of them; None where none is pending."""
        ...

    def forget_requests(self, kind: RequestKind, state: RequestState, before: datetime) -> None:
        """Drop all requests of a kind and state that were received before a time."""
        ...

    def keep_request(self, request: KeptRequest) -> None:
        """Add a request, or replace what is kept under its RequestID."""
        ...

    def drop_request(self, request_id: bytes) -> None:
        """Forget a request."""
        ...

    def releases(self, platform_id: UUID) -> tuple[KeptRelease, ...]:
        """All releases of a platform, whoever's it is said to be, newest first."""
        ...

    def keep_release(self, release: KeptRelease) -> None:
        """Add a release, or replace what is kept under its RequestID."""
        ...


class Vault(Protocol):
    """An MA's store. Two transactions never see each other half done; what was committed survives a crash."""

    def transaction(self) -> AbstractContextManager[VaultTransaction]:
        """All or nothing: an exception inside rolls back."""
        ...
