"""`forget`: a destination goes from the state, and so from the next package; asked twice is asked once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.errors import LastDestination, NotProvisioned
from lms.model.platform import Health
from lms.service.forget import forget
from lms.wire.package_v1 import read_package

OTHER = "0b9d8b2c-3b52-4d5e-9ad0-0a5b3d2c1e4f"


@pytest.fixture
def two(archived):
    """A machine with a second destination; its blob is the first one's."""
    (token,) = archived.state.destinations
    archived.store.save(replace(archived.state, destinations=(token, replace(token, identity=OTHER))))
    return archived


def named(platform) -> list[str]:
    """Who the newest package is for."""
    platform.archive()
    package = read_package(platform.packages[-1].read_bytes()).content
    return [destination.identity for destination in package.header.destinations]


def test_the_next_package_does_not_name_it(two, token):
    state, changed = forget(two.setting, OTHER, last=False)
    assert changed
    assert two.state == state
    assert state.health is Health.STALE
    assert named(two) == [token.owner.token_id]
    assert two.state.health is Health.AT_RISK


def test_what_is_no_destination_is_so_already(two):
    forget(two.setting, OTHER, last=False)
    before = two.state
    assert forget(two.setting, OTHER, last=False) == (before, False)
    assert two.state == before


def test_the_last_one_goes_only_where_that_is_said(archived, token):
    with pytest.raises(LastDestination):
        forget(archived.setting, token.owner.token_id, last=False)
    assert archived.state.destinations
    state, changed = forget(archived.setting, token.owner.token_id, last=True)
    assert (changed, state.destinations, state.health) == (True, (), Health.CREATED)


def test_one_that_a_restore_has_still_to_enroll_is_forgotten_too(archived, token):
    archived.store.save(replace(archived.state, to_enroll=(OTHER,)))
    assert archived.state.health is Health.RESTORED_NOT_ENROLLED
    state, changed = forget(archived.setting, OTHER, last=False)
    assert (changed, state.health, [d.identity for d in state.destinations]) == (
        True,
        Health.AT_RISK,
        [token.owner.token_id],
    )


def test_an_unprovisioned_machine_has_none(platform):
    with pytest.raises(NotProvisioned):
        forget(platform.setting, OTHER, last=False)
