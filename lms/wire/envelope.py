"""What stands around a message: SOAP 1.2 envelopes (W3C SOAP 1.2 Part 1, 5; PROTOCOL §7).

Hostile bytes become one schema-valid message of `urn:localmigration:service:1`, or an error; answers and faults
become bytes. There are no headers, encodings, attachments or references here, and no HTTP.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from lxml import etree

from lms.errors import LmsError, MalformedXml, SchemaViolation, TooLarge, UnsupportedVersion, WrongDocument
from lms.wire.binding import escape
from lms.wire.document import MIB, parse
from lms.wire.package_v1 import KIND as PACKAGE
from lms.wire.service_v1 import MigrationFault, check_message, write_fault

NAMESPACE: Final = "http://www.w3.org/2003/05/soap-envelope"
MEDIA_TYPE: Final = "application/soap+xml"
# The largest document in base64, and room for what stands around it.
MAX_REQUEST: Final = (PACKAGE.max_bytes + 2) // 3 * 4 + MIB // 16
# Tags and attribute values of a request: a hundred do. A tree takes thirty times the bytes of empty elements.
_MAX_MARKUP: Final = 512

_PREFIX: Final = f'<soap:Envelope xmlns:soap="{NAMESPACE}"><soap:Body>'.encode()
_SUFFIX: Final = b"</soap:Body></soap:Envelope>"
_ENVELOPE: Final = f"{{{NAMESPACE}}}Envelope"
_HEADER: Final = f"{{{NAMESPACE}}}Header"
_BODY: Final = f"{{{NAMESPACE}}}Body"
_MUST_UNDERSTAND: Final = f"{{{NAMESPACE}}}mustUnderstand"
_CHILDREN: Final = ([_BODY], [_HEADER, _BODY])
# A comment or an instruction splits a text in two, of which a reader may see one.
_SPLITTING: Final = etree.XPath("boolean(//comment() | //processing-instruction())")


class Fault(Enum):
    """Whose fault it was, in the words of SOAP 1.2 Part 1, 5.4.6."""

    SENDER = "Sender"
    RECEIVER = "Receiver"
    VERSION = "VersionMismatch"
    HEADER = "MustUnderstand"


class EnvelopeRefused(Exception):
    """What is wrong with an envelope, in SOAP's words; `error` says it in ours."""

    def __init__(self, fault: Fault, error: LmsError) -> None:
        super().__init__(str(error))
        self.fault = fault
        self.error = error


def read_request(envelope: bytes) -> etree._Element:
    """The schema-valid message in a request. Raises EnvelopeRefused."""
    try:
        _check_size(envelope)
        message = message_in(envelope)
        check_message(message)
    except LmsError as error:
        raise EnvelopeRefused(Fault.SENDER, error) from None
    return message


def _check_size(envelope: bytes) -> None:
    if len(envelope) > MAX_REQUEST:
        raise TooLarge(f"cannot accept an envelope of {len(envelope)} bytes: at most {MAX_REQUEST}")
    if any(envelope.count(mark) > _MAX_MARKUP for mark in (b"<", b'"', b"'")):
        raise MalformedXml(f"cannot accept an envelope with more than {_MAX_MARKUP} tags or quotes")


def message_in(envelope: bytes) -> etree._Element:
    """The one message in an envelope, whatever it is.

    Raises EnvelopeRefused, DoctypeForbidden, MalformedXml, SchemaViolation.
    """
    root = parse(envelope)
    if root.tag != _ENVELOPE:
        error = WrongDocument(f"cannot accept '{etree.QName(root).localname}': expected an envelope of SOAP 1.2")
        raise EnvelopeRefused(Fault.VERSION, error)
    if _SPLITTING(root):
        raise MalformedXml("cannot accept an envelope with comments or processing instructions")
    if [child.tag for child in root] not in _CHILDREN:
        raise SchemaViolation("cannot accept an envelope that is not at most one Header, then one Body")
    if len(root) > 1:
        _refuse_mandatory(root[0])
    messages = list(root[-1])
    if len(messages) != 1:
        raise SchemaViolation(f"cannot accept a Body with {len(messages)} messages: expected one")
    return messages[0]


def _refuse_mandatory(header: etree._Element) -> None:
    for block in header:
        if block.get(_MUST_UNDERSTAND, "false").strip() not in ("0", "false"):
            name = etree.QName(block).localname
            raise EnvelopeRefused(Fault.HEADER, UnsupportedVersion(f"cannot understand the header '{name}'"))


def write_envelope(message: bytes) -> bytes:
    """An envelope around the canonical bytes of one message."""
    return _PREFIX + message + _SUFFIX


def write_fault_envelope(fault: Fault, detail: MigrationFault) -> bytes:
    """An envelope around a fault."""
    return write_envelope(
        f"<soap:Fault><soap:Code><soap:Value>soap:{fault.value}</soap:Value></soap:Code>"
        f'<soap:Reason><soap:Text xml:lang="en">{escape(detail.message)}</soap:Text></soap:Reason>'
        "<soap:Detail>".encode()
        + write_fault(detail)
        + b"</soap:Detail></soap:Fault>"
    )
