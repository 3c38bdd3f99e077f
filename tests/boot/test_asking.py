"""A machine that starts without its keys asks its authorities by itself, and has them when the owner says yes."""

from __future__ import annotations

import pytest

from lms.link.connection import Target
from lms.link.objects import OBJECT_MANAGER
from lms.names import APPROVAL, BUS_NAME, JOB, RESTORED, ROOT_PATH
from tests.kills.conftest import ground, software
from tests.support.asynchronous import in_loop
from tests.support.platform import PRECIOUS
from tests.support.world import World

__all__ = ["ground", "software"]

pytestmark = pytest.mark.slow


@pytest.fixture
def world(software) -> World:
    """A machine with another board, whose TPM's maker it knows, and which asks."""
    world = software.world("restore_by_authority")
    ca = world.platform.machine.manufacture(world.directory / "ca")
    world.configured = {"restore_unasked": "true", "ek_roots": f'["{ca.root}", "{ca.issuer}"]'}
    return world


async def restores(world: World) -> list[str]:
    """The paths of all restores, at least one."""
    async with world.us.connection.listening(BUS_NAME, member="JobNew") as news:
        while True:
            (found,) = await world.us.connection.call(Target(BUS_NAME, ROOT_PATH, OBJECT_MANAGER), "GetManagedObjects")
            paths = [path for path, faces in found.items() if JOB in faces and faces[JOB]["Type"] == "restore"]
            if paths:
                return paths
            await news.get()


async def asked(world: World) -> tuple[str, bytes]:
    """The restore that began by itself, and its request."""
    (path,) = await restores(world)
    await world.us.until(path, "waiting", Waiting=[APPROVAL])
    return path, await world.us.collect(path, APPROVAL)


@in_loop
async def test_it_asks_waits_and_says_that_the_keys_are_back(world):
    stamp = world.platform.state_directory / RESTORED
    async with world:
        path, request = await asked(world)
        assert not stamp.exists()
        async with world.us.connection.listening(BUS_NAME, member="Restored") as restored:
            await world.us.supply(path, APPROVAL, world.office.approve(request))
            job = await world.us.until(path, "finished")
            assert (job["Result"], job["Message"]) == ("done", "")
            await restored.get()
        assert stamp.exists()
        await world.end()
        assert world.platform.unseal(world.child) == PRECIOUS


@in_loop
async def test_what_was_approved_while_it_was_off_comes_at_once(world):
    async with world:
        path, request = await asked(world)
        async with world.away(world.daemon):
            world.bring(world.office.approve(request))
        assert await restores(world) == [path]  # the same job goes on, and no second one begins
        job = await world.us.until(path, "finished")
        assert (job["Result"], job["Message"]) == ("done", "")
        await world.end()
        assert world.platform.unseal(world.child) == PRECIOUS
