"""What was told is remembered, whatever lies where it is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from lms.agent.memory import Memory, default_path

THING = ("stale", "intact", "2025-06-01")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lms" / "told.json"


def test_one_thing_is_known_the_last(path):
    memory = Memory(path)
    assert not memory.knows(THING)
    memory.keep(THING)
    assert memory.knows(THING)
    assert Memory(path).knows(THING)
    memory.keep(("restore-needed", "other-tpm", "2025-06-01"))
    assert not Memory(path).knows(THING)
    memory.keep(())
    assert Memory(path).knows(())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"told": 1}', b'{"told": null}', b"\xff", b" " * 5000])
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
