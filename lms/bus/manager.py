"""The interface `org.localmigration1.Manager`: a method for each verb, and the health of the platform (DESIGN §4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any

from lms.bus import verbs
from lms.bus.board import Board
from lms.link.tables import Answer, Call, Interface, Method, Property
from lms.link.values import variants
from lms.names import MANAGER
from lms.service.jobs import JobRunner

Health = Mapping[str, Any]
_JOB = "u job, o path"
_ANSWER = "a{sv} answer"


class ManagerFace:
    """The one Manager; `health` gives what `status` answered last, `questions` runs what is answered at once."""

    def __init__(self, runner: JobRunner, board: Board, health: Callable[[], Health], questions: Executor) -> None:
        self._runner = runner
        self._board = board
        self._health = health
        self._questions = questions

    @property
    def interface(self) -> Interface:
        """Its table."""
        jobs = {verbs.member(verb): Method(verbs.TAKES, _JOB, self._beginning(verb)) for verb in verbs.JOBS}
        asked = {verbs.member(verb): Method(verbs.TAKES, _ANSWER, self._asking(verb)) for verb in verbs.QUESTIONS}
        return Interface(
            MANAGER,
            methods=jobs | asked,
            properties={
                "State": Property("s", lambda: self._health().get("state", "")),
                "Meaning": Property("s", lambda: self._health().get("meaning", "")),
                "Reason": Property("s", lambda: self._health().get("reason", "")),
                "Explanation": Property("s", lambda: self._health().get("explanation", "")),
                "Archived": Property("s", lambda: self._health().get("archived") or ""),
                "Request": Property("s", lambda: self._health().get("request") or ""),
            },
            signals={
                "JobNew": _JOB,
                "JobRemoved": "u job, o path, s result, s error, s message",
                "RestoreNeeded": "",
                "Restored": "",
            },
        )

    def _beginning(self, verb: str) -> Callable[[Call], Any]:
        async def begin(call: Call) -> Answer:
            uid, options, secrets = call.caller.uid, verbs.options(call), verbs.secrets(call)
            submit = partial(self._runner.submit, verb, options, secrets, uid)
            return Answer(await self._board.begin(uid, sum(map(len, secrets.values())), submit))

        return begin

    def _asking(self, verb: str) -> Callable[[Call], Any]:
        async def ask(call: Call) -> Answer:
            uid = call.caller.uid
            given = verb, verbs.options(call), verbs.secrets(call), uid
            answer = await asyncio.get_running_loop().run_in_executor(self._questions, self._runner.ask, *given)
            return Answer((variants(verbs.shown(verb, answer, self._board.is_privileged(uid))),))

        return ask
