"""`enroll` and `archive`: blobs for a token, and packages that hold them."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from lms.adapters.store import RecoveryDirectory
from lms.errors import (
    ClockUnset,
    DestinationNotAllowed,
    FileProblem,
    NothingEnrolled,
    NotProvisioned,
    OwnerAuthFailed,
)
from lms.model.packages import DestinationKind
from lms.model.platform import Health
from lms.model.secret import Secret
from lms.names import RECOVERY_FACTS
from lms.service.archive import archive, is_archived
from lms.wire.package_v1 import read_package
from tests.support.platform import OWNER_AUTH, Platform


def test_enrolling_the_token_makes_one_destination(provisioned, token):
    state, changed = provisioned.enroll()
    assert changed
    (destination,) = state.destinations
    assert (destination.kind, destination.identity) == (DestinationKind.RECOVERY_TOKEN, token.owner.token_id)
    assert provisioned.state == state


def test_enrolling_twice_changes_nothing(provisioned):
    once, _ = provisioned.enroll()
    twice, changed = provisioned.enroll()
    assert not changed
    assert twice == once == provisioned.state


def test_the_inner_key_is_kept_for_the_owner_alone(archived):
    (destination,) = archived.state.destinations
    archived.tpm.trust_salt(archived.state.srk_name)
    kept = (archived.state.srk_handle, destination.kept_inner_key)
    with pytest.raises(OwnerAuthFailed):
        archived.tpm.unseal_as_owner(*kept, Secret(b"another authorisation"))
    assert len(archived.tpm.unseal_as_owner(*kept, OWNER_AUTH)) == 16


def test_a_key_without_an_offline_branch_goes_to_no_token(platform, provisioned, token):
    platform.provision(token, offline_token=False)
    with pytest.raises(DestinationNotAllowed):
        platform.enroll()
    assert platform.state.destinations == ()
    assert provisioned.enroll()[1]


def test_enrolling_needs_the_owner_authorisation(provisioned):
    with pytest.raises(OwnerAuthFailed):
        provisioned.enroll(Secret(b"another authorisation"))
    assert provisioned.state.destinations == ()
    assert provisioned.enroll()[1]


@pytest.mark.parametrize("act", [Platform.enroll, Platform.archive])
def test_nothing_is_done_before_provisioning(platform, act):
    with pytest.raises(NotProvisioned):
        act(platform)
    assert platform.store.load() is None


@pytest.mark.parametrize("missing", [{"drsk": None}, {"signing_key": None}], ids=["drsk", "signing-key"])
def test_nothing_is_archived_of_half_a_platform(archived, missing):
    whole = archived.state
    archived.store.save(replace(whole, **missing))
    with pytest.raises(NotProvisioned):
        archived.archive()
    assert len(archived.packages) == 1
    archived.store.save(whole)
    archived.archive()
    assert len(archived.packages) == 2


def test_an_archive_for_nobody_is_refused(provisioned):
    before = provisioned.state
    with pytest.raises(NothingEnrolled):
        provisioned.archive()
    assert provisioned.state == before
    assert provisioned.packages == []
    provisioned.enroll()
    assert provisioned.archive().health is Health.AT_RISK
    assert len(provisioned.packages) == 1


def test_the_sequence_grows_and_packages_stay(archived, package):
    archived.now += timedelta(days=1)
    state = archived.archive()
    assert state.sequence == 2
    assert state.time_floor == archived.now
    first, second = (path.read_bytes() for path in archived.packages)
    assert first == package
    assert second == archived.store.load_package()
    header = read_package(second).content.header
    assert (header.sequence, header.package_id, header.created) == (2, state.package_id, archived.now)
    blobs = [read_package(document).content.migrating_keys[0].blobs for document in (first, second)]
    assert blobs[0] == blobs[1]


def test_a_package_carries_the_probe_only_where_there_is_one(archived):
    state = archived.state
    archived.store.save(replace(state, drsk=replace(state.require_drsk(), probe=None)))
    archived.archive()
    with_probe, without = (read_package(path.read_bytes()).content.child_keys for path in archived.packages)
    assert len(with_probe) == 1
    assert without == ()


def test_an_archive_that_is_not_mounted_is_no_directory_to_be_made(archived, package):
    """What the next run finds is whole: the same key, the same destination, a package that restores."""
    before = archived.state
    shutil.move(archived.archive_directory, archived.directory / "elsewhere")
    with pytest.raises(FileProblem):
        archived.archive()
    assert not archived.archive_directory.exists()
    after = archived.state
    assert (after.drsk, after.destinations) == (before.drsk, before.destinations)
    shutil.move(archived.directory / "elsewhere", archived.archive_directory)
    assert archived.archive().sequence > after.sequence
    assert archived.packages[0].read_bytes() == package
    assert len(archived.packages) == 2


def test_a_clock_before_the_last_package_is_refused(archived):
    archived.now -= timedelta(days=1)
    with pytest.raises(ClockUnset):
        archived.archive()
    assert archived.state.sequence == 1
    archived.now += timedelta(days=1)
    assert archived.archive().sequence == 2


def test_what_a_rescue_system_needs_lies_outside_the_root(provisioned, tmp_path):
    recovery = RecoveryDirectory(tmp_path / "boot" / "lms")
    provisioned.enroll()
    archive(replace(provisioned.setting, recovery=recovery))
    assert recovery.package() is None  # a machine without /boot
    (tmp_path / "boot").mkdir()
    archive(replace(provisioned.setting, recovery=recovery))
    assert recovery.package() == provisioned.store.load_package()
    assert recovery.sheet() is None  # nobody approved this machine, nobody issued a sheet
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "boot" / "lms").iterdir()} == {0o600}


def test_what_is_everywhere_and_says_it_all_is_not_archived_again(archived, tmp_path):
    recovery = RecoveryDirectory(tmp_path / "boot" / "lms")
    setting = replace(archived.setting, recovery=recovery)
    assert is_archived(setting, archived.state)  # a machine without /boot lacks nothing there
    (tmp_path / "boot").mkdir()
    assert not is_archived(setting, archived.state)
    assert is_archived(setting, archive(setting))
    (tmp_path / "boot" / "lms" / RECOVERY_FACTS).write_bytes(b"of another package")
    assert not is_archived(setting, archived.state)
    archive(setting)
    (tmp_path / "boot" / "lms" / RECOVERY_FACTS).unlink()
    os.mkfifo(tmp_path / "boot" / "lms" / RECOVERY_FACTS)
    assert not is_archived(setting, archived.state)
    archive(setting)
    archived.packages[-1].unlink()
    assert not is_archived(setting, archived.state)
    archive(setting)
    assert not is_archived(setting, replace(archived.state, unarchived=True))
    assert is_archived(setting, archived.state)


def test_what_was_enrolled_since_is_archived(provisioned):
    provisioned.enroll()
    assert not is_archived(provisioned.setting, provisioned.state)
    assert is_archived(provisioned.setting, provisioned.archive())


def test_a_pipe_in_the_place_of_a_package_is_not_waited_for(tmp_path):
    recovery = RecoveryDirectory(tmp_path)
    (tmp_path / "lms-recovery.xml").write_bytes(b"sheet")
    os.mkfifo(tmp_path / "lms-package.xml")
    with pytest.raises(FileProblem, match="no regular file"):
        recovery.package()
    assert recovery.sheet() == b"sheet"
