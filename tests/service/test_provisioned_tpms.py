"""Which TPM a state is of, as `provision` and `restore` look at it, and what a package must hold of its key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.errors import BlobRefused, CloneOrReplacement, NameMismatch
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE
from lms.service.installing import recoverable
from lms.service.probe import prove
from lms.wire.package_v1 import read_package
from tests.support.documents import make_package, make_platform


def test_a_new_platform_where_there_was_none_is_a_platform(platform, token):
    state, changed = platform.provision(token, new_platform=True)
    assert changed
    assert not platform.store.has_aside()
    assert platform.provision(token) == (state, False)


def test_a_tpm_that_was_cleared_is_not_provisioned_over(archived, token, package):
    """Its EK is the same; the keys come back by a restore."""
    before = archived.state
    archived.clear()
    with pytest.raises(CloneOrReplacement):
        archived.provision(token)
    assert archived.state == before
    assert archived.key_at() is None
    assert archived.restore(token, package).changed


def test_a_provision_that_ended_before_its_key_can_adopt_one(provisioned, token):
    """Somebody else finished it: the key is the owner's, and at its handle."""
    born = provisioned.state
    provisioned.store.save(replace(born, drsk=None))
    state, changed = provisioned.provision(token, adopt=True)
    assert changed
    assert (state.platform_id, state.require_drsk().name) == (born.platform_id, born.require_drsk().name)
    assert state.require_drsk().birth is None


def test_a_key_is_proven_by_its_name_and_by_its_probe(provisioned):
    """What a TPM imported is another key, or opens what another key's probe says."""
    state, tpm = provisioned.state, provisioned.tpm
    tpm.trust_salt(state.srk_name)
    drsk, other = state.require_drsk(), provisioned.seal()
    with pytest.raises(BlobRefused, match="its Name is"):
        prove(tpm, SRK_HANDLE, drsk.key, state.srk_name, None)
    with pytest.raises(BlobRefused, match="the probe below it"):
        prove(tpm, SRK_HANDLE, drsk.key, drsk.name, other)
    prove(tpm, SRK_HANDLE, drsk.key, drsk.name, None)
    prove(tpm, SRK_HANDLE, drsk.key, drsk.name, drsk.probe)
    assert provisioned.key_at(DRSK_HANDLE) == drsk.name


def test_a_package_restores_the_one_key_that_lived_here(archived, package):
    content = read_package(package).content
    (key,) = content.migrating_keys
    (stray,) = make_package(make_platform("stray")).migrating_keys
    both = replace(content, migrating_keys=(stray, key))
    assert recoverable(content, None) == recoverable(both, archived.state) == key
    for content_, state in ((both, None), (replace(content, migrating_keys=(stray,)), archived.state)):
        with pytest.raises(NameMismatch):
            recoverable(content_, state)


def test_a_package_without_a_probe_is_restored_by_the_keys_name(archived, machines, token, child, tmp_path):
    """Another writer of this format leaves it out."""
    state = archived.state
    archived.store.save(replace(state, drsk=replace(state.require_drsk(), probe=None)))
    archived.archive()
    content = read_package(archived.packages[-1].read_bytes()).content
    assert not content.child_keys
    board = machines()
    assert board.restore(
        token, archived.packages[-1].read_bytes(), confirmed_key=state.require_drsk().name.digits
    ).changed
    assert board.unseal(child).reveal()
