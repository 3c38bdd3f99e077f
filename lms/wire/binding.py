"""Tables that tie a model class to an XML element, and the two walks over them: read and write.

A format module states each element once, as a literal (`Element`); `read` takes a schema-valid tree to
values, `write` takes values to canonical text (W3C xml-exc-c14n), so that what is signed needs no second pass.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import cache, lru_cache
from itertools import takewhile
from typing import Any, Final
from uuid import UUID

from lxml import etree

from lms.errors import SchemaViolation
from lms.model.keys import Name


@dataclass(frozen=True, slots=True)
class Text:
    """A value that is the text of an element or attribute."""

    read: Callable[[str], Any]
    write: Callable[[Any], str]


class Many(Enum):
    """How often a field occurs; OPTIONAL is None and ANY is a tuple in the model."""

    ONE = "1"
    OPTIONAL = "?"
    ANY = "*"


@dataclass(frozen=True, slots=True)
class Field:
    """One attribute of a model class. `tag` starting with `@` is an XML attribute, `.` the element's own text.

    A dotted `name` reaches into a part of the value that has no element of its own (`Element.parts`).
    """

    tag: str
    name: str
    form: Text | Element
    many: Many = Many.ONE


@dataclass(frozen=True, slots=True, eq=False)
class Element:
    """One XML element and the class that it makes.

    `parts` are attributes whose own attributes stand directly in the element: name → class, None where all
    of them are absent. `views` say how to show an attribute that the class keeps in another form.
    """

    make: Callable[..., Any]
    fields: tuple[Field, ...]
    namespace: str
    prefix: str = ""
    parts: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    views: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)


def one(tag: str, name: str, form: Text | Element) -> Field:
    """A field that is always there."""
    return Field(tag, name, form)


def optional(tag: str, name: str, form: Text | Element) -> Field:
    """A field that may be None."""
    return Field(tag, name, form, Many.OPTIONAL)


def many(tag: str, name: str, form: Text | Element) -> Field:
    """A field that is a tuple."""
    return Field(tag, name, form, Many.ANY)


# Forms of text (PROTOCOL §0)


# Only the last quantum has a second spelling: bits before the padding that decoding ignores. These have none set.
_BEFORE_ONE: Final = frozenset("AEIMQUYcgkosw048")
_BEFORE_TWO: Final = frozenset("AQgw")


def _strict_base64(text: str) -> bytes:
    value = binascii.a2b_base64(text, strict_mode=True)
    if text[-1:] == "=" and (text[-3] not in _BEFORE_TWO if text[-2] == "=" else text[-2] not in _BEFORE_ONE):
        raise ValueError("not strict base64")
    return value


def _strict_hex(text: str) -> bytes:
    value = bytes.fromhex(text)
    if value.hex().upper() != text:
        raise ValueError("not upper-case hexadecimal")
    return value


def _strict_uuid(text: str) -> UUID:
    value = UUID(text)
    if str(value) != text:
        raise ValueError("not a lower-case UUID with hyphens")
    return value


_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


def _strict_time(text: str) -> datetime:
    value = datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    if _write_time(value) != text:
        raise ValueError("not a time in UTC to the second")
    return value


def _write_time(value: datetime) -> str:
    # strftime does not pad years before 1000, isoformat does.
    return value.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _strict_int(text: str) -> int:
    value = int(text)
    if str(value) != text:
        raise ValueError("not a plain decimal number")
    return value


def enum(kind: type[Enum]) -> Text:
    """The text of an enumeration's values."""
    return Text(kind, lambda value: str(value.value))


STRING: Final = Text(str, str)
BASE64: Final = Text(_strict_base64, lambda value: base64.b64encode(value).decode("ascii"))
HEX: Final = Text(_strict_hex, lambda value: value.hex().upper())
NAME: Final = Text(Name.from_text, str)
PARENT: Final = Text(lru_cache(64)(Name.from_text), str)  # thousands of children stand below one Name
UUID_TEXT: Final = Text(_strict_uuid, str)
TIME: Final = Text(_strict_time, _write_time)
NUMBER: Final = Text(_strict_int, str)
YES_NO: Final = Text(lambda text: text == "yes", lambda value: "yes" if value else "no")


# Reading


class _Plan:
    """An element's table, sorted for reading: who reads which tag into which attribute, and what absence means.

    A package has tens of thousands of elements of one kind: what depends on the table alone is done once.
    """

    def __init__(self, element: Element) -> None:
        attributes = [f for f in element.fields if f.tag.startswith("@")]
        inside = [f for f in element.fields if not f.tag.startswith("@") and f.tag != "."]
        self._make = element.make
        texts: dict[Field, tuple[str, Callable[[Any], Any]]] = {
            f: (f.name, f.form.read) for f in element.fields if isinstance(f.form, Text)
        }
        self._attributes = {f.tag[1:]: texts[f] for f in attributes}
        self._own_text = tuple(text for f, text in texts.items() if f.tag == ".")
        first = takewhile(lambda f: f in texts and f.many is Many.ONE, inside)
        self._first = tuple((_clark(element, f), *texts[f]) for f in first)
        self._children = {_clark(element, f): (f.name, _reader(f), f.many is Many.ANY) for f in inside}
        self._absent: dict[str, Any] = {f.name: () if f.many is Many.ANY else None for f in (*attributes, *inside)}
        self._parts = tuple(
            (part, make, tuple(f.name for f in element.fields if f.name.startswith(f"{part}.")))
            for part, make in element.parts.items()
        )

    def read(self, node: etree._Element) -> Any:
        """The value of a schema-valid element without comments.

        Texts that begin it and are always there are known by their place: to ask each for its tag costs more.
        """
        attributes, children, values = self._attributes, self._children, self._absent.copy()
        several: dict[str, list[Any]] = {}
        tag: Any = ""
        try:
            for tag, text in node.items():
                if (attribute := attributes.get(tag)) is not None:
                    name, reads = attribute
                    values[name] = reads(text)
            for name, reads in self._own_text:
                values[name] = reads(node.text or "")
            inside = iter(node)
            for first, child in zip(self._first, inside, strict=False):
                tag, name, reads = first
                values[name] = reads(child.text or "")
            for child in inside:
                tag = child.tag
                if (inner := children.get(tag)) is not None:
                    name, reads_node, repeated = inner
                    if repeated:
                        several.setdefault(name, []).append(reads_node(child))
                    else:
                        values[name] = reads_node(child)
            for name, found in several.items():
                values[name] = tuple(found)
            for part, make, names in self._parts:
                given = {name[len(part) + 1 :]: values.pop(name) for name in names}
                values[part] = None if all(v is None for v in given.values()) else make(**given)
            return self._make(**values)
        except (ValueError, TypeError) as error:
            raise SchemaViolation(f"cannot read '{etree.QName(node).localname}', at '{tag}': {error}") from None


def _reader(f: Field) -> Callable[[etree._Element], Any]:
    if isinstance(f.form, Element):
        return _plan(f.form).read
    reads = f.form.read
    return lambda node: reads(node.text or "")


_plan = cache(_Plan)


def read(node: etree._Element, element: Element) -> Any:
    """The value of a schema-valid element without comments, whose children the schema puts in the table's order.

    SchemaViolation where the schema cannot say it (strict forms).
    """
    return _plan(element).read(node)


def _clark(element: Element, f: Field) -> str:
    namespace = f.form.namespace if isinstance(f.form, Element) else element.namespace
    return f"{{{namespace}}}{f.tag}"


# Writing


# Of our own: the standard library's `xml.sax.saxutils` brings along all of HTTP, mail and TLS.
_MARKUP: Final = {"&": "&amp;", "<": "&lt;", "\r": "&#xD;"}
_IN_TEXT: Final = str.maketrans(_MARKUP | {">": "&gt;"})
# Canonical XML leaves '>' alone in attributes.
_IN_ATTRIBUTE: Final = str.maketrans(_MARKUP | {'"': "&quot;", "\t": "&#x9;", "\n": "&#xA;"})


def escape(text: str) -> str:
    """A text as canonical XML has it in an element."""
    return text.translate(_IN_TEXT)


def _attribute(value: Any, name: str) -> Any:
    if "." not in name:
        return getattr(value, name)
    part, _, rest = name.partition(".")
    whole = getattr(value, part)
    return None if whole is None else _attribute(whole, rest)


def _seen(element: Element, value: Any, name: str) -> Any:
    view = element.views.get(name)
    return _attribute(value, name) if view is None else view(value)


def write(tag: str, value: Any, element: Element) -> bytes:
    """Canonical bytes of a root element."""
    out: list[str] = []
    _write(tag, value, element, frozenset(), out)
    return "".join(out).encode("utf-8")


def _write(tag: str, value: Any, element: Element, rendered: frozenset[tuple[str, str]], out: list[str]) -> None:
    qualified = f"{element.prefix}:{tag}" if element.prefix else tag
    out.append(f"<{qualified}")
    declaration = (element.prefix, element.namespace)
    if declaration not in rendered:
        # One prefix always stands for one namespace here, the default prefix for one per document.
        out.append(f' xmlns{":" + element.prefix if element.prefix else ""}="{element.namespace}"')
        rendered = rendered | {declaration}
    attributes = []
    for f in element.fields:
        if f.tag.startswith("@"):
            attribute = _seen(element, value, f.name)
            if attribute is not None:
                assert isinstance(f.form, Text)
                attributes.append((f.tag[1:], f.form.write(attribute)))
    out.extend(f' {name}="{text.translate(_IN_ATTRIBUTE)}"' for name, text in sorted(attributes))
    out.append(">")
    for f in element.fields:
        if f.tag.startswith("@"):
            continue
        attribute = _seen(element, value, f.name)
        if f.tag == ".":
            assert isinstance(f.form, Text)
            out.append(escape(f.form.write(attribute)))
            continue
        for item in attribute if f.many is Many.ANY else () if attribute is None else (attribute,):
            if isinstance(f.form, Text):
                inner = f"{element.prefix}:{f.tag}" if element.prefix else f.tag
                out.append(f"<{inner}>{escape(f.form.write(item))}</{inner}>")
            else:
                _write(f.tag, item, f.form, rendered, out)
    out.append(f"</{qualified}>")
