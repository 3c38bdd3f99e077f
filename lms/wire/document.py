"""Hardened reading of XML documents, up to a schema-valid tree (PROTOCOL §6, acceptance order).

Size cap → no DOCTYPE → parse without entities, network or DTD → depth → canonical bytes → no processing
instruction or qualified attribute → XSD. Bytes are UTF-8, whatever a declaration says.
Who signed, and whether it may, is judged afterwards (`lms.wire.signature`, `lms.wire.acceptance`).
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final
from xml.parsers import expat

from lxml import etree

from lms.errors import DoctypeForbidden, MalformedXml, NotCanonical, SchemaViolation, TooLarge, WrongDocument

MIB: Final = 1024 * 1024
MAX_PACKAGE: Final = 64 * MIB
"""Bytes of a Migration Package, wherever one is read from."""
# Said to both parsers: in an encoding that they read differently, a DOCTYPE could pass the first.
_ENCODING: Final = "utf-8"
# A parser whose handler raised reads on to the end of what it was given, for nothing.
_PIECE: Final = 4096
MAX_DEPTH: Final = 16
# A tree takes twenty times the bytes of empty elements; the largest package has a million tags.
_MAX_MARKUP: Final = 3_000_000
# A tag takes three bytes, an attribute with its two quotes five: in so few bytes there cannot be too many.
_NEVER_TOO_MANY: Final = 2 * _MAX_MARKUP
_TOO_DEEP: Final = etree.XPath("boolean(" + "/*" * (MAX_DEPTH + 1) + ")")
# A schema has no say on these: an instruction splits a text in two, xsi:… names types and places of schemas.
_BEYOND_SCHEMA: Final = etree.XPath("boolean(//processing-instruction() | //@*[namespace-uri()])")
# Canonical bytes without these have neither; to walk a tree of a million nodes costs as much as to parse it.
_INSTRUCTION: Final = b"?"
# By the colon, of which there are few: a space stands before each attribute. Text may look alike; the walk decides.
_QUALIFIED: Final = re.compile(rb':(?<! xmlns:)[^ <>"=:]+="')


@dataclass(frozen=True, slots=True)
class DocumentKind:
    """One kind of document: its root, its schema file in this package and the most bytes it may have."""

    namespace: str
    root: str
    schema: str
    max_bytes: int

    @property
    def tag(self) -> str:
        """Root tag in Clark notation."""
        return f"{{{self.namespace}}}{self.root}"


class _RootSeen(Exception):
    pass


def claimed_root(document: bytes) -> str:
    """Local name of the first element, without a look at the rest. Raises DoctypeForbidden, MalformedXml.

    Refuses any DOCTYPE before libxml2 sees the document (billion laughs, external entities).
    """

    def doctype(*_: object) -> None:
        raise DoctypeForbidden("cannot accept a document with a DOCTYPE")

    def root(name: str, _: object) -> None:
        raise _RootSeen(name.rpartition(":")[2])

    parser = expat.ParserCreate(_ENCODING)
    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler = root
    try:
        for start in range(0, len(document), _PIECE):
            parser.Parse(document[start : start + _PIECE], False)
        parser.Parse(b"", True)
    except _RootSeen as seen:
        return str(seen)
    except expat.ExpatError as error:
        raise MalformedXml(f"cannot read XML: {error}") from None
    raise MalformedXml("cannot read XML: there is no root element")


def parse(document: bytes) -> etree._Element:
    """The root of hostile bytes, whatever it is. Raises DoctypeForbidden, MalformedXml."""
    claimed_root(document)
    if len(document) > _NEVER_TOO_MANY and any(document.count(mark) > _MAX_MARKUP for mark in (b"<", b'"', b"'")):
        raise MalformedXml(f"cannot read XML: more than {_MAX_MARKUP} tags or quotes")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=True,
        encoding=_ENCODING,
    )
    try:
        root = etree.fromstring(document, parser)
    except etree.XMLSyntaxError as error:
        raise MalformedXml(f"cannot read XML: {error.msg}") from None
    if _TOO_DEEP(root):
        raise MalformedXml(f"cannot read XML: nested deeper than {MAX_DEPTH} elements")
    return root


def canonical(element: etree._Element) -> bytes:
    """Exclusive canonical form without comments (W3C xml-exc-c14n)."""
    return etree.tostring(element, method="c14n", exclusive=True, with_comments=False)


_SCHEMAS: Final = Path(__file__).with_name("schemas")
_BUILDING: Final = Lock()
# A schema keeps the errors of its last document: two threads never have one at the same time.
_IDLE: Final[defaultdict[str, deque[etree.XMLSchema]]] = defaultdict(deque)


def _schema(name: str) -> etree.XMLSchema:
    """A schema with those that it imports by file name, all from this package's folder.

    By their paths, without a resolver: libxml2 has one loader for all threads, which every parse of lxml
    takes and gives back, so that an import would be asked of the loader of another thread.
    """
    with _BUILDING:
        return etree.XMLSchema(file=_SCHEMAS / name)


def read_document(document: bytes, kind: DocumentKind) -> etree._Element:
    """The schema-valid tree of a document of this kind.

    Raises TooLarge, DoctypeForbidden, MalformedXml, WrongDocument, NotCanonical, SchemaViolation.
    """
    if len(document) > kind.max_bytes:
        raise TooLarge(f"cannot accept a {kind.root} of {len(document)} bytes: at most {kind.max_bytes}")
    root = parse(document)
    if root.tag != kind.tag:
        raise WrongDocument(f"cannot accept '{etree.QName(root).localname}': expected '{kind.root}'")
    # A signature over the canonical form would let bytes change unseen (white space, quotes, declarations).
    try:
        if canonical(root) != document:
            raise NotCanonical(f"cannot accept a {kind.root} whose bytes are not its canonical form")
    except etree.C14NError as error:
        raise NotCanonical(f"cannot accept a {kind.root}: {error}") from None
    if (_INSTRUCTION in document or _QUALIFIED.search(document)) and _BEYOND_SCHEMA(root):
        raise SchemaViolation(f"cannot accept a {kind.root} with processing instructions or qualified attributes")
    check_schema(root, kind.schema)
    return root


def check_schema(element: etree._Element, name: str) -> None:
    """Hold an element against a schema file of this package. Raises SchemaViolation."""
    try:
        schema = _IDLE[name].pop()
    except IndexError:
        schema = _schema(name)
    try:
        if not schema.validate(element):
            first = schema.error_log.last_error  # type: ignore[attr-defined]
            reason = f"{first.message} (line {first.line})"
            raise SchemaViolation(f"cannot accept a {etree.QName(element).localname}: {reason}")
    finally:
        _IDLE[name].append(schema)


def root_name(document: bytes) -> str:
    """Local name of the root element, for `inspect` to choose a reader; nothing is believed."""
    if len(document) > 256 * MIB:
        raise TooLarge("cannot read a document of more than 256 MiB")
    return etree.QName(parse(document)).localname
