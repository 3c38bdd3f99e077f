"""polkit: may this caller do that (DESIGN §4)? Everything that is no plain yes is a no.

The subject is the caller's unique name on the bus, which the bus vouches for; a process number may be another
process's by the time it is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from lms.errors import BusRefused, LmsError, NoAnswer, NotAuthorized
from lms.link.connection import Connection, Target
from lms.link.values import variant
from lms.names import ACTION_PREFIX

_POLKIT: Final = Target(
    "org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority", "org.freedesktop.PolicyKit1.Authority"
)
_ASKED: Final = "(sa{sv})sa{ss}us"
_DEADLINE_S: Final = 5.0
_DEADLINE_OF_A_PERSON_S: Final = 300.0


class Polkit:
    """Asks polkitd on the bus that `connection` gives; `passing` are the user ids that need not be asked about."""

    def __init__(
        self,
        connection: Callable[[], Connection],
        passing: frozenset[int],
        deadline_s: float = _DEADLINE_S,
        deadline_of_a_person_s: float = _DEADLINE_OF_A_PERSON_S,
    ) -> None:
        self._connection = connection
        self._passing = passing
        self._deadlines_s = {False: deadline_s, True: deadline_of_a_person_s}
        self._asked = 0

    async def require(self, sender: str, uid: int, verb: str, *, interactive: bool) -> None:
        """Return where the caller may do `verb`. Raises NotAuthorized, whatever the reason.

        `interactive`: polkit may ask a person for a password meanwhile.
        """
        if uid in self._passing:
            return
        action = ACTION_PREFIX + verb
        try:
            authorized, challenge = await self._check(sender, action, interactive)
        except LmsError as error:
            raise NotAuthorized(f"cannot find out whether '{action}' is allowed: {error}") from None
        if not authorized:
            why = ": it takes a password, and the call does not allow to ask for it" if challenge else ""
            raise NotAuthorized(f"cannot allow '{action}'{why}")

    async def _check(self, sender: str, action: str, interactive: bool) -> tuple[bool, bool]:
        self._asked += 1
        cancellation = f"{action}/{self._asked}"
        subject = ["system-bus-name", {"name": variant("s", sender)}]
        asked = [subject, action, {}, int(interactive), cancellation]
        deadline_s = self._deadlines_s[interactive]
        try:
            answer = await self._connection().call(_POLKIT, "CheckAuthorization", _ASKED, *asked, deadline_s=deadline_s)
        except (NoAnswer, asyncio.CancelledError):
            await self._cancel(cancellation)
            raise
        try:
            ((authorized, challenge, _),) = answer
        except (TypeError, ValueError):
            raise BusRefused("cannot understand the answer of polkit") from None
        return authorized is True, challenge is True

    async def _cancel(self, cancellation: str) -> None:
        """Take the question back, so that no dialogue stays open for an answer that nobody waits for."""
        try:
            await self._connection().call(
                _POLKIT, "CancelCheckAuthorization", "s", cancellation, deadline_s=self._deadlines_s[False]
            )
        except LmsError:
            return  # it is a no already
