"""Who may do what, as a real polkitd says it; every other answer is a no."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from lms.adapters.polkit import Polkit
from lms.errors import NotAuthorized
from lms.link.connection import BUS, Connection
from lms.link.dispatch import Dispatcher
from lms.link.objects import Exported, Objects
from lms.link.tables import Answer, Call, Interface, Method
from tests.support.agent import AUTHORITY, agent
from tests.support.asynchronous import in_loop
from tests.support.bus import NOBODY, as_user, owned


@dataclass
class Ends:
    """Us, a caller who is nobody, and what we ask polkit with."""

    service: Connection
    caller: Connection
    passing: frozenset[int] = frozenset({0})
    more: dict = field(default_factory=dict)

    async def may(self, verb: str, *, interactive: bool = False, uid: int = NOBODY) -> bool:
        """Whether the caller may."""
        polkit = Polkit(lambda: self.service, self.passing, **self.more)
        try:
            await polkit.require(self.caller.unique_name, uid, verb, interactive=interactive)
        except NotAuthorized:
            return False
        return True


@asynccontextmanager
async def ends(bus, polkitd) -> AsyncIterator[Ends]:
    """Everybody on the bus."""
    async with await Connection.open(bus.address) as service:
        polkitd.start()
        await owned(service, AUTHORITY.destination)
        with as_user(NOBODY):
            caller = await Connection.open(bus.address)
        async with caller:
            yield Ends(service, caller)


@in_loop
async def test_polkit_decides_for_everybody_but_root(bus, polkitd):
    async with ends(bus, polkitd) as those:
        assert await those.may("inspect")
        assert await those.may("archive")  # by a rule of the administrator
        assert not await those.may("drill")
        assert not await those.may("provision")
        assert not await those.may("register")  # of an active session only
        assert not await those.may("unheard-of")
        assert await those.may("provision", uid=0)
        assert not await those.may("provision", uid=NOBODY)
        those.passing = frozenset({0, NOBODY})
        assert await those.may("provision")


@in_loop
async def test_without_polkit_the_answer_is_no(bus, polkitd):
    async with ends(bus, polkitd) as those:
        assert await those.may("inspect")
        polkitd.stop()
        await owned(those.service, AUTHORITY.destination, by_somebody=False)
        assert not await those.may("inspect")
        assert await those.may("inspect", uid=0)
        bus.stop()
        await those.service.lost
        assert not await those.may("inspect")


@in_loop
async def test_a_caller_who_went_away_may_nothing(bus, polkitd):
    async with ends(bus, polkitd) as those:
        assert await those.may("inspect")
        those.caller.close()
        async with those.service.listening(BUS.destination, member="NameOwnerChanged") as signals:
            with as_user(NOBODY):
                other = await Connection.open(bus.address)
            other.close()
            while (await signals.get()).body[0] != other.unique_name:
                pass
        assert not await those.may("inspect")


@in_loop
async def test_an_authority_that_does_not_answer_or_talks_nonsense_is_a_no(bus):
    """Whoever owns the name; the control is the same impostor when it says yes."""

    async def check(call: Call) -> Answer:
        if call.body[1].endswith("archive"):
            await asyncio.Event().wait()
        return Answer(([call.body[1].endswith("restore"), False, {}],))

    canceled = asyncio.Event()

    async def cancel(call: Call) -> Answer:
        canceled.set()
        return Answer()

    methods = {
        "CheckAuthorization": Method(
            "(sa{sv}) subject, s action, a{ss} details, u flags, s id", "(bba{ss}) result", check
        ),
        "CancelCheckAuthorization": Method("s id", "", cancel),
    }
    async with await Connection.open(bus.address) as impostor, await Connection.open(bus.address) as service:
        objects = Objects(AUTHORITY.path)
        objects.add(AUTHORITY.path, Exported((Interface(AUTHORITY.interface, methods),)))
        dispatcher = Dispatcher(impostor, objects)
        await impostor.request_name(AUTHORITY.destination)
        those = Ends(service, impostor)
        assert await those.may("restore")
        assert not await those.may("provision")
        those.more = {"deadline_s": 0}
        assert not await those.may("archive")
        await canceled.wait()
        those.more = {}
        methods["CheckAuthorization"] = Method(methods["CheckAuthorization"].takes, "s nonsense", cancel)
        assert not await those.may("restore")
        await dispatcher.close()


@pytest.mark.parametrize("answers", [True, False])
@in_loop
async def test_a_person_is_asked_only_where_the_caller_allows_it(bus, polkitd, answers):
    async with ends(bus, polkitd) as those, agent(bus, answers) as asked:
        assert not await those.may("provision")
        assert not asked
        assert await those.may("provision", interactive=True) is answers
        assert asked == ["org.localmigration1.provision"]
