"""How much one neighbour may hold of us at once: calls that wait for their answer, and descriptors with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Final

MAX_CALLS: Final = 32
MAX_DESCRIPTORS: Final = 64


class Quota:
    """What each sender, and each user over all his connections, holds now."""

    def __init__(self) -> None:
        self._calls: Counter[Hashable] = Counter()
        self._descriptors: Counter[Hashable] = Counter()

    def hold(self, key: Hashable, descriptors: int) -> bool:
        """Count one call and its descriptors, unless that were too much."""
        if self._calls[key] >= MAX_CALLS or self._descriptors[key] + descriptors > MAX_DESCRIPTORS:
            self._forget(key)
            return False
        self._calls[key] += 1
        self._descriptors[key] += descriptors
        return True

    def release(self, key: Hashable, descriptors: int) -> None:
        """The call is answered."""
        self._calls[key] -= 1
        self._descriptors[key] -= descriptors
        self._forget(key)

    def _forget(self, key: Hashable) -> None:
        if not self._calls[key]:
            del self._calls[key], self._descriptors[key]
