"""What was told is remembered, whatever lies where it is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from lms.agent.memory import Memory, default_path

THING = ("stale", "intact", "2025-06-01")
OTHER = ("restore-needed", "other-tpm", "2025-06-01")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lms" / "told.json"


def test_all_is_known_until_it_is_forgotten(path):
    memory = Memory(path)
    assert not memory.knows(THING)
    for thing in (THING, OTHER, THING):
        memory.keep(thing)
    for one in (memory, Memory(path)):
        assert (one.knows(THING), one.knows(OTHER)) == (True, True)
    memory.forget()
    for one in (memory, Memory(path)):
        assert (one.knows(THING), one.knows(OTHER)) == (False, False)


def test_no_more_is_kept_than_is_read(path):
    memory = Memory(path)
    long = "x" * 200
    for number in range(100):
        memory.keep((long, long, str(number)))
    assert Memory(path).knows((long, long, "99"))
    assert not Memory(path).knows((long, long, "0"))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"told": 1}', b'{"told": ["stale", "intact"]}', b'{"told": null}', b"\xff", b" " * 5000],
)
def test_a_damaged_file_is_as_none_and_is_replaced(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    memory = Memory(path)
    assert not memory.knows(THING)
    memory.keep(THING)
    assert Memory(path).knows(THING)


def test_what_cannot_be_written_is_remembered_as_long_as_the_session(path):
    path.parent.write_text("a file where a directory belongs")
    memory = Memory(path)
    memory.keep(THING)
    assert memory.knows(THING)
    assert not Memory(path).knows(THING)


def test_it_lies_in_the_users_state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "lms" / "told.json"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_path() == Path("/home/somebody/.local/state/lms/told.json")
