"""Fresh software TPMs: bare, and provisioned as PROTOCOL §8 has it."""

from __future__ import annotations

import pytest

from tests.adapters.tpm.bench import Platform
from tests.support.swtpm import SoftwareTpm


@pytest.fixture
def new_machine(tmp_path):
    """Makes started machines; all end with the test."""
    machines = []

    def make() -> SoftwareTpm:
        machine = SoftwareTpm(tmp_path / f"machine{len(machines)}")
        machines.append(machine)
        return machine.start()

    yield make
    for machine in machines:
        machine.remove()


@pytest.fixture
def machine(new_machine):
    """One started machine."""
    return new_machine()


@pytest.fixture
def new_platform(new_machine):
    """Makes provisioned platforms, each on a machine of its own."""
    platforms = []

    def make(**settings) -> Platform:
        platform = Platform(new_machine(), **settings)
        platforms.append(platform)
        return platform

    yield make
    for platform in platforms:
        platform.tpm.close()


@pytest.fixture
def platform(new_platform):
    """One provisioned platform."""
    return new_platform()
