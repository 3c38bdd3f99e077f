"""Machines with volumes."""

import pytest

from tests.support.killed_verbs import Bench
from tests.support.volumes import Acting, make_volume


@pytest.fixture(scope="session")
def blank_volume(tmp_path_factory):
    """A volume that nobody enrolled: copy it."""
    return make_volume(tmp_path_factory.mktemp("blank") / "volume")


@pytest.fixture
def volume(blank_volume, tmp_path):
    """A volume of one's own."""
    path = tmp_path / "volume"
    path.write_bytes(blank_volume.read_bytes())
    return path


@pytest.fixture
def acts(archived):
    """The acts of a machine that archived once."""
    return Acting(archived)


@pytest.fixture
def bench(victims, tmp_path):
    """Runs verbs, kills them and runs them again."""
    return Bench(victims, tmp_path)
