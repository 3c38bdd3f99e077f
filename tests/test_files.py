"""Files that survive: replaced wholly, created once, one owner of a directory."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID

import pytest

from lms.adapters.store import ArchiveDirectory, RecoveryDirectory
from lms.errors import Busy, FileExists, FileProblem
from lms.files import (
    create_file,
    ensure_directory,
    files_of,
    is_directory,
    is_there,
    locked,
    locked_beside,
    read_file,
    resolved,
    write_file,
)


def test_what_is_there_is_seen(tmp_path):
    (tmp_path / "a.xml").write_bytes(b"")
    (tmp_path / "link").symlink_to("a.xml")
    (tmp_path / "dangling").symlink_to("absent")
    names = ("a.xml", "link", "dangling", "absent", "a.xml/below", "")
    assert [is_there(tmp_path / name) for name in names] == [True, True, False, False, False, True]
    assert [is_directory(tmp_path / name) for name in names] == [False] * 5 + [True]
    assert resolved(tmp_path / "link") == resolved(tmp_path) / "a.xml"
    assert resolved(tmp_path / "absent" / "below") == resolved(tmp_path) / "absent" / "below"
    assert files_of(tmp_path, ".xml") == [tmp_path / "a.xml"]
    assert files_of(tmp_path / "absent", ".xml") == []


@pytest.mark.parametrize("look", [is_there, is_directory, resolved, lambda path: files_of(path, "")])
@pytest.mark.parametrize("name", ["loop", "loop/below", "x" * 300, "nul\0"])
def test_what_nobody_can_see_is_not_taken_for_absent(tmp_path, look, name):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileProblem, match="cannot look for"):
        look(tmp_path / name)


def test_places_that_nobody_can_enter_have_no_package_and_take_none(tmp_path):
    """The service is not root: a directory that it may not enter is like one of a loop."""
    (tmp_path / "loop").symlink_to("loop")
    archive, boot = ArchiveDirectory(tmp_path / "loop" / "archive"), RecoveryDirectory(tmp_path / "loop" / "boot")
    assert (archive.find(UUID(int=1), 1, UUID(int=2)), boot.find()) == (None, None)
    with pytest.raises(FileProblem, match="cannot look for"):
        archive.keep(UUID(int=1), 1, UUID(int=2), b"package")
    with pytest.raises(FileProblem, match="cannot look for"):
        boot.package()


def test_what_is_no_files_name_is_told():
    for path in ("/", "."):
        with pytest.raises(FileProblem, match=r"no file's name"):
            create_file(Path(path), b"")


def test_a_file_is_replaced_wholly(tmp_path):
    path = tmp_path / "file"
    for content in (b"old", b"", b"new"):
        write_file(path, content)
        assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_a_crash_left_is_no_obstacle(tmp_path):
    (tmp_path / ".file.new").write_bytes(b"half of a longer content")
    write_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert not (tmp_path / ".file.new").exists()


def test_a_link_in_place_of_the_temporary_file_is_not_followed(tmp_path):
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / ".file.new").symlink_to(tmp_path / "victim")
    with pytest.raises(FileProblem, match="cannot write"):
        write_file(tmp_path / "file", b"new")
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_a_file_of_another_user_in_place_of_the_temporary_one_is_not_used(tmp_path):
    planted = tmp_path / ".file.new"
    planted.write_bytes(b"")
    os.chown(planted, 65534, -1)
    with pytest.raises(FileProblem, match="somebody else's"):
        write_file(tmp_path / "file", b"new")
    assert planted.read_bytes() == b""
    os.chown(planted, os.geteuid(), -1)
    write_file(tmp_path / "file", b"new")
    assert not planted.exists()


def test_a_file_is_created_once(tmp_path):
    path = tmp_path / "file"
    create_file(path, b"first", mode=0o644)
    with pytest.raises(FileExists, match="file exists"):
        create_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_creation_does_not_follow_a_dangling_link(tmp_path):
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileProblem):
        create_file(tmp_path / "file", b"secret")
    assert not (tmp_path / "elsewhere").exists()


def test_reading_has_a_limit(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(tmp_path / "file", 5) == b"12345"
    with pytest.raises(FileProblem, match="more than 4"):
        read_file(tmp_path / "file", 4)


@pytest.mark.parametrize(
    "act", [lambda p: read_file(p, 1), lambda p: write_file(p, b""), lambda p: create_file(p, b"")]
)
def test_an_absent_directory_is_named(tmp_path, act):
    with pytest.raises(FileProblem, match="absent"):
        act(tmp_path / "absent" / "file")


def test_a_directory_has_one_owner(tmp_path):
    with locked(tmp_path / "state"):
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
        with pytest.raises(Busy), locked(tmp_path / "state"):
            raise AssertionError
    with locked(tmp_path / "state"):
        pass


def test_a_file_that_is_replaced_has_one_owner(tmp_path):
    path, other = tmp_path / "list", tmp_path / "other list"
    with locked_beside(path):
        write_file(path, b"next")
        with pytest.raises(Busy), locked_beside(path):
            raise AssertionError
        with locked_beside(other):
            pass
    with locked_beside(path):
        pass


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileProblem, match="cannot make directory"):
        ensure_directory(tmp_path / "file")


def test_an_archive_overwrites_nothing(tmp_path):
    archive, name = ArchiveDirectory(tmp_path), (UUID(int=1), 1, UUID(int=2))
    archive.keep(*name, b"first")
    with pytest.raises(FileProblem):
        archive.keep(*name, b"second")
    (path,) = tmp_path.glob("*/*.xml")
    assert path.read_bytes() == b"first"
