"""Records: a whole state there and back; nothing unknown, nothing missing."""

from __future__ import annotations

import json

import pytest

from lms.errors import MalformedStructure
from lms.model.platform import Health, PlatformState
from lms.wire.record import read_record, write_record
from tests.support.vectors import FOLDER

STATES = FOLDER / "states"


def test_a_whole_state_comes_back(archived):
    state = archived.state
    assert state.destinations
    assert state.require_drsk().birth is not None
    assert read_record(PlatformState, write_record(state)) == state


@pytest.mark.parametrize("path", sorted(STATES.glob("*.json")), ids=lambda path: path.stem)
def test_a_state_that_an_earlier_version_wrote_is_read(path):
    """Frozen records, each of another age, of machines that existed for this only."""
    state = read_record(PlatformState, path.read_bytes())
    assert state.require_drsk().probe is not None
    assert (len(state.destinations), state.sequence, state.health) == (1, 1, Health.AT_RISK)
    assert read_record(PlatformState, write_record(state)) == state


@pytest.fixture
def plain(archived):
    """A state as JSON."""
    return json.loads(write_record(archived.state))


def _set(plain, path, value):
    for step in path[:-1]:
        plain = plain[step]
    plain[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("unknown",), 1),
        (("drsk", "unknown"), 1),
        (("platform_id",), "no UUID"),
        (("ek_name",), "00"),
        (("algorithm",), "rsa-1024"),
        (("sequence",), "1"),
        (("sequence",), True),
        (("time_floor",), "yesterday"),
        (("owner_document",), "?"),
        (("destinations",), 1),
        (("destinations", 0, "kind"), None),
        (("signing_key", "auth"), 7),
    ],
)
def test_what_does_not_fit_is_refused(plain, path, value):
    read_record(PlatformState, json.dumps(plain).encode())
    _set(plain, path, value)
    with pytest.raises(MalformedStructure):
        read_record(PlatformState, json.dumps(plain).encode())


@pytest.mark.parametrize("field", ["platform_id", "drsk", "sequence"])
def test_a_missing_field_is_refused(plain, field):
    del plain[field]
    with pytest.raises(MalformedStructure):
        read_record(PlatformState, json.dumps(plain).encode())


@pytest.mark.parametrize("field", ["registry", "unarchived"])
def test_a_field_that_was_added_later_may_be_missing_from_an_old_record(plain, archived, field):
    assert plain.pop(field) is not None
    assert read_record(PlatformState, json.dumps(plain).encode()) == archived.state
    plain[field] = "nonsense"
    with pytest.raises(MalformedStructure):
        read_record(PlatformState, json.dumps(plain).encode())


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_record_is_refused(record):
    with pytest.raises(MalformedStructure):
        read_record(PlatformState, record)
