"""The messages of a Migration Authority: `urn:localmigration:service:1` (PROTOCOL §7). A frozen format.

`OPERATIONS` names the seven operations with the table of each request and answer; the WSDL that goes with them
is `schemas/service-1.wsdl`. What stands around a message on the wire is `lms.wire.envelope`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from lxml import etree

from lms.errors import SchemaViolation
from lms.model.authorities import (
    Challenge,
    Hello,
    Inventory,
    Kind,
    ListedPackage,
    ListedRequest,
    Receipt,
    RequestKind,
    RequestState,
    ServiceInformation,
    Session,
)
from lms.model.tpm import Credential
from lms.model.trust import Mode
from lms.wire.binding import (
    BASE64,
    HEX,
    NUMBER,
    STRING,
    TIME,
    UUID_TEXT,
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
from lms.wire.common_v1 import credential_fields
from lms.wire.document import check_schema

NAMESPACE: Final = "urn:localmigration:service:1"
SCHEMA: Final = "service-1.xsd"
WSDL: Final = "service-1.wsdl"
# A schema has no say on these: xsi:… names types and places of schemas.
_QUALIFIED: Final = etree.XPath("boolean(.//@*[namespace-uri()])")
_BOOLEAN: Final = Text(lambda text: text == "true", lambda value: "true" if value else "false")


# Requests; a `session` that is None is a station's


@dataclass(frozen=True, slots=True)
class Proof:
    """Authenticate, second call: the nonce of the challenge, and HMAC-SHA256 over what both ends saw."""

    server_nonce: bytes
    proof: bytes


@dataclass(frozen=True, slots=True)
class AuthenticateRequest:
    """One of the two calls."""

    hello: Hello | None
    proof: Proof | None


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """A document to keep, its exact signed bytes."""

    session: bytes | None
    document: bytes


@dataclass(frozen=True, slots=True)
class DownloadRequest:
    """Which document."""

    session: bytes | None
    kind: Kind
    id: str


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """What is there."""

    session: bytes | None


@dataclass(frozen=True, slots=True)
class DeleteRequest:
    """A package to mark, or a request to deny."""

    session: bytes | None
    id: str


@dataclass(frozen=True, slots=True)
class InformationRequest:
    """GetMAServiceInformation."""


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """GetMAKey."""


# Answers


@dataclass(frozen=True, slots=True)
class AuthenticateAnswer:
    """The answer to one of the two calls."""

    challenge: Challenge | None
    session: Session | None


@dataclass(frozen=True, slots=True)
class ReceiptAnswer:
    """The answer to Upload and Delete."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class DownloadAnswer:
    """A document, its exact signed bytes."""

    document: bytes


@dataclass(frozen=True, slots=True)
class KeyAnswer:
    """TPM2B_PUBLIC of the vault parent."""

    vault: bytes


@dataclass(frozen=True, slots=True)
class MigrationFault:
    """What every refusal carries: the name of a class of `lms.errors`, or `Internal`."""

    code: str
    message: str
    correlation_id: UUID
    retry_after_s: int | None = None
    request_id: bytes | None = None


def _element(make: Any, *fields: Field, **more: Any) -> Element:
    return Element(make, fields, NAMESPACE, **more)


_SESSION: Final = optional("Session", "session", BASE64)
_HELLO = _element(
    Hello,
    one("PlatformID", "platform_id", UUID_TEXT),
    one("EK", "ek", BASE64),
    one("SRK", "srk", BASE64),
    many("EKCertificate", "ek_certificates", BASE64),
    one("ClientNonce", "client_nonce", BASE64),
)
_PROOF = _element(Proof, one("ServerNonce", "server_nonce", BASE64), one("Proof", "proof", BASE64))
_CHALLENGE = _element(
    Challenge,
    *credential_fields("credential"),
    one("ServerNonce", "server_nonce", BASE64),
    parts={"credential": Credential},
)
_OPENED = _element(
    Session,
    one("Token", "token", BASE64),
    one("Lifetime", "lifetime_s", NUMBER),
    optional("TrustList", "trust_list", BASE64),
)
_RECEIPT = _element(
    Receipt,
    one("ID", "id", STRING),
    one("Digest", "digest", HEX),
    one("Stored", "stored", TIME),
    one("Changed", "changed", _BOOLEAN),
)
_PACKAGE = _element(
    ListedPackage,
    one("PackageID", "package_id", UUID_TEXT),
    one("Sequence", "sequence", NUMBER),
    one("Stored", "stored", TIME),
    one("Digest", "digest", HEX),
    one("Size", "size", NUMBER),
    optional("Marked", "marked", TIME),
)
_REQUEST = _element(
    ListedRequest,
    one("RequestID", "request_id", HEX),
    one("Kind", "kind", enum(RequestKind)),
    one("PlatformID", "platform_id", UUID_TEXT),
    one("Received", "received", TIME),
    one("State", "state", enum(RequestState)),
)
_RECEIPT_ANSWER = _element(ReceiptAnswer, one("Receipt", "receipt", _RECEIPT))


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: the element of its request has its name, that of its answer ends with `Response`."""

    name: str
    request: Element
    answer: Element

    def write_request(self, value: Any) -> bytes:
        """Canonical bytes of a request element."""
        return write(self.name, value, self.request)

    def read_request(self, node: etree._Element) -> Any:
        """The request in a schema-valid element. Raises SchemaViolation."""
        return read(node, self.request)

    def write_answer(self, value: Any) -> bytes:
        """Canonical bytes of an answer element."""
        return write(f"{self.name}Response", value, self.answer)

    def read_answer(self, node: etree._Element) -> Any:
        """The answer in a schema-valid element. Raises SchemaViolation."""
        return read(node, self.answer)


OPERATIONS: Final = {
    operation.name: operation
    for operation in (
        Operation(
            "Authenticate",
            _element(AuthenticateRequest, optional("Hello", "hello", _HELLO), optional("Proof", "proof", _PROOF)),
            _element(
                AuthenticateAnswer,
                optional("Challenge", "challenge", _CHALLENGE),
                optional("Session", "session", _OPENED),
            ),
        ),
        Operation(
            "Upload",
            _element(UploadRequest, _SESSION, one("Document", "document", BASE64)),
            _RECEIPT_ANSWER,
        ),
        Operation(
            "Download",
            _element(DownloadRequest, _SESSION, one("Kind", "kind", enum(Kind)), one("ID", "id", STRING)),
            _element(DownloadAnswer, one("Document", "document", BASE64)),
        ),
        Operation(
            "Query",
            _element(QueryRequest, _SESSION),
            _element(
                Inventory,
                many("Package", "packages", _PACKAGE),
                many("Request", "requests", _REQUEST),
                one("TrustListNumber", "trust_list_number", NUMBER),
            ),
        ),
        Operation("Delete", _element(DeleteRequest, _SESSION, one("ID", "id", STRING)), _RECEIPT_ANSWER),
        Operation(
            "GetMAServiceInformation",
            _element(InformationRequest),
            _element(
                ServiceInformation,
                one("MAID", "ma_id", UUID_TEXT),
                one("Mode", "mode", enum(Mode)),
                one("MaxDocument", "max_document", NUMBER),
                one("RetentionDays", "retention_days", NUMBER),
            ),
        ),
        Operation("GetMAKey", _element(KeyRequest), _element(KeyAnswer, one("Vault", "vault", BASE64))),
    )
}

_FAULT = _element(
    MigrationFault,
    one("Code", "code", STRING),
    one("Message", "message", STRING),
    one("CorrelationID", "correlation_id", UUID_TEXT),
    optional("RetryAfter", "retry_after_s", NUMBER),
    optional("RequestID", "request_id", HEX),
)
FAULT_TAG: Final = f"{{{NAMESPACE}}}MigrationFault"


def write_fault(value: MigrationFault) -> bytes:
    """Canonical bytes of the one typed fault."""
    return write("MigrationFault", value, _FAULT)


def read_fault(node: etree._Element) -> MigrationFault:
    """The fault in a schema-valid element. Raises SchemaViolation."""
    fault: MigrationFault = read(node, _FAULT)
    return fault


def check_message(node: etree._Element) -> None:
    """Hold a message's element against the schema. Raises SchemaViolation."""
    if _QUALIFIED(node):
        raise SchemaViolation("cannot accept a message with qualified attributes")
    check_schema(node, SCHEMA)


def operation_of(node: etree._Element) -> Operation:
    """The operation that a request's element calls. Raises SchemaViolation where there is none."""
    name = etree.QName(node)
    if name.namespace != NAMESPACE or name.localname not in OPERATIONS:
        raise SchemaViolation(f"cannot call '{name.localname}': there is no such operation")
    return OPERATIONS[name.localname]
