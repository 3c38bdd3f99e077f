"""Which tokens of a header are ours: below the recoverable key, or where it was before this machine got another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lms.apps.acts import Acts
from lms.apps.luks.header import Header, slots_of
from lms.apps.luks.token import Token, read_token
from lms.errors import MalformedStructure, NotProvisioned


@dataclass(frozen=True, slots=True)
class Home:
    """The recoverable key of this machine: its handle, and its Name in hexadecimal digits."""

    handle: int
    name: str

    @classmethod
    def of(cls, acts: Acts) -> Home:
        """As the service knows it. Raises NotProvisioned and the TPM's errors."""
        status, _ = acts("status", {})
        if not status.get("key-name"):
            raise NotProvisioned("cannot use volumes before the platform is provisioned")
        return cls(int(status["handle"], 16), status["key-name"])

    def has(self, token: Token) -> bool:
        """Whether a token's object hangs below this key."""
        return token.parent.handle == self.handle and str(token.parent.name) == self.name


@dataclass(frozen=True, slots=True)
class Found:
    """A token of ours, and the key slot that it is for."""

    slot: int
    token: Token


def known(token: Mapping[str, Any]) -> Token | None:
    """A token that is written as we write them; None for others'."""
    try:
        return read_token(token)
    except MalformedStructure:
        return None


def ours(header: Header, home: Home) -> tuple[Found, ...]:
    """Those at the handle of the recoverable key, which is nobody else's; one that lost its slot opens nothing."""
    read = ((slots_of(one), known(one)) for one in header.tokens.values())
    return tuple(
        Found(slots[0], token)
        for slots, token in read
        if token is not None and len(slots) == 1 and token.parent.handle == home.handle
    )
