"""What tests stand on: machines, tokens, `lmsd` on a bus; no deadline of hypothesis: a busy machine is no defect."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.support.bus import POLICIES, PolicyKit, PrivateBus, allowing_nobody
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
from tests.support.victim import Victims

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

os.environ.setdefault("TSS2_LOG", "all+none")
settings.register_profile("no-clock", deadline=None)
settings.load_profile("no-clock")


@pytest.fixture(scope="module")
def victims():
    """The server of acts that are killed."""
    server = Victims()
    yield server
    server.close()


@pytest.fixture
def bus():
    """A private bus with the policy that the package installs."""
    with PrivateBus(POLICIES / "org.localmigration1.conf") as bus:
        yield bus


@pytest.fixture
def allowed() -> tuple[str, ...]:
    """The verbs that polkit allows nobody: those of a user whose session is active."""
    return ("register", "unregister", "retrieve", "seal")


@pytest.fixture
def polkitd(bus, allowed, tmp_path_factory):
    """A polkitd that lets nobody do this, and asks for an administrator's password for all else."""
    rules = allowing_nobody(*allowed)
    polkitd = PolicyKit(bus, tmp_path_factory.mktemp("polkit"), POLICIES / "org.localmigration1.policy", rules)
    yield polkitd.start()
    polkitd.stop()


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
