"""`restore` by token: what is found, and what comes back."""

from __future__ import annotations

import pytest

from lms.adapters.opener import OpenerProcess
from lms.errors import FileProblem, HandleOccupied, KeyNotFound, OwnerAuthFailed, UnconfirmedPackage
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, Algorithm
from lms.model.platform import Health
from lms.model.secret import Secret
from lms.service.diagnosis import Reason, diagnose
from lms.wire.package_v1 import read_package
from tests.service.test_provision import assert_works
from tests.support.platform import PRECIOUS


def name_in(package):
    """The DRSK of a package."""
    return read_package(package).content.migrating_keys[0].key_id


def assert_restored(platform, package) -> None:
    """The key of the package lives here, works, and is archived anew."""
    state = platform.state
    assert state.require_drsk().name == name_in(package)
    assert_works(platform)
    assert len(state.destinations) == 1
    newest = platform.store.load_package()
    header = read_package(newest).content.header
    assert (header.sequence, header.package_id) == (state.sequence, state.package_id)
    assert header.source.platform_id == read_package(package).content.header.source.platform_id
    assert platform.packages[-1].read_bytes() == newest
    assert newest != package


def test_a_new_machine_gets_the_key_and_its_children(platform, token, package, child):
    with pytest.raises(KeyNotFound):
        platform.unseal(child)
    restored = platform.restore(token, package, opener=OpenerProcess, confirmed_key=name_in(package).digits)
    assert (restored.reason, restored.changed, restored.age_known) == (Reason.NO_STATE, True, False)
    assert_restored(platform, package)
    assert restored.state.sequence == 2
    assert platform.unseal(child) == PRECIOUS


def test_another_tpm_below_the_old_disk(machines, archived_machine, token, package, child):
    platform = machines(disk_of=archived_machine)
    birth = platform.state.require_drsk().birth
    with pytest.raises(KeyNotFound):
        platform.unseal(child)
    restored = platform.restore(token, package, opener=OpenerProcess)
    assert (restored.reason, restored.changed, restored.age_known) == (Reason.OTHER_TPM, True, True)
    assert_restored(platform, package)
    assert restored.state.require_drsk().birth == birth
    assert platform.unseal(child) == PRECIOUS


def test_a_cleared_tpm(archived, token, package, child):
    assert archived.unseal(child) == PRECIOUS
    archived.clear()
    with pytest.raises(KeyNotFound):
        archived.unseal(child)
    restored = archived.restore(token, package)
    assert restored.reason is Reason.CLEARED_TPM
    assert_restored(archived, package)
    assert archived.unseal(child) == PRECIOUS


def test_a_key_that_was_evicted(archived, token, package, child):
    archived.evict()
    with pytest.raises(KeyNotFound):
        archived.unseal(child)
    assert archived.restore(token, package).reason is Reason.DRSK_ABSENT
    assert_restored(archived, package)
    assert archived.unseal(child) == PRECIOUS


def test_where_nothing_is_wrong_nothing_is_changed(archived, token, package):
    before = archived.state
    restored = archived.restore(token, package)
    assert (restored.reason, restored.changed) == (Reason.INTACT, False)
    assert archived.state == restored.state == before
    assert len(archived.packages) == 1


def test_the_same_restore_again_changes_nothing(archived, token, package):
    """The package of the first restore is older than the one that the restore made; nothing is restored from it."""
    archived.evict()
    assert archived.restore(token, package).changed
    once = archived.state
    again = archived.restore(token, package)
    assert (again.reason, again.changed) == (Reason.INTACT, False)
    assert archived.state == once


def test_an_archive_that_was_missing_at_the_end_is_made_later(archived, token, package, child):
    """The key is back, its new package could not be kept: the same restore again goes on there."""
    archived.evict()
    archived.archive_directory.rename(archived.directory / "elsewhere")
    with pytest.raises(FileProblem):
        archived.restore(token, package)
    assert archived.unseal(child) == PRECIOUS
    assert archived.state.health is Health.CREATED
    (archived.directory / "elsewhere").rename(archived.archive_directory)
    again = archived.restore(token, package)
    assert (again.reason, again.changed) == (Reason.INTACT, True)
    assert_restored(archived, package)
    assert archived.state.health is Health.AT_RISK


def test_a_restored_platform_is_restored_again(machines, archived, token, package, child):
    """From the package that the first restore made; it is approved, so nobody has to confirm its key."""
    archived.evict()
    archived.restore(token, package)
    newest = archived.packages[-1].read_bytes()
    another = machines()
    with pytest.raises(UnconfirmedPackage):
        another.restore(token, package)
    another.restore(token, newest, confirmed_key=name_in(package).digits)
    assert_restored(another, newest)
    assert another.unseal(child) == PRECIOUS


@pytest.mark.parametrize("state_is_there", [True, False])
def test_a_foreign_key_goes_only_by_its_name(machines, archived_machine, token, package, child, state_is_there):
    archived = machines(
        disk_of=archived_machine if state_is_there else None, tpm_of=archived_machine if state_is_there else None
    )
    confirmed = name_in(package).digits
    if state_is_there:
        archived.evict()
    foreign = archived.place_foreign_key()
    with pytest.raises(HandleOccupied):
        archived.restore(token, package, confirmed_key=confirmed)
    with pytest.raises(HandleOccupied):
        archived.restore(token, package, confirmed_key=confirmed, replace_foreign=name_in(package))
    assert archived.key_at() == foreign
    restored = archived.restore(token, package, confirmed_key=confirmed, replace_foreign=foreign)
    assert restored.reason is (Reason.FOREIGN_KEY if state_is_there else Reason.NO_STATE)
    assert_restored(archived, package)
    assert archived.unseal(child) == PRECIOUS


def test_a_foreign_key_at_the_srk_handle_is_never_replaced(platform, token, package):
    foreign = platform.place_foreign_srk()
    with pytest.raises(HandleOccupied):
        platform.restore(token, package, confirmed_key=name_in(package).digits)
    assert platform.key_at(SRK_HANDLE) == foreign
    platform.evict(SRK_HANDLE)
    platform.restore(token, package, confirmed_key=name_in(package).digits)
    assert_restored(platform, package)


def test_another_srk_handle_on_a_machine_without_state(platform, token, package, child):
    platform.restore(
        token, package, confirmed_key=name_in(package).digits, srk_handle=0x81000013, drsk_handle=0x81000014
    )
    assert platform.key_at() is None
    assert_restored(platform, package)
    assert platform.tpm.unseal(0x81000014, child, auth=Secret(b"")) == PRECIOUS


def test_an_rsa_key_comes_back(machines, token):
    old, new = machines(), machines()
    old.provision(token, algorithm=Algorithm.RSA_2048)
    old.enroll()
    old.archive()
    child, package = old.seal(), old.packages[0].read_bytes()
    new.restore(token, package, confirmed_key=name_in(package).digits)
    assert new.state.algorithm is Algorithm.RSA_2048
    assert_restored(new, package)
    assert new.unseal(child) == PRECIOUS


def test_restoring_needs_the_owner_authorisation(archived, token, package):
    archived.evict()
    with pytest.raises(OwnerAuthFailed):
        archived.restore(token, package, owner_auth=Secret(b"another authorisation"))
    assert archived.key_at(DRSK_HANDLE) is None
    archived.restore(token, package)
    assert_restored(archived, package)


def test_diagnosis_changes_nothing(archived):
    state = archived.state
    assert diagnose(archived.setting, state) is Reason.INTACT
    assert diagnose(archived.setting, None) is Reason.NO_STATE
    archived.evict()
    assert diagnose(archived.setting, state) is Reason.DRSK_ABSENT
    archived.evict(SRK_HANDLE)
    assert diagnose(archived.setting, state) is Reason.CLEARED_TPM
    assert archived.key_at() is None
    assert archived.state == state
