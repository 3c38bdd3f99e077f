"""How much one neighbour may hold of us at once: calls that wait for their answer, descriptors and bytes with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Final

from lms.link.descriptors import Descriptors

MAX_CALLS: Final = 32
MAX_DESCRIPTORS: Final = 64
MAX_BYTES: Final = 192 * 1024 * 1024  # holes cost the sender nothing, and us what they seem to be


class Quota:
    """What each sender, and each user over all his connections, holds now."""

    def __init__(self) -> None:
        self._calls: Counter[Hashable] = Counter()
        self._descriptors: Counter[Hashable] = Counter()
        self._bytes: Counter[Hashable] = Counter()

    def hold(self, key: Hashable, came: Descriptors) -> bool:
        """Count one call and what came with it, unless that were too much."""
        if (
            self._calls[key] >= MAX_CALLS
            or self._descriptors[key] + len(came.sizes) > MAX_DESCRIPTORS
            or self._bytes[key] + sum(came.sizes) > MAX_BYTES
        ):
            self._forget(key)
            return False
        self._calls[key] += 1
        self._descriptors[key] += len(came.sizes)
        self._bytes[key] += sum(came.sizes)
        return True

    def release(self, key: Hashable, came: Descriptors) -> None:
        """The call is answered."""
        self._calls[key] -= 1
        self._descriptors[key] -= len(came.sizes)
        self._bytes[key] -= sum(came.sizes)
        self._forget(key)

    def _forget(self, key: Hashable) -> None:
        if not self._calls[key]:
            del self._calls[key], self._descriptors[key], self._bytes[key]
