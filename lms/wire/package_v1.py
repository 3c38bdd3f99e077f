"""MigrationPackage, version 1: `urn:localmigration:package:1` (PROTOCOL §6). A frozen format.

Writing gives the canonical bytes that `lms.wire.signature.sign` completes; reading gives an
`UntrustedPackage`, which `lms.wire.acceptance` judges.
"""

from __future__ import annotations

from typing import Any, Final

from lms.model.keys import KeyType
from lms.model.packages import (
    Certification,
    ChildKey,
    ContentKey,
    Destination,
    DestinationKind,
    Flow,
    Header,
    Item,
    ItemUsage,
    MigratingKey,
    MigrationBlob,
    MigrationPackage,
    Source,
    UntrustedPackage,
)
from lms.model.tpm import Attestation, OuterWrap
from lms.wire.binding import (
    BASE64,
    NAME,
    NUMBER,
    PARENT,
    STRING,
    TIME,
    UUID_TEXT,
    Element,
    Field,
    enum,
    many,
    one,
    optional,
)
from lms.wire.binding import read as read_element
from lms.wire.binding import write as write_element
from lms.wire.common_v1 import ENCRYPTED_DATA, EncryptedData, inner_key, msa_approval, policy
from lms.wire.document import MAX_PACKAGE, DocumentKind, read_document
from lms.wire.signature import read_signature

NAMESPACE: Final = "urn:localmigration:package:1"
KIND: Final = DocumentKind(NAMESPACE, "MigrationPackage", "package-1.xsd", MAX_PACKAGE)


def _element(make: Any, *fields: Field, **more: Any) -> Element:
    return Element(make, fields, NAMESPACE, **more)


_SOURCE = _element(
    Source,
    one("PlatformID", "platform_id", UUID_TEXT),
    many("EKName", "ek_names", NAME),
    one("AKName", "ak_name", NAME),
    one("ParentName", "parent_name", NAME),
    one("HostName", "host_name", STRING),
)
_DESTINATION = _element(
    Destination,
    one("@Id", "ref", STRING),
    one("@Kind", "kind", enum(DestinationKind)),
    one("ID", "identity", STRING),
    one("ParentName", "parent_name", NAME),
)
_HEADER = _element(
    Header,
    one("PackageID", "package_id", UUID_TEXT),
    one("Flow", "flow", enum(Flow)),
    one("Created", "created", TIME),
    optional("Expires", "expires", TIME),
    one("Sequence", "sequence", NUMBER),
    optional("Supersedes", "supersedes", UUID_TEXT),
    one("Source", "source", _SOURCE),
    many("Destination", "destinations", _DESTINATION),
)
_CONTENT_KEY = _element(
    ContentKey,
    one("@Id", "ref", STRING),
    one("Public", "public", BASE64),
    one("Private", "private", BASE64),
    one("Parent", "parent", PARENT),
)


def _item(usage: ItemUsage) -> Element:
    def make(owner: str, application: str, label: str, encrypted: EncryptedData) -> Item:
        return Item(usage, owner, application, label, encrypted.key_name, encrypted.ciphertext)

    return _element(
        make,
        *_OWNED,
        one("EncryptedData", "encrypted", ENCRYPTED_DATA),
        views={"encrypted": lambda item: EncryptedData.of(item.ciphertext, item.content_key)},
    )


_OWNED: Final = (
    one("@Owner", "owner", STRING),
    one("@Application", "application", STRING),
    one("@Label", "label", STRING),
)
_ITEMS: Final = (
    many("Password", "passwords", _item(ItemUsage.PASSWORD)),
    many("ApplicationData", "data", _item(ItemUsage.DATA)),
)
_CERTIFICATION = _element(
    Certification,
    one("Attest", "attestation.attest", BASE64),
    one("Signature", "attestation.signature", BASE64),
    one("CreationData", "creation_data", BASE64),
    one("Certificate", "certificate", BASE64),
    parts={"attestation": Attestation},
)
_BLOB = _element(
    MigrationBlob,
    one("DestinationRef", "destination", STRING),
    one("Duplicate", "outer.duplicate", BASE64),
    one("EncryptedSeed", "outer.seed", BASE64),
    one("InnerSymmetric", "symmetric", BASE64),
    many("InnerKey", "inner_keys", inner_key(NAMESPACE)),
    many("MSAApproval", "approvals", msa_approval(NAMESPACE)),
    parts={"outer": OuterWrap},
)
_MIGRATING_KEY = _element(
    MigratingKey,
    one("KeyID", "key_id", NAME),
    one("Type", "type", enum(KeyType)),
    one("Label", "label", STRING),
    one("Public", "public", BASE64),
    optional("Policy", "policy", policy(NAMESPACE)),
    optional("Certification", "certification", _CERTIFICATION),
    many("MigrationBlob", "blobs", _BLOB),
    *_ITEMS,
)
_CHILD_KEY = _element(
    ChildKey,
    *_OWNED,
    one("KeyID", "key_id", NAME),
    one("Parent", "parent", PARENT),
    one("Public", "public", BASE64),
    one("Private", "private", BASE64),
    *_ITEMS,
)


def _package_id(package: MigrationPackage) -> str:
    return f"_{package.header.package_id}"


def _package(id: str, **values: Any) -> MigrationPackage:
    package = MigrationPackage(**values)
    if id != _package_id(package):
        raise ValueError("cannot read a package: its Id is not its PackageID")
    return package


_PACKAGE = _element(
    _package,
    one("@Id", "id", STRING),
    one("@Version", "version", STRING),
    one("Header", "header", _HEADER),
    many("ContentKey", "content_keys", _CONTENT_KEY),
    many("MigratingKey", "migrating_keys", _MIGRATING_KEY),
    many("ChildKey", "child_keys", _CHILD_KEY),
    views={"id": _package_id},
)


def write_package(package: MigrationPackage) -> bytes:
    """Canonical bytes of a package, still unsigned."""
    return write_element("MigrationPackage", package, _PACKAGE)


def read_package(document: bytes) -> UntrustedPackage:
    """A schema-valid package of at most 64 MiB that nobody has judged yet.

    Raises the errors of `lms.wire.document.read_document` and SignatureInvalid for a malformed signature.
    """
    root = read_document(document, KIND)
    return UntrustedPackage(read_element(root, _PACKAGE), document, read_signature(document, root))
