"""An authority and its owners, without any TPM."""

from __future__ import annotations

import pytest

from tests.support.asking import House
from tests.support.documents import make_owner, make_platform


@pytest.fixture
def house(tmp_path):
    """An authority that serves one owner."""
    made = House(tmp_path)
    yield made
    made.vault.close()


@pytest.fixture
def shared(tmp_path):
    """An authority that serves two owners who do not know each other."""
    made = House(tmp_path, make_owner(), make_owner("neighbour"))
    yield made
    made.vault.close()


@pytest.fixture
def platform(house):
    """A platform that its owner approved."""
    return house.enrol(make_platform())
