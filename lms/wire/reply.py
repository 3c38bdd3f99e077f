"""What an authority answers: hostile bytes become the answer to one operation, or its one typed fault (PROTOCOL §7).

The caller caps the size; where the bytes come from and what they mean for the asker is decided elsewhere.
"""

from __future__ import annotations

from typing import Any, Final

from lxml import etree

from lms.errors import MalformedXml, SchemaViolation, WrongDocument
from lms.wire.envelope import NAMESPACE as SOAP
from lms.wire.envelope import EnvelopeRefused, message_in
from lms.wire.service_v1 import FAULT_TAG, NAMESPACE, Operation, check_message, read_fault

_FAULT, _DETAIL = (f"{{{SOAP}}}{name}" for name in ("Fault", "Detail"))
# Two full lists have 200 000 tags and two declarations; a tree of more takes a hundred times its bytes.
_MAX_MARKUP: Final = 256 * 1024


def read_reply(envelope: bytes, operation: Operation) -> Any:
    """The answer to `operation`, or a MigrationFault.

    Raises DoctypeForbidden, MalformedXml, SchemaViolation, UnsupportedVersion, WrongDocument.
    """
    if any(envelope.count(mark) > _MAX_MARKUP for mark in (b"<", b'"', b"'")):
        raise MalformedXml(f"cannot accept an envelope with more than {_MAX_MARKUP} tags or quotes")
    try:
        message = message_in(envelope)
    except EnvelopeRefused as refused:
        raise refused.error from None
    if message.tag == _FAULT:
        return _fault(message)
    if message.tag != f"{{{NAMESPACE}}}{operation.name}Response":
        name = etree.QName(message).localname
        raise WrongDocument(f"cannot accept '{name}': expected the answer to {operation.name}")
    check_message(message)
    return operation.read_answer(message)


def _fault(message: etree._Element) -> Any:
    # What SOAP says beside the detail is for people who read the wire.
    details = [node for detail in message.findall(_DETAIL) for node in detail]
    if [node.tag for node in details] != [FAULT_TAG]:
        raise SchemaViolation("cannot accept a fault without exactly one MigrationFault")
    check_message(details[0])
    return read_fault(details[0])
