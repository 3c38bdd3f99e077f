"""A bus, a machine, and `lmsd` on it."""

from __future__ import annotations

import pytest

from tests.support.bus import POLICIES, PrivateBus
from tests.support.daemon import Daemon
from tests.support.platform import (
    archived,
    archived_machine,
    child,
    machines,
    package,
    platform,
    provisioned,
    provisioned_machine,
    stranger,
    token,
)

__all__ = [
    "archived",
    "archived_machine",
    "child",
    "machines",
    "package",
    "platform",
    "provisioned",
    "provisioned_machine",
    "stranger",
    "token",
]


@pytest.fixture
def bus():
    """A private bus with the policy that the package installs."""
    with PrivateBus(POLICIES / "org.localmigration1.conf") as bus:
        yield bus


@pytest.fixture
def daemons(bus):
    """Makes daemons that end with the test: `daemons(platform)` is ready when it returns."""
    running = []

    def make(platform) -> Daemon:
        platform.let_go()
        daemon = Daemon(platform.write_config(bus=f'"{bus.address}"'))
        running.append(daemon)
        daemon.start().until("READY=1")
        return daemon

    yield make
    for daemon in running:
        daemon.remove()
