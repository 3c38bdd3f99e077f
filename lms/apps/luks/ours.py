"""Which tokens of a header are ours: those whose sealed object we made for their slot, whatever the header says.

Other machines have a recoverable key at the same handle, and a token names any slot that its writer likes.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

from lms.apps.acts import Acts
from lms.apps.luks.header import Header, slots_of
from lms.apps.luks.token import Token, read_token
from lms.errors import MalformedStructure, NotProvisioned

ITERATIONS: Final = range(1001, 32768)
"""Of our slots: a random passphrase needs no slow function. systemd's own have 1000, and people's none of these."""


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


def ours(header: Header, own: Set[tuple[int, str]]) -> tuple[Found, ...]:
    """Those of slots that may be ours, whose sealed object has the Name that is `own` for the slot."""
    slots = {number for number, slot in header.slots.items() if slot.iterations in ITERATIONS}
    read = ((slots_of(one), known(one)) for one in header.tokens.values())
    found = (Found(of[0], token) for of, token in read if token is not None and len(of) == 1)
    return tuple(one for one in found if one.slot in slots and (one.slot, str(one.token.name)) in own)
