"""The interface `org.localmigration1.Job` of one job (DESIGN §4)."""

from __future__ import annotations

import asyncio

from lms.bus import verbs
from lms.bus.board import Board
from lms.link.descriptors import sealed
from lms.link.tables import Answer, Call, Interface, Method, Property
from lms.link.values import variants
from lms.model.secret import Secret
from lms.names import JOB
from lms.service.jobs import JobRunner


class JobFace:
    """One job on the bus."""

    def __init__(self, runner: JobRunner, board: Board, number: int) -> None:
        self._runner = runner
        self._board = board
        self._number = number

    @property
    def interface(self) -> Interface:
        """Its table. `Answer` holds what the act said; what is secret in it is collected."""
        job, number = self._board.job, self._number
        return Interface(
            JOB,
            methods={
                "Supply": Method("s what, h fd", "", self._supply),
                "Collect": Method("s what", "h fd", self._collect),
                "Cancel": Method("", "", self._cancel),
            },
            properties={
                "Id": Property("u", lambda: number, constant=True),
                "Type": Property("s", lambda: job(number).verb, constant=True),
                "User": Property("u", lambda: job(number).uid, constant=True),
                "State": Property("s", lambda: job(number).state.value),
                "Waiting": Property("as", lambda: list(job(number).waiting)),
                "Progress": Property("s", lambda: job(number).progress),
                "Result": Property("s", lambda: getattr(job(number).result, "value", "")),
                "Error": Property("s", lambda: job(number).error or ""),
                "Message": Property("s", lambda: job(number).message),
                "Hint": Property("s", lambda: job(number).hint),
                "Answer": Property("a{sv}", lambda: variants(job(number).answer)),
            },
        )

    async def _supply(self, call: Call) -> Answer:
        word, index = call.body
        value = Secret(verbs.secret(call, word, index))
        await asyncio.to_thread(self._runner.supply, self._number, word, value)
        return Answer()

    async def _collect(self, call: Call) -> Answer:
        secret = await asyncio.to_thread(self._runner.collect, self._number, call.body[0])
        return Answer((0,), (sealed(secret.reveal()),))

    async def _cancel(self, call: Call) -> Answer:
        await asyncio.to_thread(self._runner.cancel, self._number)
        return Answer()
