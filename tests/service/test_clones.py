"""The disk of a machine in another one: a new board, or a clone. The owner says which; nothing is lost either way."""

from __future__ import annotations

import json
import os

import pytest

from lms.adapters.store import StateDirectory
from lms.errors import (
    CloneOrReplacement,
    FileProblem,
    FingerprintDiffers,
    HandleOccupied,
    NotAClone,
    OwnerAuthFailed,
    Retired,
)
from lms.model.packages import ItemUsage
from lms.model.registered import ROOT
from lms.model.secret import Secret
from lms.service.acts import ACTS, Call
from lms.service.archive import archive
from lms.service.diagnosis import Reason, diagnose
from lms.service.register import Where, register_item
from lms.service.setting import NO_SECRET
from tests.service.test_provision import assert_works
from tests.support.migration import BOTH_MODES, Office, enrolled, restore
from tests.support.platform import Platform, platform_of

SECRETS = (b"value", b"another")


@pytest.fixture(scope="module")
def original(archived_machine, tmp_path_factory):
    """A machine with items, switched off."""
    directory = tmp_path_factory.mktemp("original")
    with Platform(directory, disk_of=archived_machine, tpm_of=archived_machine) as platform:
        for number, value in enumerate(SECRETS):
            where = Where("luks", f"disk{number}")
            register_item(platform.setting, ROOT, where, ItemUsage.DATA, Secret(value), NO_SECRET)
    return directory


@pytest.fixture
def clone(machines, original):
    """Its disk in another machine."""
    return machines(disk_of=original)


def files_of(directory) -> dict[str, bytes]:
    """Everything that a platform has on its disk, by relative name."""
    names = ("state.json", "package.xml", "restore.json")
    found = [directory / name for name in names] + sorted((directory / "items").glob("*"))
    return {str(file.relative_to(directory)): file.read_bytes() for file in found if file.exists()}


def test_both_possibilities_are_named(clone):
    assert diagnose(clone.setting, clone.state) is Reason.OTHER_TPM
    shown = ACTS["status"](Call({}, {}), clone.setting)
    assert "a new board" in shown["explanation"]
    assert "a clone" in shown["explanation"]
    assert shown["state"] == "restore-needed"


def test_a_clone_becomes_a_platform_of_its_own_and_loses_nothing(clone, token):
    before, old = files_of(clone.state_directory), clone.state
    state, changed = clone.provision(token, new_platform=True)
    assert changed
    assert state.platform_id != old.platform_id
    assert (state.destinations, state.sequence, state.registry.entries) == ((), 0, ())
    assert_works(clone)
    assert files_of(clone.state_directory / "before" / str(old.platform_id)) == before
    assert files_of(clone.state_directory).keys() == {"state.json"}
    clone.enroll()
    clone.archive()
    assert {platform_of(p.read_bytes()) for p in clone.packages} == {old.platform_id, state.platform_id}


def test_what_was_put_aside_is_a_state_still(clone, original, token, tmp_path):
    old = clone.state
    clone.provision(token, new_platform=True)
    kept = StateDirectory(clone.state_directory / "before" / str(old.platform_id))
    assert kept.load() == old
    assert {kept.load_ciphertext(digest) for digest in old.registry.digests}


def test_said_again_nothing_changes(clone, token):
    state, _ = clone.provision(token, new_platform=True)
    assert clone.provision(token, new_platform=True) == (state, False)
    assert clone.provision(token) == (state, False)


def test_the_machine_itself_is_no_clone(machines, original, token):
    machine = machines(disk_of=original, tpm_of=original)
    before = files_of(machine.state_directory)
    with pytest.raises(NotAClone):
        machine.provision(token, new_platform=True)
    machine.clear()
    with pytest.raises(NotAClone):
        machine.provision(token, new_platform=True)
    assert files_of(machine.state_directory) == before


def test_it_is_never_done_unasked(clone, token):
    before = files_of(clone.state_directory)
    with pytest.raises(CloneOrReplacement):
        clone.provision(token)
    assert files_of(clone.state_directory) == before
    assert clone.key_at() is None


def test_nothing_is_put_aside_before_the_new_platform_can_be_made(clone, token, stranger):
    before = files_of(clone.state_directory)
    foreign = clone.place_foreign_key()
    with pytest.raises(HandleOccupied):
        clone.provision(token, new_platform=True)
    clone.evict()
    with pytest.raises(OwnerAuthFailed):
        clone.provision(token, NO_SECRET, new_platform=True)
    with pytest.raises(FingerprintDiffers):
        clone.provision(token, new_platform=True, fingerprint=stranger.fingerprint)
    assert files_of(clone.state_directory) == before
    assert foreign != clone.provision(token, new_platform=True)[0].require_drsk().name


def test_a_platform_is_put_aside_twice_and_kept_twice(machines, clone, original, token):
    old = clone.state
    clone.provision(token, new_platform=True)
    # The same disk, brought back from a copy that had changed since.
    with_items = {name: (original / "state" / name).read_bytes() for name in ("state.json", "package.xml")}
    record = json.loads(with_items["state.json"])
    record["sequence"] += 1
    clone.store.put_aside()
    (clone.state_directory / "state.json").write_bytes(json.dumps(record).encode())
    (clone.state_directory / "package.xml").write_bytes(with_items["package.xml"])
    clone.store.put_aside()
    kept = clone.state_directory / "before"
    first, second = (StateDirectory(kept / f"{old.platform_id}{end}").load() for end in ("", ".2"))
    assert (first.sequence, second.sequence) == (old.sequence, old.sequence + 1)


class Killed(BaseException):
    """The end of a process."""


def put_aside_until(directory, monkeypatch, word: str, cut_at: int) -> bool:
    """Put aside, killed before the change of a file after the first `cut_at`; whether it came to its end."""
    real, changes = getattr(os, word), iter(range(1, cut_at + 1))

    def change(*arguments, **more):
        if next(changes, None) is None:
            raise Killed
        return real(*arguments, **more)

    with monkeypatch.context() as patched:
        patched.setattr(os, word, change)
        try:
            StateDirectory(directory).put_aside()
        except Killed:
            return False
    return True


@pytest.mark.parametrize("word", ["link", "replace", "unlink"])
def test_cut_anywhere_and_run_again_everything_is_kept(clone, tmp_path, monkeypatch, word):
    before, platform_id = files_of(clone.state_directory), clone.state.platform_id
    cuts, finished = 0, False
    while not finished:
        directory = tmp_path / f"{word}{cuts}"
        for name, content in before.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        finished = put_aside_until(directory, monkeypatch, word, cuts)
        store = StateDirectory(directory)
        if (state := store.load()) is not None:
            assert all(store.load_ciphertext(digest) for digest in state.registry.digests)
        store.put_aside()
        assert files_of(directory / "before" / str(platform_id)) == before
        assert store.load() is None
        assert store.load_package() is None
        cuts += 1
    assert cuts > len(before) / 2  # it was cut, and more than once


@pytest.mark.parametrize("made", BOTH_MODES["params"], ids=BOTH_MODES["ids"])
def test_two_machines_of_one_platform_the_first_is_retired_and_says_so(machines, tmp_path, made):
    office, directory = Office(), tmp_path / "world"
    directory.mkdir()
    authority = made(directory, office)
    machine = enrolled(machines(), office, authority)
    other = machines(disk_of=machine.directory)
    other.now, other.connect = machine.now, authority.connect
    with pytest.raises(Exception, match="has to approve"):
        restore(other)
    restore(other, approval=office.approve(other.store.load_pending().document))
    shown = ACTS["status"](Call({}, {}), machine.setting)
    assert "retired" not in shown["findings"]
    with pytest.raises(Retired):
        archive(machine.setting)
    shown = ACTS["status"](Call({}, {}), machine.setting)
    assert "retired" in shown["findings"]
    assert "another one took this platform over" in shown["explanation"]
    assert shown["reason"] == "intact"
    assert "retired" not in ACTS["status"](Call({}, {}), other.setting)["findings"]
    authority.close()


def test_a_state_that_cannot_be_put_aside_stays(clone, token):
    before = files_of(clone.state_directory)
    (clone.state_directory / "before").write_bytes(b"")  # in the way
    with pytest.raises(FileProblem):
        clone.provision(token, new_platform=True)
    assert files_of(clone.state_directory) == before
    (clone.state_directory / "before").unlink()
    assert clone.provision(token, new_platform=True)[1]
