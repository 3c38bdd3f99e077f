"""Variants of the bus ↔ plain Python values. A variant's type is a matter of the bus and ends here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dbus_next import Variant

_INT32: Final = range(-(2**31), 2**31)


def plain(value: Any) -> Any:
    """A received value without its variants, to any depth."""
    if isinstance(value, Variant):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def variant(signature: str, value: Any) -> Variant:
    """A value of this type. Raises ValueError, TypeError where it is none."""
    return Variant(signature, value)


def variants(values: Mapping[str, Any]) -> dict[str, Variant]:
    """The body of an `a{sv}`; what is None is left out."""
    return {key: _guessed(value) for key, value in values.items() if value is not None}


def _guessed(value: Any) -> Variant:
    """The variant that a plain value has in JSON's terms: texts, numbers, truth, lists, objects."""
    if isinstance(value, bool):
        return Variant("b", value)
    if isinstance(value, int):
        return Variant("i" if value in _INT32 else "x", value)
    if isinstance(value, float):
        return Variant("d", value)
    if isinstance(value, bytes):
        return Variant("ay", value)
    if isinstance(value, Mapping):
        return Variant("a{sv}", variants(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        texts = all(isinstance(item, str) for item in value)
        return Variant("as", list(value)) if texts else Variant("av", [_guessed(item) for item in value])
    return Variant("s", str(value))
