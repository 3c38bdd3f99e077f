"""What an object on the bus offers, as literal tables: methods, properties, signals, and their introspection.

    Interface("org.example.Clock", methods={"Set": Method("t time, s zone", "b changed", handler)})

Types are D-Bus signatures, each with the name that introspection shows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lms.link.connection import Credentials
from lms.link.descriptors import Descriptors

# Of our own: the standard library's `xml.sax.saxutils` brings along all of HTTP, mail and TLS.
_IN_ATTRIBUTE: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})
_EMITS: Final = "org.freedesktop.DBus.Property.EmitsChangedSignal"
_DOCTYPE: Final = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    '"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a method: by whom, of what, with which values; its descriptors are closed when it is answered."""

    sender: str
    caller: Credentials
    path: str
    interface: str
    member: str
    body: tuple[Any, ...]
    descriptors: Descriptors
    interactive: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What a method returns; `h` in the body is an index of `descriptors`, which are closed when they are sent."""

    body: tuple[Any, ...] = ()
    descriptors: tuple[int, ...] = ()


Handler = Callable[[Call], Awaitable[Answer]]


def _arguments(text: str) -> list[tuple[str, str]]:
    """Types and names of "u job, o path"."""
    return [(kind, name) for kind, _, name in (part.partition(" ") for part in text.split(", ") if part)]


def signature_of(text: str) -> str:
    """The signature of "u job, o path": "uo"."""
    return "".join(kind for kind, _ in _arguments(text))


@dataclass(frozen=True, slots=True)
class Method:
    """A method: what it takes, what it gives, and who runs it."""

    takes: str
    gives: str
    run: Handler


@dataclass(frozen=True, slots=True)
class Property:
    """A property that can be read; a constant one never changes while its object lives."""

    type: str
    read: Callable[[], Any]
    constant: bool = False


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of one object."""

    name: str
    methods: Mapping[str, Method] = field(default_factory=dict)
    properties: Mapping[str, Property] = field(default_factory=dict)
    signals: Mapping[str, str] = field(default_factory=dict)


def _element(tag: str, attributes: Mapping[str, str], children: Iterable[str], indent: str) -> str:
    opening = (
        indent + f"<{tag}" + "".join(f' {key}="{value.translate(_IN_ATTRIBUTE)}"' for key, value in attributes.items())
    )
    inner = "".join(children)
    return f"{opening}>\n{inner}{indent}</{tag}>\n" if inner else f"{opening}/>\n"


def _argument(kind: str, name: str, **more: str) -> str:
    return _element("arg", {"name": name, "type": kind, **more}, (), "      ")


def _method(name: str, method: Method) -> str:
    takes = [_argument(kind, word, direction="in") for kind, word in _arguments(method.takes)]
    gives = [_argument(kind, word, direction="out") for kind, word in _arguments(method.gives)]
    return _element("method", {"name": name}, takes + gives, "    ")


def _property(name: str, kept: Property) -> str:
    emits = _element("annotation", {"name": _EMITS, "value": "const"}, (), "      ") if kept.constant else ""
    return _element("property", {"name": name, "type": kept.type, "access": "read"}, (emits,), "    ")


def _signal(name: str, gives: str) -> str:
    return _element("signal", {"name": name}, [_argument(*one) for one in _arguments(gives)], "    ")


def introspection(interfaces: Iterable[Interface], children: Iterable[str] = ()) -> str:
    """The introspection document of one node."""
    nodes = []
    for interface in interfaces:
        members = [_method(name, method) for name, method in interface.methods.items()]
        members += [_property(name, kept) for name, kept in interface.properties.items()]
        members += [_signal(name, gives) for name, gives in interface.signals.items()]
        nodes.append(_element("interface", {"name": interface.name}, members, "  "))
    nodes += [_element("node", {"name": name}, (), "  ") for name in children]
    return _DOCTYPE + _element("node", {}, nodes, "")
