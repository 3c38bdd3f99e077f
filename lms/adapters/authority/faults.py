"""The one typed fault of the service, as an error of `lms.errors` (PROTOCOL §7).

A fault is the authority's word: it chooses among the errors that an authority can have, never one that would send
a person to the TPM, a password or another authority.
"""

from __future__ import annotations

from typing import Final

from lms.errors import (
    AboutRequest,
    AlreadyReleased,
    ApprovalExpired,
    ApprovalInvalid,
    ApprovalPending,
    AuthorityBusy,
    AuthorityFailed,
    BadAttributes,
    BlobRefused,
    CertificationInvalid,
    ContentMismatch,
    Denied,
    DoctypeForbidden,
    EkUntrusted,
    GrantMismatch,
    InnerKeyMismatch,
    LastPackage,
    LmsError,
    MalformedStructure,
    MalformedXml,
    NameMismatch,
    NotAtAuthority,
    NotAuthenticated,
    NotAuthorised,
    NotCanonical,
    OwnerMismatch,
    PackageConflict,
    PackageExpired,
    PackageStale,
    PolicyMismatch,
    QuotaExceeded,
    RequestInvalid,
    SchemaViolation,
    SequenceTooHigh,
    SessionExpired,
    SignatureInvalid,
    SignerWithdrawn,
    TakeOver,
    TooLarge,
    TrustListConflict,
    UnsupportedVersion,
    UntrustedSigner,
    WrongDestination,
    WrongDocument,
    WrongRole,
)
from lms.wire.service_v1 import MigrationFault

MAX_MESSAGE: Final = 300
CODES: Final[dict[str, type[LmsError]]] = {
    error.__name__: error
    for error in (
        # about the asker
        AuthorityBusy, NotAuthenticated, SessionExpired, NotAuthorised, QuotaExceeded, TakeOver, EkUntrusted,
        # about what is asked for
        NotAtAuthority, ApprovalPending, Denied, AlreadyReleased, LastPackage, PackageConflict,
        # about the document that was uploaded, or the keys that were shown
        TooLarge, MalformedXml, DoctypeForbidden, NotCanonical, SchemaViolation, WrongDocument, UnsupportedVersion,
        SignatureInvalid, UntrustedSigner, WrongRole, SignerWithdrawn, OwnerMismatch,
        PackageExpired, PackageStale, SequenceTooHigh, WrongDestination,
        MalformedStructure, NameMismatch, BadAttributes, PolicyMismatch, ApprovalInvalid, CertificationInvalid,
        RequestInvalid, GrantMismatch, ApprovalExpired, TrustListConflict, InnerKeyMismatch,
        ContentMismatch, BlobRefused,
    )
}  # fmt: skip


def error_of(fault: MigrationFault) -> LmsError:
    """The error that a fault says; AuthorityFailed with its code where no authority may say that."""
    message = "".join(c for c in fault.message if c.isprintable())[:MAX_MESSAGE]
    reference = f"(authority's reference {fault.correlation_id})"
    kind = CODES.get(fault.code)
    if kind is None:
        return AuthorityFailed(f"cannot go on: the authority says '{fault.code}', {message} {reference}")
    if issubclass(kind, AboutRequest):
        return kind(f"{message} {reference}", fault.request_id)
    return kind(f"{message} {reference}")
