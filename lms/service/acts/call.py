"""`Call`: one act as it was asked for, from whichever face: options by their long names, secrets by their words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lms.errors import BadRequest
from lms.model.jobs import Awaiting
from lms.model.registered import ROOT, Caller
from lms.model.secret import Secret

T = TypeVar("T")
Answer = dict[str, Any]
_NOTHING = Secret(b"")


class Call:
    """What an act is told. Documents come as secrets do: by word, never as an option.

    `caller`: who asks; root where nothing else is said, for whoever has the state directory has everything.
    `waits`: the caller can be asked for more. `offered`: secrets that the act made, for the caller to collect. `done`:
    what an earlier run with the same secrets did `once`, and this one adds to.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        secrets: Mapping[str, Secret],
        *,
        caller: Caller = ROOT,
        waits: bool = False,
        done: set[str] | None = None,
    ) -> None:
        self._options = options
        self._secrets = secrets
        self.caller = caller
        self.waits = waits
        self._done = set() if done is None else done
        self.offered: dict[str, Secret] = {}

    def text(self, option: str) -> str | None:
        """A text option; None where it was not given. Raises BadRequest."""
        return self._option(option, str)

    def word(self, option: str) -> str:
        """A text option that the act cannot do without. Raises BadRequest."""
        value = self.text(option)
        if value is None:
            raise BadRequest(f"cannot do this without the option '{option}'")
        return value

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

    def require(self, *words: str) -> None:
        """Go on only with all of these. Raises Awaiting where the caller can be asked, BadRequest elsewhere."""
        missing = tuple(word for word in words if word not in self._secrets)
        if missing:
            message = "cannot do this without " + " and ".join(f"'{word}'" for word in missing)
            raise Awaiting(missing, message) if self.waits else BadRequest(message)

    def document(self, word: str) -> bytes:
        """A document that the act cannot do without. Raises Awaiting, BadRequest."""
        self.require(word)
        return self._secrets[word].reveal()

    def once(self, word: str, act: Callable[[], None]) -> None:
        """Do what is costly and true as long as the secrets are the same: an act that polls begins anew each time."""
        if word not in self._done:
            act()
            self._done.add(word)

    def offer(self, word: str, secret: Secret) -> None:
        """Hand a secret out, once: it is never an answer, because answers are written down."""
        self.offered[word] = secret
