"""What a Migration Authority stands on: the key that takes outer wraps, and its store."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from lms.model.authorities import (
    KeptOwner,
    KeptPackage,
    KeptRelease,
    KeptRequest,
    ListedRequest,
    RequestKind,
    RequestState,
)
from lms.model.keys import Name
from lms.model.tpm import OuterWrap


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
