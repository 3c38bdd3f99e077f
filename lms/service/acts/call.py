"""`Call`: one act as it was asked for, from whichever face: options by their long names, secrets by their words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from lms.errors import BadRequest
from lms.model.secret import Secret

T = TypeVar("T")
Answer = dict[str, Any]
_NOTHING = Secret(b"")


class Call:
    """What an act is told. Documents come as secrets do: by word, never as an option."""

    def __init__(self, options: Mapping[str, Any], secrets: Mapping[str, Secret]) -> None:
        self._options = options
        self._secrets = secrets

    def text(self, option: str) -> str | None:
        """A text option; None where it was not given. Raises BadRequest."""
        return self._option(option, str)

    def number(self, option: str) -> int | None:
        """An option that is a number; None where it was not given. Raises BadRequest."""
        return self._option(option, int)

    def flag(self, option: str) -> bool:
        """An option that is said or not. Raises BadRequest."""
        return self._option(option, bool) or False

    def _option(self, option: str, kind: type[T]) -> T | None:
        value: T | None = self._options.get(option)
        if value is not None and type(value) is not kind:
            raise BadRequest(f"cannot use the option '{option}': expected {kind.__name__}, not {type(value).__name__}")
        return value

    def secret(self, word: str) -> Secret:
        """A secret; empty where none was given."""
        return self._secrets.get(word, _NOTHING)

    def given(self, word: str) -> bool:
        """Whether a secret or document came with the call, be it empty."""
        return word in self._secrets

    def document(self, word: str) -> bytes:
        """A document that the act cannot do without. Raises BadRequest."""
        if word not in self._secrets:
            raise BadRequest(f"cannot do this without '{word}'")
        return self._secrets[word].reveal()
