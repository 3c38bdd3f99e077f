"""What platforms, authorities and the MSA exchange: `urn:localmigration:authority:1` (PROTOCOL §6). A frozen format.

One table a document; `DOCUMENTS` names them all. Reading checks form alone, `lms.wire.acceptance` the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from lms.model.exchange import (
    AttestedKey,
    AuthorityEnrolment,
    BirthEvidence,
    EncryptedCertificates,
    EnrolmentGrant,
    EnrolmentRequest,
    Entry,
    PlatformEnrolment,
    ReleasedBlob,
    ReleasedPackage,
    RequestBase,
    RestoreAnnex,
    RestoreApproval,
    RestoreRequest,
    RewrappedPackage,
)
from lms.model.packages import Signed
from lms.model.tpm import Attestation, Credential, OuterWrap
from lms.model.trust import Identity, Mode, Pair, TrustedAuthority, TrustedPlatform, TrustList, Withdrawal
from lms.wire.binding import (
    BASE64,
    HEX,
    NAME,
    NUMBER,
    STRING,
    TIME,
    UUID_TEXT,
    YES_NO,
    Element,
    Field,
    Text,
    enum,
    many,
    one,
    optional,
    read,
    write,
)
from lms.wire.common_v1 import (
    ATTESTATION_PART,
    ENCRYPTED_DATA,
    EncryptedData,
    attestation_fields,
    credential_fields,
    inner_key,
    msa_approval,
)
from lms.wire.document import MIB, DocumentKind, read_document
from lms.wire.signature import read_signature

NAMESPACE: Final = "urn:localmigration:authority:1"
_SCHEMA: Final = "authority-1.xsd"


def _element(make: Any, *fields: Field, **more: Any) -> Element:
    return Element(make, fields, NAMESPACE, **more)


_APPROVAL = msa_approval(NAMESPACE)
_ENTRY = _element(
    Entry,
    one("@KeyID", "key_id", NAME),
    one("@Destination", "destination_id", STRING),
    many("InnerKey", "inner_keys", inner_key(NAMESPACE)),
)
_ATTESTED = _element(
    AttestedKey,
    one("Public", "public", BASE64),
    one("Attest", "certify.attest", BASE64),
    one("Signature", "certify.signature", BASE64),
    parts={"certify": Attestation},
)
_BIRTH = _element(
    BirthEvidence,
    one("Public", "public", BASE64),
    optional("CreationData", "creation_data", BASE64),
    *attestation_fields("attestation"),
    optional("AKCertificate", "ak_certificate", BASE64),
    parts=ATTESTATION_PART,
)
_BASE_FIELDS: Final = (
    one("RequestID", "base.request_id", HEX),
    one("Nonce", "base.nonce", BASE64),
    optional("EK", "base.ek", BASE64),
    many("EKCertificate", "base.ek_certificates", BASE64),
    one("TrustListNumber", "base.trust_list_number", NUMBER),
)
_PLATFORM = _element(
    PlatformEnrolment,
    one("PlatformID", "platform_id", UUID_TEXT),
    one("AK", "ak", BASE64),
    one("SRK", "srk", _ATTESTED),
    one("SigningKey", "signing_key", _ATTESTED),
    one("DRSK", "drsk", _BIRTH),
)
_AUTHORITY = _element(
    AuthorityEnrolment,
    one("MAID", "ma_id", UUID_TEXT),
    optional("AK", "ak", BASE64),
    one("Vault", "vault", BASE64),
    *attestation_fields("vault_certify"),
    one("TLSPublic", "tls_public", BASE64),
    many("Address", "addresses", STRING),
    one("Mode", "mode", enum(Mode)),
    parts={"vault_certify": Attestation},
)
_ENROLMENT_REQUEST = _element(
    EnrolmentRequest,
    *_BASE_FIELDS,
    optional("Platform", "platform", _PLATFORM),
    optional("MigrationAuthority", "authority", _AUTHORITY),
    parts={"base": RequestBase},
)


def _certificates(credential: Credential, encrypted: EncryptedData) -> EncryptedCertificates:
    return EncryptedCertificates(credential, encrypted.ciphertext)


_CERTIFICATES = _element(
    _certificates,
    *credential_fields("credential"),
    one("EncryptedData", "encrypted", ENCRYPTED_DATA),
    parts={"credential": Credential},
    views={"encrypted": lambda value: EncryptedData.of(value.ciphertext)},
)
_GRANT = _element(
    EnrolmentGrant,
    one("RequestID", "request_id", HEX),
    one("Certificates", "certificates", _CERTIFICATES),
    many("MSAApproval", "approvals", _APPROVAL),
    one("TrustList", "trust_list", BASE64),
    optional("Sheet", "sheet", BASE64),
    one("Mode", "mode", enum(Mode)),
    one("Combined", "combined", YES_NO),
)
_RESTORE_REQUEST = _element(
    RestoreRequest,
    *_BASE_FIELDS,
    one("PlatformID", "platform_id", UUID_TEXT),
    one("AK", "ak", BASE64),
    one("SRK", "srk", _ATTESTED),
    one("SigningKey", "signing_key", _ATTESTED),
    optional("PackageID", "package_id", UUID_TEXT),
    optional("Sequence", "sequence", NUMBER),
    many("Entry", "entries", _ENTRY),
    parts={"base": RequestBase},
)
_ANNEX = _element(
    RestoreAnnex,
    one("RequestID", "request_id", HEX),
    one("RequestDigest", "request_digest", HEX),
    one("PackageID", "package_id", UUID_TEXT),
    one("Sequence", "sequence", NUMBER),
    one("Stored", "stored", TIME),
    one("Digest", "digest", HEX),
    many("EarlierRelease", "earlier_releases", HEX),
    many("Entry", "entries", _ENTRY),
)
_RESTORE_APPROVAL = _element(
    RestoreApproval,
    one("RequestID", "request_id", HEX),
    one("PackageID", "package_id", UUID_TEXT),
    one("NotBefore", "not_before", TIME),
    one("NotAfter", "not_after", TIME),
    many("Entry", "entries", _ENTRY),
    one("Certificates", "certificates", _CERTIFICATES),
    one("TrustList", "trust_list", BASE64),
    one("Sheet", "sheet", BASE64),
    many("Supersedes", "supersedes", HEX),
    one("Stolen", "stolen", YES_NO),
)
_PAIR = _element(Pair, one("@EK", "ek_name", NAME), one("@SRK", "srk_name", NAME))
_IDENTITY: Final = Text(Identity.from_urn, lambda identity: identity.urn)
_TRUST_LIST = _element(
    TrustList,
    one("Number", "number", NUMBER),
    one("Owner", "owner", HEX),
    one("Issued", "issued", TIME),
    many(
        "Platform",
        "platforms",
        _element(
            TrustedPlatform,
            one("PlatformID", "platform_id", UUID_TEXT),
            many("Pair", "pairs", _PAIR),
            many("DRSKName", "drsk_names", NAME),
        ),
    ),
    many("VouchedEK", "vouched_eks", BASE64),
    many(
        "MA",
        "authorities",
        _element(
            TrustedAuthority,
            one("MAID", "ma_id", UUID_TEXT),
            many("Address", "addresses", STRING),
            one("Mode", "mode", enum(Mode)),
            one("Combined", "combined", YES_NO),
            one("TLSKey", "tls_key", HEX),
            one("Vault", "vault", BASE64),
            many("MSAApproval", "approvals", _APPROVAL),
        ),
    ),
    many(
        "Withdrawn",
        "withdrawn",
        _element(Withdrawal, one("@ID", "identity", _IDENTITY), one("@Since", "since", TIME)),
    ),
)
_BLOBS = many(
    "Released",
    "blobs",
    _element(
        ReleasedBlob,
        one("@KeyID", "key_id", NAME),
        one("Duplicate", "outer.duplicate", BASE64),
        one("EncryptedSeed", "outer.seed", BASE64),
        parts={"outer": OuterWrap},
    ),
)
_RELEASED = _element(
    ReleasedPackage,
    one("Package", "package", BASE64),
    _BLOBS,
    one("RestoreApproval", "approval", BASE64),
)
_REWRAPPED = _element(RewrappedPackage, one("PackageID", "package_id", UUID_TEXT), _BLOBS)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One kind of document of this namespace and its table."""

    kind: DocumentKind
    element: Element

    def write(self, value: Any) -> bytes:
        """Canonical bytes, unsigned."""
        return write(self.kind.root, value, self.element)

    def read(self, document: bytes) -> tuple[Any, Signed]:
        """Content and signature, neither verified."""
        root = read_document(document, self.kind)
        return read(root, self.element), read_signature(document, root)


def _document(root: str, element: Element, max_bytes: int = MIB) -> Exchange:
    return Exchange(DocumentKind(NAMESPACE, root, _SCHEMA, max_bytes), element)


ENROLMENT_REQUEST: Final = _document("EnrolmentRequest", _ENROLMENT_REQUEST)
ENROLMENT_GRANT: Final = _document("EnrolmentGrant", _GRANT, 16 * MIB)
RESTORE_REQUEST: Final = _document("RestoreRequest", _RESTORE_REQUEST)
RESTORE_ANNEX: Final = _document("RestoreAnnex", _ANNEX)
RESTORE_APPROVAL: Final = _document("RestoreApproval", _RESTORE_APPROVAL, 16 * MIB)
TRUST_LIST: Final = _document("TrustList", _TRUST_LIST, 8 * MIB)
RELEASED_PACKAGE: Final = _document("ReleasedPackage", _RELEASED, 112 * MIB)
REWRAPPED_PACKAGE: Final = _document("RewrappedPackage", _REWRAPPED)
DOCUMENTS: Final = {
    exchange.kind.root: exchange
    for exchange in (
        ENROLMENT_REQUEST,
        ENROLMENT_GRANT,
        RESTORE_REQUEST,
        RESTORE_ANNEX,
        RESTORE_APPROVAL,
        TRUST_LIST,
        RELEASED_PACKAGE,
        REWRAPPED_PACKAGE,
    )
}


@dataclass(frozen=True, slots=True)
class CertificateBundle:
    """The plaintext of `EncryptedCertificates`: DER certificates for the requester."""

    certificates: tuple[bytes, ...]


_BUNDLE = _element(CertificateBundle, many("Certificate", "certificates", BASE64))
_BUNDLE_KIND: Final = DocumentKind(NAMESPACE, "CertificateBundle", _SCHEMA, 64 * 1024)


def write_bundle(value: CertificateBundle) -> bytes:
    """Canonical bytes, to be encrypted."""
    return write("CertificateBundle", value, _BUNDLE)


def read_bundle(plaintext: bytes) -> CertificateBundle:
    """What `write_bundle` made; the errors of `read_document`."""
    bundle: CertificateBundle = read(read_document(plaintext, _BUNDLE_KIND), _BUNDLE)
    return bundle
