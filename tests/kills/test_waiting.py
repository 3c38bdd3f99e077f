"""A job that waits for its owner's approval outlives the daemon, the authority and the power of their TPMs."""

from __future__ import annotations

import pytest

from lms.names import APPROVAL, OWNER_AUTH
from tests.support.asynchronous import in_loop
from tests.support.ending import end_of
from tests.support.platform import OWNER_AUTH as AUTH
from tests.support.world import World

pytestmark = pytest.mark.slow

_OPTIONS, _GIVEN = {"unverified-tpm": True}, {OWNER_AUTH: AUTH.reveal()}


async def asked(world: World) -> tuple[str, bytes]:
    """A restore that waits for its approval: the path of its job, and what is to be approved."""
    _, path = await world.us.verb("Restore", _OPTIONS, _GIVEN)
    await world.us.until(path, "waiting", Waiting=[APPROVAL])
    return path, await world.us.collect(path, APPROVAL)


async def asked_again(world: World, path: str, request: bytes) -> None:
    """After a restart the same job asks for its secret, and then for the approval of the same request."""
    job = await world.us.job(path)
    assert (job["State"], job["Waiting"]) == ("waiting", [OWNER_AUTH])
    await world.us.supply(path, OWNER_AUTH, AUTH.reveal())
    await world.us.until(path, "waiting", Waiting=[APPROVAL])
    assert await world.us.collect(path, APPROVAL) == request


@pytest.fixture(params=["software", "chip"])
def bench(request):
    """Worlds whose authority has its vault in software, or in a TPM."""
    return request.getfixturevalue(request.param)


def test_a_waiting_job_outlives_kills_and_power_cuts(bench):
    uncut, world = bench.uncut("restore_by_authority"), bench.world("restore_by_authority")

    @in_loop
    async def run() -> None:
        async with world:
            path, document = await asked(world)
            for _ in range(2):
                await world.cut_power()
                await asked_again(world, path, document)
            await world.us.supply(path, APPROVAL, world.office.approve(document))
            job = await world.us.until(path, "finished")
            assert (job["Result"], job["Message"]) == ("done", "")
            await world.end()
            assert end_of(world) == uncut.end

    run()


def test_an_approval_that_came_meanwhile_is_found(bench):
    uncut, world = bench.uncut("restore_by_authority"), bench.world("restore_by_authority")

    @in_loop
    async def run() -> None:
        async with world:
            path, document = await asked(world)
            world.bring(world.office.approve(document))
            await world.cut_power()
            await world.us.supply(path, OWNER_AUTH, AUTH.reveal())
            job = await world.us.until(path, "finished")
            assert (job["Result"], job["Message"]) == ("done", "")
            await world.end()
            assert end_of(world) == uncut.end

    run()
