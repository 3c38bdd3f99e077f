"""An authority and its owners, in software and with the vault in a TPM; the platforms' chips are in software."""

from __future__ import annotations

import pytest

from tests.support.asking import House, chip_in_both_modes, vault_chip
from tests.support.documents import make_owner, make_platform

__all__ = ["chip_in_both_modes", "vault_chip"]


@pytest.fixture
def house(tmp_path, chip_in_both_modes):
    """An authority that serves one owner."""
    made = House(tmp_path, chip=chip_in_both_modes)
    yield made
    made.vault.close()


@pytest.fixture
def shared(tmp_path, chip_in_both_modes):
    """An authority that serves two owners who do not know each other."""
    made = House(tmp_path, make_owner(), make_owner("neighbour"), chip=chip_in_both_modes)
    yield made
    made.vault.close()


@pytest.fixture
def platform(house):
    """A platform that its owner approved."""
    return house.enrol(make_platform())
