"""A TPM that had the key gets it back with nobody's approval: from the blob here, or through an authority."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pytest

from lms.errors import ApprovalPending, AuthorityUnreachable, HandleOccupied, NoAuthority, OwnerAuthFailed
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.service.archive import archive
from lms.service.diagnosis import Reason
from lms.service.restore_by_authority import AuthorityOrder, restore_by_authority
from lms.service.setting import NO_SECRET
from tests.support.documents import NOW
from tests.support.migration import BOTH_MODES, Authority, Office, archived_at, restore
from tests.support.platform import PRECIOUS, Platform, no_authority


class Evicted(NamedTuple):
    """A machine whose key was taken from its handle; authority and TPM are those of before."""

    machine: Platform
    office: Office
    authority: Authority
    child: SealedObject


@pytest.fixture(scope="module", **BOTH_MODES)
def world(tmp_path_factory, request):
    with archived_at(request.param, tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def evicted(world, machines, tmp_path):
    authority, disk = world.authority.copied_to(tmp_path), world.machine.directory
    machine = machines(disk_of=disk, tpm_of=disk)
    machine.now, machine.connect = NOW, authority.connect
    machine.evict()
    yield Evicted(machine, authority.office, authority, world.child)
    authority.close()


def spoilt(private: bytes) -> bytes:
    return private[:-1] + bytes([private[-1] ^ 1])


def is_back(evicted: Evicted) -> bool:
    return evicted.machine.unseal(evicted.child) == PRECIOUS


def test_the_blob_here_takes_nobody_else(evicted):
    machine, before = evicted.machine, evicted.machine.state
    machine.connect = no_authority
    restored = restore(machine, unverified_tpm=False)  # it was accepted when the machine was provisioned
    assert (restored.reason, restored.changed) == (Reason.DRSK_ABSENT, True)
    assert is_back(evicted)
    assert machine.state == before
    assert restore(machine).reason is Reason.INTACT


@pytest.mark.parametrize("how", ["lost", "altered", "cut"])
def test_without_its_blob_the_authority_passes_the_key_on_unapproved(evicted, how):
    machine, before = evicted.machine, evicted.machine.state
    private = before.require_drsk().key.private
    machine.lose_blob({"lost": b"", "altered": spoilt(private), "cut": private[:-1]}[how])
    restored = restore(machine, unverified_tpm=False)
    assert (restored.reason, restored.changed) == (Reason.DRSK_ABSENT, True)
    assert is_back(evicted)
    key = machine.state.require_drsk().key
    assert key.private not in (b"", private)
    assert replace(machine.state, drsk=before.drsk) == before
    assert machine.store.load_pending() is None
    machine.evict()
    machine.connect = no_authority  # the next time its blob is here
    restore(machine)
    assert is_back(evicted)


def test_it_is_no_release_and_no_archive(evicted):
    machine, authority = evicted.machine, evicted.authority
    packages = authority.packages(machine.state.platform_id)
    machine.lose_blob()
    restore(machine)
    with authority.vault.transaction() as transaction:
        assert transaction.releases(machine.state.platform_id) == ()
    assert authority.packages(machine.state.platform_id) == packages
    assert archive(machine.setting).archived == machine.state.archived


def test_the_srk_may_be_gone_from_its_handle_as_well(evicted):
    machine = evicted.machine
    machine.evict(SRK_HANDLE)
    machine.lose_blob()
    assert restore(machine).reason is Reason.CLEARED_TPM  # so it looks, until the SRK is derived again
    assert is_back(evicted)


def test_a_request_that_waited_is_forgotten(evicted):
    machine = evicted.machine
    machine.lose_blob()
    machine.connect = no_authority
    with pytest.raises(AuthorityUnreachable):
        restore(machine)
    assert machine.store.load_pending() is not None
    machine.connect = evicted.authority.connect
    restore(machine)
    assert machine.store.load_pending() is None
    assert is_back(evicted)


@pytest.mark.parametrize("blob", [True, False], ids=["from the blob", "through the authority"])
def test_it_takes_the_owner_authorisation(evicted, blob):
    machine = evicted.machine
    if not blob:
        machine.lose_blob()
    order = AuthorityOrder(None, None, SRK_HANDLE, DRSK_HANDLE, unverified_tpm=True)
    with pytest.raises(OwnerAuthFailed):
        restore_by_authority(machine.setting, order, Secret(b"another"), NO_SECRET)
    assert machine.key_at() is None
    restore(machine)
    assert is_back(evicted)


def test_a_foreign_key_in_its_place_stays_unless_it_is_named(evicted):
    machine = evicted.machine
    foreign = machine.place_foreign_key()
    with pytest.raises(HandleOccupied):
        restore(machine)
    assert machine.key_at() == foreign
    restore(machine, replace_foreign=foreign)
    assert is_back(evicted)


def test_an_authority_with_another_blob_than_ours_leaves_it_to_the_owner(evicted):
    machine = evicted.machine
    machine.lose_blob()
    (destination,) = machine.state.destinations
    other = machine.tpm.create(SRK_HANDLE, destination.kept_inner_key.public, auth=NO_SECRET, data=Secret(bytes(16)))
    machine.store.save(replace(machine.state, destinations=(replace(destination, kept_inner_key=other),)))
    with pytest.raises(ApprovalPending):
        restore(machine)
    assert machine.key_at() is None
    restore(machine, approval=evicted.office.approve(machine.store.load_pending().document))
    assert is_back(evicted)


def test_a_machine_that_no_authority_knows_has_its_blob_alone(archived, child):
    archived.evict()
    assert restore(archived).reason is Reason.DRSK_ABSENT
    assert archived.unseal(child) == PRECIOUS
    archived.evict()
    archived.lose_blob()
    with pytest.raises(NoAuthority):
        restore(archived)
