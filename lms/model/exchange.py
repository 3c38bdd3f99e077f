"""What platforms, authorities and the MSA write to each other (PROTOCOL §6, `urn:localmigration:authority:1`).

Publics are TPM2B_PUBLIC, certificates DER, nested documents their exact signed bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from lms.model.keys import Name
from lms.model.packages import InnerKey, MsaApproval
from lms.model.tpm import Attestation, Credential, OuterWrap
from lms.model.trust import Mode, Pair


@dataclass(frozen=True, slots=True)
class AttestedKey:
    """A public and the AK's TPM2_Certify of it."""

    public: bytes
    certify: Attestation


@dataclass(frozen=True, slots=True)
class RequestBase:
    """What both requests carry: `nonce` 16 bytes, the EK to which the answer's credentials go."""

    request_id: bytes
    nonce: bytes
    ek: bytes | None
    ek_certificates: tuple[bytes, ...]
    trust_list_number: int


@dataclass(frozen=True, slots=True)
class BirthEvidence:
    """A DRSK and how it was born; `ak_certificate` where an earlier AK signed."""

    public: bytes
    creation_data: bytes | None
    attestation: Attestation | None
    ak_certificate: bytes | None


@dataclass(frozen=True, slots=True)
class PlatformEnrolment:
    """What a platform asks to be enrolled with."""

    platform_id: UUID
    ak: bytes
    srk: AttestedKey
    signing_key: AttestedKey
    drsk: BirthEvidence


@dataclass(frozen=True, slots=True)
class AuthorityEnrolment:
    """What an MA asks to be enrolled with; a software MA has neither AK nor Certify."""

    ma_id: UUID
    ak: bytes | None
    vault: bytes
    vault_certify: Attestation | None
    tls_public: bytes
    addresses: tuple[str, ...]
    mode: Mode


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """A platform or an MA asks the MSA to know it: exactly one of the two parts is there."""

    base: RequestBase
    platform: PlatformEnrolment | None
    authority: AuthorityEnrolment | None


@dataclass(frozen=True, slots=True)
class VerifiedEnrolment:
    """A platform's request whose every proof fits; `lms.wire.enrolment` alone makes it.

    `signing_key` is TPM2B_PUBLIC; `born` tells whether the DRSK has birth evidence by the AK.
    """

    request_id: bytes
    platform: PlatformEnrolment
    ek: bytes
    ek_certificates: tuple[bytes, ...]
    ek_name: Name
    ak_name: Name
    srk_name: Name
    drsk_name: Name
    born: bool
    trust_list_number: int


@dataclass(frozen=True, slots=True)
class VerifiedAuthorityEnrolment:
    """An MA's request whose every proof fits; `lms.wire.enrolment` alone makes it.

    `ek` is the TPM2B_PUBLIC to which the answer's credential goes, `ak_name` the Name beside which it opens:
    where the MA has no TPM, its vault stands for both.
    """

    request_id: bytes
    authority: AuthorityEnrolment
    ek: bytes
    ek_certificates: tuple[bytes, ...]
    ek_name: Name
    ak_name: Name
    vault_name: Name
    trust_list_number: int


@dataclass(frozen=True, slots=True)
class EncryptedCertificates:
    """Certificates under a key that only the requester's chip opens; `ciphertext` as in PROTOCOL §4."""

    credential: Credential
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class EnrolmentGrant:
    """The MSA's answer to an enrolment."""

    request_id: bytes
    certificates: EncryptedCertificates
    approvals: tuple[MsaApproval, ...]
    trust_list: bytes
    sheet: bytes | None
    mode: Mode
    combined: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One key at one destination, outside a package: (KeyID, destination ID)."""

    key_id: Name
    destination_id: str
    inner_keys: tuple[InnerKey, ...]


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """A platform asks for its keys; package and entries only where a package is at hand."""

    base: RequestBase
    platform_id: UUID
    ak: bytes
    srk: AttestedKey
    signing_key: AttestedKey
    package_id: UUID | None
    sequence: int | None
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class VerifiedRestoreRequest:
    """A restore request whose every proof fits; `lms.wire.restoration` alone makes it.

    `digest` is SHA-256 of its signed bytes. Its entries are the requester's word: nothing proves them.
    """

    request: RestoreRequest
    digest: bytes
    ek: bytes
    ek_name: Name
    ak_name: Name
    srk_name: Name

    @property
    def request_id(self) -> bytes:
        """Of the request, recomputed."""
        return self.request.base.request_id

    @property
    def pair(self) -> Pair:
        """The TPM that asks."""
        return Pair(self.ek_name, self.srk_name)


@dataclass(frozen=True, slots=True)
class RestoreAnnex:
    """What an MA claims to hold for a request that came without a package."""

    request_id: bytes
    request_digest: bytes
    package_id: UUID
    sequence: int
    stored: datetime
    digest: bytes
    earlier_releases: tuple[bytes, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class RestoreApproval:
    """The MSA's word on a restore; each entry's inner key is for (EK, SRK Name) of the request."""

    request_id: bytes
    package_id: UUID
    not_before: datetime
    not_after: datetime
    entries: tuple[Entry, ...]
    certificates: EncryptedCertificates
    trust_list: bytes
    sheet: bytes
    supersedes: tuple[bytes, ...]
    stolen: bool


@dataclass(frozen=True, slots=True)
class ReleasedBlob:
    """The outer wrap of one key, passed on to the approved destination."""

    key_id: Name
    outer: OuterWrap


@dataclass(frozen=True, slots=True)
class ReleasedPackage:
    """The original package, unchanged, with what the approved platform needs to open it."""

    package: bytes
    blobs: tuple[ReleasedBlob, ...]
    approval: bytes


@dataclass(frozen=True, slots=True)
class RewrappedPackage:
    """The outer wraps of a package for a platform that is known already; no inner key comes with them."""

    package_id: UUID
    blobs: tuple[ReleasedBlob, ...]
