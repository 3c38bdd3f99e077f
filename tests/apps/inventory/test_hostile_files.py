"""`doctor` is root's and looks into directories of users: no link of theirs leads it anywhere, and it never waits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lms.apps.inventory import files
from lms.apps.inventory.files import known_places, look_at_files
from lms.apps.inventory.machine import Machine
from lms.apps.inventory.sight import Sight
from lms.model.keys import DRSK_HANDLE


@pytest.fixture
def secret(blob, tmp_path) -> Path:
    """What only root may open."""
    directory = tmp_path / "roots"
    directory.mkdir(mode=0o700)
    (directory / "kmk.blob").write_bytes(blob)
    return directory


@pytest.fixture
def home(tmp_path) -> Path:
    """What a user may change at any moment."""
    (tmp_path / "home" / "below").mkdir(parents=True)
    (tmp_path / "home" / "below" / "kmk.blob").write_bytes(b"nothing")
    return tmp_path / "home"


def look(*places: Path) -> Sight:
    sight = Sight()
    look_at_files(places, Machine(DRSK_HANDLE, {}), sight)
    return sight


@pytest.fixture
def exchanging(monkeypatch):
    """Puts a link in the place of something once root looked at it, and before root opens it."""

    def when(path: Path, target: Path) -> None:
        opened = os.open

        def exchange(what, *words, **more):
            if Path(what).name == path.name and not path.is_symlink():
                path.rename(path.with_name("was"))
                path.symlink_to(target)
            return opened(what, *words, **more)

        monkeypatch.setattr(os, "open", exchange)

    return when


def test_what_lies_there_is_found(secret, home):
    """What the others are about."""
    (found,) = look(secret).items
    assert found.where == str(secret / "kmk.blob")
    (secret / "kmk.blob").replace(home / "below" / "kmk.blob")
    assert [one.where for one in look(home).items] == [str(home / "below" / "kmk.blob")]


def test_a_file_that_becomes_a_link_is_not_followed(secret, home, exchanging):
    exchanging(home / "below" / "kmk.blob", secret / "kmk.blob")
    assert look(home) == Sight()
    assert (home / "below" / "kmk.blob").is_symlink()


def test_a_directory_that_becomes_a_link_is_not_followed(secret, home, exchanging):
    exchanging(home / "below", secret)
    assert look(home) == Sight()
    assert (home / "below").is_symlink()


def test_no_place_is_reached_through_a_link(secret, home):
    (home / "below" / "kmk.blob").unlink()
    (home / "below").rmdir()
    (home / "below").symlink_to(secret)
    assert look(home / "below", home / "below" / "kmk.blob") == Sight()


def test_what_is_no_file_is_not_opened(home, monkeypatch):
    os.mkfifo(home / "pipe")
    os.mknod(home / "device", 0o600 | 0o020000, os.makedev(1, 3))
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda what, *words, **more: opened.append(str(what)) or real(what, *words, **more))
    assert look(home) == Sight()
    assert not [what for what in opened if what.endswith(("pipe", "device"))]
    assert [what for what in opened if what.endswith("kmk.blob")]


def test_a_tree_without_end_ends(home, blob, monkeypatch):
    monkeypatch.setattr(files, "_FARTHEST", 1000)
    deepest = home
    for _ in range(70):
        deepest = deepest / "d"
        deepest.mkdir()
    (deepest / "kmk.blob").write_bytes(blob)
    assert look(home).unseen == [f"cannot look at all below '{home}': it lies too deep"]
    assert look(deepest).items


def test_a_loop_of_links_in_a_home_is_no_place(tmp_path, monkeypatch):
    class User:
        pw_dir = str(tmp_path)

    (tmp_path / ".tpm2_pkcs11").symlink_to(".tpm2_pkcs11")
    monkeypatch.setattr("pwd.getpwall", lambda: [User])
    look(*(path for path in known_places() if path.is_relative_to(tmp_path)))
