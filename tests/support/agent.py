"""What asks a person for a password, for polkit: here it answers by itself."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lms.errors import BusRefused
from lms.link.connection import Connection, Target
from lms.link.dispatch import Dispatcher
from lms.link.objects import Exported, Objects
from lms.link.tables import Answer, Call, Interface, Method
from lms.link.values import variant
from tests.support.bus import NOBODY

AUTHORITY = Target(
    "org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority", "org.freedesktop.PolicyKit1.Authority"
)
_AGENT = "org.freedesktop.PolicyKit1.AuthenticationAgent"


@asynccontextmanager
async def agent(bus, answers: bool, of: int | None = None) -> AsyncIterator[list[str]]:
    """The agent of nobody, in this process; the actions that it was asked about. `of`: the process whose it is."""
    of = of or os.getpid()
    asked: list[str] = []

    async def respond(uid: int, cookie: str, identity: list[object]) -> None:
        await person.call(AUTHORITY, "AuthenticationAgentResponse2", "us(sa{sv})", uid, cookie, identity)

    async def begin(call: Call) -> Answer:
        asked.append(call.body[0])
        if answers:
            cookie, identity = call.body[4], call.body[5][0]
            kind, details = identity
            named = [kind, {key: variant("u", value) for key, value in details.items()}]
            try:
                await respond(os.getuid(), cookie, named)
            except BusRefused:  # polkit 126 keeps an agent under its subject's user, 122 under its creator's
                await respond(NOBODY, cookie, named)
        return Answer()

    methods = {
        "BeginAuthentication": Method(
            "s action, s message, s icon, a{ss} details, s cookie, a(sa{sv}) identities", "", begin
        )
    }
    started = int(Path(f"/proc/{of}/stat").read_text().rsplit(") ", 1)[1].split()[19])
    facts = {"pid": variant("u", of), "start-time": variant("t", started), "uid": variant("i", NOBODY)}
    async with await Connection.open(bus.address) as person:
        objects = Objects("/agent")
        objects.add("/agent", Exported((Interface(_AGENT, methods),)))
        dispatcher = Dispatcher(person, objects)
        await person.call(
            AUTHORITY, "RegisterAuthenticationAgent", "(sa{sv})ss", ["unix-process", facts], "en_US.UTF-8", "/agent"
        )
        yield asked
        await dispatcher.close()
