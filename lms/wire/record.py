"""Our own records as JSON: any frozen dataclass of `lms.model`, by its type hints.

For what one machine writes for itself (state, messages between our own processes); what others read is XML
with a schema. Unknown and missing fields are refused, so that a record is never half understood; only a
field that was added to its dataclass later (metadata `added_later`) may be missing, and has its default then.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import types
import typing
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar, Union
from uuid import UUID

from lms.errors import MalformedStructure
from lms.model.keys import Name
from lms.model.secret import Secret

T = TypeVar("T")


def write_record(value: Any) -> bytes:
    """JSON of a dataclass, keys in the order of its fields; secrets are in it in the clear."""
    return json.dumps(_plain(value), separators=(",", ":")).encode("utf-8")


def read_record(kind: type[T], record: bytes) -> T:
    """The dataclass that `write_record` wrote. Raises MalformedStructure."""
    try:
        return typing.cast(T, _value(kind, json.loads(record)))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise MalformedStructure(f"cannot read a record of '{kind.__name__}': {type(error).__name__}") from None


def _plain(value: Any) -> Any:
    match value:
        case Secret():
            return base64.b64encode(value.reveal()).decode("ascii")
        case Name() | UUID():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case Enum():
            return value.value
        case datetime():
            return value.isoformat()
        case tuple() | frozenset():
            return [_plain(item) for item in value]
        case _ if dataclasses.is_dataclass(value):
            return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return value


def _value(kind: Any, plain: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        (some,) = (a for a in arguments if a is not type(None))
        return None if plain is None else _value(some, plain)
    if origin in (tuple, frozenset):
        return origin(_value(arguments[0], item) for item in plain)
    if origin is dict:
        if not isinstance(plain, dict):
            raise ValueError("no object")
        return plain
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        later = {f.name for f in dataclasses.fields(kind) if f.metadata.get("added_later")}
        if not isinstance(plain, dict) or not hints.keys() - later <= plain.keys() <= hints.keys():
            raise ValueError("fields differ")
        return typing.cast(Any, kind)(**{name: _value(hints[name], value) for name, value in plain.items()})
    if kind is Name:
        return Name.from_text(plain)
    if kind in (bytes, Secret):
        return kind(base64.b64decode(plain, validate=True))
    if kind is datetime:
        return datetime.fromisoformat(plain)
    if kind is UUID or issubclass(kind, Enum):
        return kind(plain)
    if type(plain) is not kind:
        raise TypeError("another type")
    return plain
