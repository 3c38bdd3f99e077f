"""A bus, servers of acts, and worlds in which each act can begin: made by the acts before it, uncut."""

from __future__ import annotations

import pytest

from tests.support.bus import POLICIES, PrivateBus
from tests.support.cutting import Bench
from tests.support.victim import Victims
from tests.support.world import Ground, free_port


@pytest.fixture(scope="session")
def ground():
    """What all worlds of one process stand on."""
    daemons, authorities = Victims(), Victims()
    with PrivateBus(POLICIES / "org.localmigration1.conf") as bus:
        yield Ground(bus, daemons, authorities, free_port())
    daemons.close()
    authorities.close()


@pytest.fixture(scope="session")
def software(ground, tmp_path_factory):
    """Worlds whose authority is in software."""
    return Bench(ground, tmp_path_factory.mktemp("software"), chip=False)


@pytest.fixture(scope="session")
def chip(ground, tmp_path_factory):
    """Worlds whose authority has its vault in a TPM."""
    return Bench(ground, tmp_path_factory.mktemp("chip"), chip=True)
