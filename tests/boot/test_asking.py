"""A machine that starts without its keys asks its authorities by itself, and has them when the owner says yes.

In the TPM that had them they are back at once, without his yes.
"""

from __future__ import annotations

import pytest

from lms.link.connection import Target
from lms.link.objects import OBJECT_MANAGER
from lms.names import APPROVAL, BUS_NAME, JOB, RESTORED, ROOT_PATH
from lms.service.setting import NO_SECRET
from tests.kills.conftest import chip, ground, software
from tests.support.asynchronous import in_loop
from tests.support.platform import OWNER_AUTH, PRECIOUS
from tests.support.world import World

__all__ = ["chip", "ground", "software"]

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


@pytest.fixture(params=["software", "chip"])
def own(request) -> World:
    """A machine with its own TPM, which asks; the authority is in either mode."""
    world = request.getfixturevalue(request.param).world("put_back")
    world.configured, world.lost_its_key = {"restore_unasked": "true"}, False
    return world


@pytest.mark.parametrize("blob", [True, False], ids=["from its blob", "through the authority"])
@in_loop
async def test_the_tpm_that_had_the_key_gets_it_back_unasked_and_unapproved(own, blob):
    machine = own.platform
    async with own:
        async with own.away(own.daemon, *([own.authority] if blob else [])):
            machine.evict()
            machine.tpm.set_owner_auth(OWNER_AUTH, NO_SECRET)  # there is nobody to be asked for it
            if not blob:
                machine.lose_blob()
            machine.let_go()
        (path,) = await restores(own)
        job = await own.us.until(path, "finished")
        assert (job["Result"], job["Answer"]["was"]) == ("done", "drsk-absent")
        await own.end()
        assert machine.unseal(own.child) == PRECIOUS
