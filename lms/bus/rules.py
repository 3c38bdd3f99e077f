"""Who may call which method: one literal table. A method that is not in it cannot be offered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from enum import Enum
from typing import Final

from lms.adapters.polkit import Polkit
from lms.bus import verbs
from lms.bus.board import Board
from lms.errors import NotAuthorized
from lms.link.tables import Answer, Call, Handler, Interface
from lms.names import JOB, MANAGER


class Rule(Enum):
    """Who may call a method of an object that he sees."""

    POLKIT = "whom polkit allows the action of the verb"
    SEES_IT = "who sees the object: its own user, and root"
    OWNER = "the own user of the job, and nobody else"


RULES: Final[Mapping[tuple[str, str], Rule]] = {
    **{(MANAGER, verbs.member(verb)): Rule.POLKIT for verb in (*verbs.JOBS, *verbs.QUESTIONS)},
    (JOB, "Supply"): Rule.SEES_IT,
    (JOB, "Collect"): Rule.OWNER,
    (JOB, "Cancel"): Rule.SEES_IT,
}
_ACTIONS: Final = {verbs.member(verb): verb for verb in (*verbs.JOBS, *verbs.QUESTIONS)}


class Gate:
    """Puts its rule before each method."""

    def __init__(self, polkit: Polkit, board: Board) -> None:
        self._polkit = polkit
        self._board = board
        self._checks: Mapping[Rule, Callable[[Call], Awaitable[None]]] = {
            Rule.POLKIT: self._ask_polkit,
            Rule.SEES_IT: self._nothing_more,
            Rule.OWNER: self._own_only,
        }

    def guarded(self, interface: Interface) -> Interface:
        """The interface, each method behind its rule. Raises KeyError where one has none."""
        methods = {
            name: replace(method, run=self._behind(RULES[interface.name, name], method.run))
            for name, method in interface.methods.items()
        }
        return replace(interface, methods=methods)

    def _behind(self, rule: Rule, run: Handler) -> Handler:
        check = self._checks[rule]

        async def checked(call: Call) -> Answer:
            await check(call)
            return await run(call)

        return checked

    async def _ask_polkit(self, call: Call) -> None:
        await self._polkit.require(
            call.sender, call.caller.uid, _ACTIONS[call.member], interactive=verbs.interactive(call)
        )

    async def _nothing_more(self, call: Call) -> None:
        """The object exists only for those who see it (`lms.link.objects`)."""

    async def _own_only(self, call: Call) -> None:
        if self._board.at(call.path).uid != call.caller.uid:
            raise NotAuthorized("cannot hand this out: it is for the owner of the job alone")
