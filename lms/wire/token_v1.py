"""Owner document, Emergency Recovery Token, recovery sheet (PROTOCOL §6). A frozen format.

Namespace `urn:localmigration:token:1`.
"""

from __future__ import annotations

from typing import Any, Final

from lms.model.owner import Argon2id, EmergencyRecoveryToken, OwnerDocument, RecoverySheet, SheetAuthority
from lms.model.packages import Signed
from lms.wire.binding import BASE64, NAME, NUMBER, STRING, UUID_TEXT, Element, Field, many, one, read, write
from lms.wire.common_v1 import policy
from lms.wire.document import DocumentKind, read_document
from lms.wire.signature import read_signature

NAMESPACE: Final = "urn:localmigration:token:1"
_SCHEMA: Final = "token-1.xsd"
OWNER_KIND: Final = DocumentKind(NAMESPACE, "OwnerDocument", _SCHEMA, 16 * 1024)
TOKEN_KIND: Final = DocumentKind(NAMESPACE, "EmergencyRecoveryToken", _SCHEMA, 32 * 1024)
SHEET_KIND: Final = DocumentKind(NAMESPACE, "RecoverySheet", _SCHEMA, 8 * 1024 - 1)


def _element(make: Any, *fields: Field, **more: Any) -> Element:
    return Element(make, fields, NAMESPACE, **more)


_OWNER = _element(
    OwnerDocument,
    one("CACertificate", "ca_certificate", BASE64),
    one("ApprovalRoot", "approval_root", BASE64),
    one("RecoveryKey", "recovery_key", BASE64),
    one("RootSignature", "root_signature", BASE64),
)
_ARGON2ID = _element(
    lambda version, **cost: Argon2id(**cost),
    one("@m", "memory", NUMBER),
    one("@t", "time", NUMBER),
    one("@p", "parallelism", NUMBER),
    one("@version", "version", STRING),
    views={"version": lambda cost: "0x13"},
)
_TOKEN_HEADER_FIELDS: Final = (
    one("OwnerDocument", "owner_document", BASE64),
    one("Argon2id", "cost", _ARGON2ID),
    one("Salt", "salt", BASE64),
    one("Nonce", "nonce", BASE64),
)


class _TokenHeader:
    """The Header element: everything of a token but the sealed seed."""

    def __init__(self, **values: Any) -> None:
        self.values = values


_HEADER = _element(_TokenHeader, *_TOKEN_HEADER_FIELDS)
_TOKEN = _element(
    lambda header, sealed: EmergencyRecoveryToken(**header.values, sealed=sealed),
    one("Header", "header", _HEADER),
    one("Sealed", "sealed", BASE64),
    views={"header": lambda token: token},
)
_SHEET = _element(
    RecoverySheet,
    one("PlatformID", "platform_id", UUID_TEXT),
    one("OwnerDocument", "owner_document", BASE64),
    one("Policy", "policy", policy(NAMESPACE)),
    many(
        "MigrationAuthority",
        "authorities",
        _element(
            SheetAuthority,
            one("MAID", "ma_id", UUID_TEXT),
            one("Address", "address", STRING),
            one("VaultName", "vault_name", NAME),
        ),
    ),
    one("DRSK", "drsk", BASE64),
    one("Sequence", "sequence", NUMBER),
)


def write_owner_document(value: OwnerDocument) -> bytes:
    """Canonical bytes, unsigned."""
    return write("OwnerDocument", value, _OWNER)


def write_token(value: EmergencyRecoveryToken) -> bytes:
    """Canonical bytes, unsigned."""
    return write("EmergencyRecoveryToken", value, _TOKEN)


def token_header(value: EmergencyRecoveryToken) -> bytes:
    """Exclusive canonical bytes of Header alone: the associated data of the sealed seed. `sealed` is not read."""
    return write("Header", value, _HEADER)


def write_sheet(value: RecoverySheet) -> bytes:
    """Canonical bytes, unsigned."""
    return write("RecoverySheet", value, _SHEET)


def _read(document: bytes, kind: DocumentKind, element: Element) -> tuple[Any, Signed]:
    root = read_document(document, kind)
    return read(root, element), read_signature(document, root)


def read_owner_document(document: bytes) -> tuple[OwnerDocument, Signed]:
    """Content and signature, not verified: see `lms.wire.anchor`."""
    return _read(document, OWNER_KIND, _OWNER)


def read_token(document: bytes) -> tuple[EmergencyRecoveryToken, Signed]:
    """Content and signature, not verified: see `lms.wire.anchor`."""
    return _read(document, TOKEN_KIND, _TOKEN)


def read_sheet(document: bytes) -> tuple[RecoverySheet, Signed]:
    """Content and signature, not verified: see `lms.wire.acceptance`."""
    return _read(document, SHEET_KIND, _SHEET)
