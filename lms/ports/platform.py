"""What a platform keeps, where its packages lie, and who opens its token."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from lms.model.jobs import JobLedger
from lms.model.owner import Owner
from lms.model.platform import PendingRestore, PlatformState
from lms.model.recovery import KeptPackage, RecoveryFacts
from lms.model.release import Release, ReleaseRequest


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

    def newest(self) -> tuple[KeptPackage, ...]:
        """The package with the highest number of each platform that keeps its own here."""
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
