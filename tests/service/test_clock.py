"""A clock that says 1970, on a machine that knows nothing: it is before this software, and is not believed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lms.errors import ClockUnset
from lms.names import RELEASED
from lms.wire.package_v1 import read_package
from lms.wire.token_v1 import read_sheet
from tests.support import migration
from tests.support.documents import make_owner, make_platform
from tests.support.platform import NOW
from tests.support.restoring import signed_sheet

UNSET = datetime(1970, 1, 1, tzinfo=UTC)


def by_token(platform, token, package):
    (migrating,) = read_package(package).content.migrating_keys
    platform.restore(token, package, confirmed_key=migrating.key_id.digits)


def by_authority(platform, token, package):
    sheet, _ = read_sheet(signed_sheet(make_platform()))
    migration.restore(platform, sheet=sheet, owner=make_owner().owner)


@pytest.mark.parametrize("now", [UNSET, RELEASED - timedelta(seconds=1)], ids=["1970", "a second too early"])
@pytest.mark.parametrize(
    "act",
    [lambda platform, token, package: platform.provision(token), by_token, by_authority],
    ids=["provision", "restore by token", "restore by authority"],
)
def test_a_machine_without_state_takes_no_time_before_the_release(platform, token, package, act, now):
    platform.now = now
    with pytest.raises(ClockUnset, match=rf"it says {now:%Y-%m-%d}, .* released on {RELEASED:%Y-%m-%d}$"):
        act(platform, token, package)
    assert platform.store.load() is None
    assert platform.store.load_pending() is None
    assert not platform.tpm.owner_auth_is_set()
    assert platform.tpm.kept() == {}


def test_a_state_from_before_the_release_lowers_the_floor_for_nobody(archived):
    archived.store.save(replace(archived.state, time_floor=UNSET))
    archived.now = RELEASED - timedelta(seconds=1)
    before = archived.state, archived.packages
    with pytest.raises(ClockUnset, match="released"):
        archived.archive()
    assert (archived.state, archived.packages) == before
    archived.now = NOW
    assert archived.archive().time_floor == NOW
    assert len(archived.packages) == 2


def test_the_day_of_the_release_itself_is_taken(platform, token):
    platform.now = RELEASED
    assert platform.provision(token)[0].time_floor == RELEASED
