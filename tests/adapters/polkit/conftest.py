"""A private bus with a real polkitd that knows the actions of this project."""

from __future__ import annotations

import pytest

from tests.support.bus import POLICIES, PolicyKit, PrivateBus

_RULES = """
polkit.addRule(function(action, subject) {
    if (action.id == "org.localmigration1.archive" && subject.user == "nobody") { return polkit.Result.YES; }
    if (action.id == "org.localmigration1.drill" && subject.user == "nobody") { return polkit.Result.NO; }
});
"""


@pytest.fixture
def bus():
    """A private bus."""
    with PrivateBus() as bus:
        yield bus


@pytest.fixture
def polkitd(bus, tmp_path_factory):
    """A polkitd on the bus: a second one after `stop()` is had by `start()`."""
    directory = tmp_path_factory.mktemp("polkit")
    polkitd = PolicyKit(bus, directory, POLICIES / "org.localmigration1.policy", _RULES)
    yield polkitd
    polkitd.stop()
