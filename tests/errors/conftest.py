"""A platform that has archived twice, its authority and its owner: switched off, to be copied for each row."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.bus import POLICIES, PrivateBus
from tests.support.victim import Victims
from tests.support.world import Ground, World, free_port


@pytest.fixture(scope="session")
def ground():
    """What all worlds of one process stand on."""
    daemons, authorities = Victims(), Victims()
    with PrivateBus(POLICIES / "org.localmigration1.conf") as bus:
        yield Ground(bus, daemons, authorities, free_port())
    daemons.close()
    authorities.close()


async def _grow(world: World) -> World:
    async with world:
        for act in ("provision", "certify", "enroll_token", "enroll_authority", "register", "archive", "archive"):
            await getattr(world, act)()
        await world.end()
        world.platform.tpm.trust_salt(world.platform.state.srk_name)
        world.child = world.platform.seal()
    return world


@pytest.fixture(scope="session")
def grown(ground, tmp_path_factory):
    """The world in which everything went well; nobody runs in it any more."""
    return asyncio.run(_grow(World(ground, tmp_path_factory.mktemp("grown") / "world")))
