"""A table that strangers fill: it forgets what is old and, when it is full, something of whoever holds most.

Refusing newcomers would let one stranger keep everybody out for the price of filling it once. Here a flood pushes
its own entries out, and who holds little loses nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Value]):
    value: Value
    holder: str
    until: float


class Shares(Generic[Value]):
    """At most `most` entries, each for `lifetime_s` seconds; safe for many threads, constant work a call until full."""

    def __init__(self, most: int, lifetime_s: float) -> None:
        self._most = most
        self._lifetime_s = lifetime_s
        self._lock = Lock()
        self._entries: OrderedDict[bytes, _Entry[Value]] = OrderedDict()  # all live equally long: the oldest end first
        self._held: dict[str, OrderedDict[bytes, None]] = {}

    def put(self, key: bytes, value: Value, holder: str, now: float) -> None:
        """Add an entry; of a full table the oldest one of the holder with most goes."""
        with self._lock:
            self._forget(now)
            if len(self._entries) >= self._most:
                crowd = max(self._held.values(), key=len)
                self._drop(next(iter(crowd)))
            self._entries[key] = _Entry(value, holder, now + self._lifetime_s)
            self._held.setdefault(holder, OrderedDict())[key] = None

    def find(self, key: bytes, now: float) -> Value | None:
        """The value of an entry, or None."""
        with self._lock:
            self._forget(now)
            found = self._entries.get(key)
            return None if found is None else found.value

    def take(self, key: bytes, now: float) -> Value | None:
        """As `find`; the entry is gone afterwards."""
        with self._lock:
            self._forget(now)
            return self._drop(key).value if key in self._entries else None

    def _forget(self, now: float) -> None:
        while self._entries:
            key, oldest = next(iter(self._entries.items()))
            if oldest.until > now:
                return
            self._drop(key)

    def _drop(self, key: bytes) -> _Entry[Value]:
        entry = self._entries.pop(key)
        held = self._held[entry.holder]
        del held[key]
        if not held:
            del self._held[entry.holder]
        return entry
