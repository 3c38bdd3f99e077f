"""How a room of this floor has an act done: by `lmsd`, or by `lms.boot` where there is none. It never knows which."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

Answer = dict[str, Any]
_NOTHING: Final[Mapping[str, bytes]] = MappingProxyType({})


class Acts(Protocol):
    """Does one act: verb, options, inputs by their words, and the words that it may hand out."""

    def __call__(
        self,
        verb: str,
        options: Mapping[str, Any],
        inputs: Mapping[str, bytes] = _NOTHING,
        collected: tuple[str, ...] = (),
    ) -> tuple[Answer, dict[str, bytes]]:
        """The answer, and what was handed out by its words. Raises the act's errors."""
        ...
