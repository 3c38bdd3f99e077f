"""A Migration Authority: who it is, what it keeps, and what is said to it (PROTOCOL §6, §7).

The messages are those of the service `urn:localmigration:service:1`; their form on the wire is
`lms.wire.service_v1`. Publics are TPM2B_PUBLIC, documents their exact signed bytes, digests SHA-256.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from lms.model.keys import Name
from lms.model.secret import Secret
from lms.model.tpm import Attestation, Credential
from lms.model.trust import Mode, Pair


@dataclass(frozen=True, slots=True)
class AuthorityChip:
    """The TPM of an MA: EK and AK (TPM2B_PUBLIC), EK certificates (DER), and the vault parent's TPM2_Certify by the AK.

    `vault_private` is the vault parent's TPM2B_PRIVATE below the SRK, `vault_auth` what using it takes.
    """

    ek: bytes
    ek_certificates: tuple[bytes, ...]
    ak: bytes
    vault_certify: Attestation
    vault_private: bytes
    vault_auth: Secret


@dataclass(frozen=True, slots=True)
class AuthorityIdentity:
    """Who an MA is, as `init` fixed it: `tls_key` is PKCS#8 DER, `vault` a TPM2B_PUBLIC.

    The vault of a software MA is opened by `vault_key` (PKCS#8 DER), any other lives in `chip`.
    """

    ma_id: UUID
    mode: Mode
    addresses: tuple[str, ...]
    tls_key: Secret
    vault: bytes
    vault_key: Secret | None
    chip: AuthorityChip | None
    request_nonce: bytes

    @property
    def destination(self) -> str:
        """ID of this MA as a destination of packages (PROTOCOL §0)."""
        return str(self.ma_id)


@dataclass(frozen=True, slots=True)
class KeptOwner:
    """An owner whom an MA serves: `tls_certificate` (DER) is what this owner's MSA issued to it."""

    fingerprint: bytes
    document: bytes
    trust_list: bytes
    tls_certificate: bytes
    combined: bool


@dataclass(frozen=True, slots=True)
class KeptPackage:
    """A package as an MA lists it; `marked` is when its deletion was asked for."""

    package_id: UUID
    owner: bytes
    platform_id: UUID
    sequence: int
    stored: datetime
    digest: bytes
    size: int
    marked: datetime | None = None


class RequestKind(Enum):
    """What was asked of the MSA through an MA's queue."""

    ENROLMENT = "enrolment"
    RESTORE = "restore"


class RequestState(Enum):
    """How far a request in an MA's queue came."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A request in the queue of the owner with this fingerprint; `answer` is the grant or approval, once there."""

    request_id: bytes
    kind: RequestKind
    owner: bytes
    platform_id: UUID
    ek_name: Name
    srk_name: Name
    document: bytes
    received: datetime
    address: str
    state: RequestState = RequestState.PENDING
    answer: bytes | None = None


@dataclass(frozen=True, slots=True)
class KeptRelease:
    """A package handed out to a pair under an approval of the owner with this fingerprint.

    `retires` are the platform's other pairs at that time: they end when the new pair has archived (`confirmed`),
    or at once where the approval said `stolen`. `ended` where a later approval superseded the release.
    """

    request_id: bytes
    owner: bytes
    platform_id: UUID
    package_id: UUID
    ek_name: Name
    srk_name: Name
    released: datetime
    retires: tuple[Pair, ...]
    stolen: bool
    ended: bool = False
    confirmed: bool = False


# --- what is said to an MA ---


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a connection: `certificate` (DER) where one was shown in the handshake.

    `address` is what counts as one asker: an IPv4 address, or the /64 of an IPv6 address.
    """

    address: str
    certificate: bytes | None


@dataclass(frozen=True, slots=True)
class ServiceInformation:
    """What an MA says of itself before anybody is authenticated: nothing that has to be believed."""

    ma_id: UUID
    mode: Mode
    max_document: int
    retention_days: int


@dataclass(frozen=True, slots=True)
class Hello:
    """Authenticate, first call: whose keys, and a nonce of 32 bytes."""

    platform_id: UUID
    ek: bytes
    srk: bytes
    ek_certificates: tuple[bytes, ...]
    client_nonce: bytes


@dataclass(frozen=True, slots=True)
class Challenge:
    """The answer: MakeCredential(EK, 32-byte secret, Name(SRK)), and the server's nonce of 32 bytes."""

    credential: Credential
    server_nonce: bytes


@dataclass(frozen=True, slots=True)
class Session:
    """The answer to a proof: a token of 32 bytes, and the owner's newest trust list for a pair that is known."""

    token: bytes
    lifetime_s: int
    trust_list: bytes | None


class Kind(Enum):
    """Documents that can be fetched; the ID is a PackageID, a RequestID in hex, or empty for the trust list."""

    PACKAGE = "MigrationPackage"
    RELEASED_PACKAGE = "ReleasedPackage"
    REWRAPPED_PACKAGE = "RewrappedPackage"
    ENROLMENT_REQUEST = "EnrolmentRequest"
    ENROLMENT_GRANT = "EnrolmentGrant"
    RESTORE_REQUEST = "RestoreRequest"
    RESTORE_ANNEX = "RestoreAnnex"
    TRUST_LIST = "TrustList"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an MA did with a document: `changed` is false where it had it already."""

    id: str
    digest: bytes
    stored: datetime
    changed: bool


@dataclass(frozen=True, slots=True)
class ListedPackage:
    """A package as its platform sees it at an MA."""

    package_id: UUID
    sequence: int
    stored: datetime
    digest: bytes
    size: int
    marked: datetime | None


@dataclass(frozen=True, slots=True)
class ListedRequest:
    """A request as its sender or a station sees it at an MA."""

    request_id: bytes
    kind: RequestKind
    platform_id: UUID
    received: datetime
    state: RequestState


@dataclass(frozen=True, slots=True)
class Inventory:
    """The answer to Query: what the asker may know, newest first; `trust_list_number` 0 where that is nothing."""

    packages: tuple[ListedPackage, ...]
    requests: tuple[ListedRequest, ...]
    trust_list_number: int
