"""A machine that lost its state takes the newest package that it finds, and an older one only knowingly."""

from __future__ import annotations

import shutil
from dataclasses import replace
from uuid import uuid4

import pytest

from lms.adapters.store import RecoveryDirectory
from lms.errors import BadRequest, PackageStale, UnconfirmedPackage
from lms.model.keys import DRSK_HANDLE
from lms.model.packages import ItemUsage
from lms.model.recovery import RecoveryFacts
from lms.model.registered import ROOT
from lms.model.secret import Secret
from lms.service.at_hand import highest_at_hand, package_at_hand
from lms.service.register import Where, register_item
from lms.service.retrieve import retrieve
from lms.service.setting import NO_SECRET, provisioned
from lms.wire.package_v1 import read_package
from tests.support.acts import act
from tests.support.platform import OWNER_AUTH, platform_of

DISK, VALUE = Where("luks", "disk"), Secret(b"the passphrase of a volume")


@pytest.fixture
def lost(archived, machines):
    """A machine that knows nothing, beside the archive of one that had registered something when it archived last."""
    provisioned(archived.setting)
    register_item(archived.setting, ROOT, DISK, ItemUsage.DATA, VALUE, NO_SECRET)
    archived.archive()
    archived.archive()
    machine = machines()
    shutil.copytree(archived.archive_directory, machine.archive_directory, dirs_exist_ok=True)
    return machine


@pytest.fixture
def confirmed(archived) -> dict:
    """The key's digits, as the owner wrote them down."""
    return {"confirmed_key": archived.state.require_drsk().name.digits}


def secrets_of(token) -> dict:
    return {"owner_auth": OWNER_AUTH.reveal(), "token": token.document, "token_password": token.password}


def value_in(machine):
    return retrieve(machine.setting, ROOT, DISK, OWNER_AUTH, NO_SECRET)


def test_the_newest_of_an_archive_is_taken(lost, token, archived):
    options = {"unverified-tpm": True, "confirm-key": archived.state.require_drsk().name.digits}
    with pytest.raises(UnconfirmedPackage, match="Sequence 3"):
        act(lost, "restore", {"unverified-tpm": True}, **secrets_of(token))
    assert act(lost, "restore", options, **secrets_of(token))["changed"]
    assert value_in(lost) == {"data": VALUE}


def test_an_older_one_is_taken_only_knowingly_and_its_number_not_again(lost, token, confirmed):
    oldest = lost.packages[0].read_bytes()
    with pytest.raises(PackageStale, match="Sequence 1: 3 is known"):
        lost.restore(token, oldest, **confirmed)
    assert lost.store.load() is None
    restored = lost.restore(token, oldest, accepted_stale=1, **confirmed)
    assert restored.state.registry.entries == ()
    numbers = [path.name.partition("-")[0] for path in lost.packages]
    assert numbers == ["000000001", "000000002", "000000003", "000000004"]


def test_a_newer_one_brings_what_an_old_image_lacks_though_the_key_is_in_its_place(
    archived, lost, machines, archived_machine, token
):
    archived.let_go()
    archived.machine.stop()
    image = machines(disk_of=archived_machine, tpm_of=archived.directory)
    assert image.state.registry.entries == ()
    assert not image.restore(token, image.packages[-1].read_bytes()).changed
    assert image.restore(token, lost.packages[-1].read_bytes()).changed
    assert value_in(image) == {"data": VALUE}


def test_the_copy_outside_the_root_names_the_platform_and_is_taken_where_nothing_is_newer(lost, archived, tmp_path):
    boot = RecoveryDirectory(tmp_path / "boot")
    facts = RecoveryFacts(DRSK_HANDLE, archived.state.require_drsk().name, uuid4())
    setting = replace(lost.setting, recovery=boot)
    oldest, *_, newest = (path.read_bytes() for path in lost.packages)
    boot.publish(facts, oldest, None)
    assert package_at_hand(setting, None) == newest
    shutil.rmtree(lost.archive_directory)
    assert package_at_hand(setting, None) == oldest
    header = read_package(oldest).content.header
    assert highest_at_hand(setting, header) == 1
    assert highest_at_hand(lost.setting, header) is None
    boot.publish(facts, b"what a disk made of it", None)
    assert package_at_hand(setting, None) == b"what a disk made of it"


def test_a_number_that_nobody_reached_is_no_number(lost, token, confirmed):
    """Who writes to an archive puts no Sequence out of reach."""
    newest = lost.packages[-1]
    for number in ("000900000", "999999999"):
        shutil.copy(newest, newest.with_name(newest.name.replace("000000003", number)))
    restored = lost.restore(token, newest.read_bytes(), **confirmed)
    assert restored.state.sequence == 4


def test_among_several_platforms_nobody_is_chosen(lost, machines, token):
    other = machines()
    other.provision(token)
    other.enroll()
    other.archive()
    shutil.copytree(other.archive_directory, lost.archive_directory, dirs_exist_ok=True)
    with pytest.raises(BadRequest, match="several platforms"):
        package_at_hand(lost.setting, None)
    for machine in (other, lost):
        named = platform_of(machine.packages[-1].read_bytes())
        found = package_at_hand(lost.setting, named)
        assert found is not None
        assert platform_of(found) == named
