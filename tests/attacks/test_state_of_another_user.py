"""The directories of the service are its user's, and root works on them: no link there leads root anywhere."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from lms.adapters.store import ArchiveDirectory, RecoveryDirectory
from lms.early.looking import facts_in
from lms.errors import FileProblem
from lms.model.keys import DRSK_HANDLE
from lms.model.recovery import RecoveryFacts
from tests.support.bus import NOBODY
from tests.support.platform import lmsctl


@pytest.fixture
def precious(tmp_path) -> Path:
    """A directory of root's."""
    directory = tmp_path / "precious"
    (directory / "below").mkdir(parents=True)
    (directory / "evm-user.blob").write_bytes(b"precious")
    (directory / "below" / "kmk.blob").write_bytes(b"precious")
    return directory


@pytest.fixture
def config(archived) -> Path:
    """The configuration of a machine whose service has a user of its own."""
    archived.let_go()
    for path in (archived.state_directory, *archived.state_directory.rglob("*")):
        os.chown(path, NOBODY, -1)
    return archived.write_config()


def planted(archived, name: str, target: Path) -> Path:
    """A link in the place of what the service has there."""
    link = archived.state_directory / name
    if link.exists():
        link.rename(link.with_name(f"{name}.before"))
    link.symlink_to(target)
    return link


def everything(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_what_the_service_lets_lie_about_is_swept(config, archived):
    """What the next test is about: files of no item go."""
    items = archived.state_directory / "items"
    items.mkdir(exist_ok=True)
    (items / "of-no-item").write_bytes(b"")
    assert lmsctl("--no-daemon", "status", config=config).exit_code == 0
    assert not (items / "of-no-item").exists()


def test_no_sweep_follows_a_link(config, archived, precious):
    before = everything(precious)
    planted(archived, "items", precious)
    said = lmsctl("--no-daemon", "status", config=config)
    assert (said.json["error"], everything(precious)) == ("FileProblem", before)
    assert str(archived.state_directory / "items") in said.stderr


@pytest.mark.parametrize("name", ["items", "before"])
def test_no_purge_follows_a_link(config, archived, precious, name):
    before, confirm = everything(precious), lmsctl("purge", config=config).json["confirm"]
    if name == "items":  # what root begins with is another test's
        (archived.state_directory / "before").mkdir()
        link = planted(archived, "before/items", precious)
    else:
        link = planted(archived, "before", precious)
    assert lmsctl("purge", "--confirm", confirm, "--lose", config=config).exit_code == 0
    assert (everything(precious), link.is_symlink()) == (before, False)


def test_no_lock_is_made_through_a_link(config, archived, precious):
    link = planted(archived, "lock", precious / "nologin")
    assert lmsctl("--no-daemon", "status", config=config).json["error"] == "FileProblem"
    assert not (precious / "nologin").exists()
    link.unlink()
    assert lmsctl("--no-daemon", "status", config=config).exit_code == 0
    assert link.is_file()


@pytest.mark.parametrize("linked", [True, False], ids=["behind a link", "in its place"])
def test_nothing_that_could_be_waited_for_is_opened(config, archived, tmp_path, linked):
    reads = {"state.json": archived.store.load, "package.xml": archived.store.load_package}
    before = [read() for read in reads.values()]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for name in reads:
        link = planted(archived, name, pipe)
        if not linked:
            link.unlink()
            os.mkfifo(link)
    for read in reads.values():
        with pytest.raises(FileProblem, match="no regular file"):
            read()
    for name in reads:
        (archived.state_directory / f"{name}.before").replace(archived.state_directory / name)
    assert [read() for read in reads.values()] == before


def test_no_link_in_the_recovery_directory_is_followed(archived, tmp_path):
    """It is the service's user's as well, and root looks into it before volumes are opened."""
    directory = tmp_path / "boot"
    directory.mkdir()
    facts = RecoveryFacts(DRSK_HANDLE, archived.state.require_drsk().name, archived.state.package_id)
    place = RecoveryDirectory(directory)
    place.publish(facts, b"package", b"sheet")
    assert (facts_in(directory), place.package(), place.sheet()) == (facts, b"package", b"sheet")
    for file in tuple(directory.iterdir()):
        file.rename(tmp_path / file.name)
        file.symlink_to(tmp_path / file.name)
    for read in (partial(facts_in, directory), place.package, place.sheet):
        with pytest.raises(FileProblem, match="no regular file"):
            read()


def test_no_link_in_an_archive_is_followed(tmp_path):
    """Who can write there may have root keep packages elsewhere, or remove others'."""
    archive, platform, package = ArchiveDirectory(tmp_path / "archive"), UUID(int=1), UUID(int=2)
    (tmp_path / "archive").mkdir()
    archive.keep(platform, 1, package, b"<p/>")
    (tmp_path / "archive" / str(platform)).rename(tmp_path / "theirs")
    (tmp_path / "archive" / str(platform)).symlink_to(tmp_path / "theirs")
    before = everything(tmp_path / "theirs")
    for act in (lambda: archive.keep(platform, 2, package, b"<p/>"), lambda: archive.remove_older(platform, 9)):
        with pytest.raises(FileProblem, match="not a directory"):
            act()
    assert everything(tmp_path / "theirs") == before
    (tmp_path / "archive" / str(platform)).unlink()
    (tmp_path / "theirs").rename(tmp_path / "archive" / str(platform))
    with pytest.raises(FileProblem, match=f"{tmp_path}/archive/{platform}/.*file exists"):
        archive.keep(platform, 1, package, b"<q/>")
    archive.remove_older(platform, 9)
    assert everything(tmp_path / "archive") == {str(platform)}


@pytest.mark.parametrize("name", ["items", "before"])
def test_nothing_is_put_aside_through_a_link(archived, precious, name):
    before, platform_id = everything(precious), archived.state.platform_id
    planted(archived, name, precious)
    for act in (archived.store.put_aside, archived.store.has_aside)[: 2 if name == "before" else 1]:
        with pytest.raises(FileProblem):
            act()
    assert everything(precious) == before
    (archived.state_directory / name).unlink()
    archived.store.put_aside()
    assert (archived.state_directory / "before" / str(platform_id) / "state.json").exists()


def test_a_directory_that_is_held_is_that_directory_whatever_takes_its_name(archived, precious, monkeypatch):
    """The link comes after the look, and before the first file goes."""
    before, items = everything(precious), archived.state_directory / "items"
    items.mkdir(exist_ok=True)
    (items / "of-no-item").write_bytes(b"")
    remove = os.unlink

    def exchanged(path, *words, **more):
        if items.is_symlink():
            return remove(path, *words, **more)
        planted(archived, "items", precious)
        return remove(path, *words, **more)

    monkeypatch.setattr(os, "unlink", exchanged)
    archived.store.sweep()
    assert everything(precious) == before
    assert not (archived.state_directory / "items.before" / "of-no-item").exists()
