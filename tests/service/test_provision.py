"""`provision`: once, for one owner, on one TPM."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

from lms.errors import (
    AlreadyProvisioned,
    ClockUnset,
    CloneOrReplacement,
    EkUntrusted,
    FingerprintDiffers,
    HandleOccupied,
    OwnerAuthFailed,
)
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, Algorithm
from lms.model.platform import Health
from lms.model.secret import Secret
from lms.service.probe import prove
from lms.service.setting import NO_SECRET
from tests.support.platform import Platform


def assert_works(platform) -> None:
    """The DRSK lives at its handle, and its probe opens."""
    state = platform.state
    drsk = state.require_drsk()
    assert platform.key_at(state.drsk_handle) == drsk.name
    assert drsk.probe is not None
    prove(platform.tpm, state.srk_handle, drsk.key, drsk.name, drsk.probe)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_provision_makes_srk_drsk_and_probe(platform, token, algorithm):
    state, changed = platform.provision(token, algorithm=algorithm)
    assert changed
    assert state == platform.state
    assert state.health is Health.CREATED
    assert platform.key_at(SRK_HANDLE) == state.srk_name
    assert platform.tpm.owner_auth_is_set()
    assert_works(platform)


def test_provision_twice_changes_nothing(provisioned, token):
    before = provisioned.state
    state, changed = provisioned.provision(token)
    assert not changed
    assert state == before
    assert_works(provisioned)


@pytest.mark.parametrize(
    "other",
    [
        {"offline_token": False},
        {"algorithm": Algorithm.RSA_2048},
        {"srk_handle": 0x81000013},
        {"drsk_handle": 0x81000014},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_options_are_refused(provisioned, token, other):
    before = provisioned.state
    with pytest.raises(AlreadyProvisioned):
        provisioned.provision(token, **other)
    assert provisioned.state == before
    assert not provisioned.provision(token)[1]


def test_another_owner_is_refused(provisioned, stranger, token):
    with pytest.raises(AlreadyProvisioned):
        provisioned.provision(stranger)
    assert provisioned.state.owner_document == token.owner.document


def test_a_fingerprint_that_was_not_written_down_is_refused(platform, token, stranger):
    with pytest.raises(FingerprintDiffers):
        platform.provision(token, fingerprint=stranger.fingerprint)
    assert platform.store.load() is None
    assert not platform.tpm.owner_auth_is_set()
    assert platform.provision(token, fingerprint=token.fingerprint.lower().replace("-", " "))[1]


def test_a_key_of_somebody_else_stays_at_its_handle(platform, token):
    foreign = platform.place_foreign_key()
    with pytest.raises(HandleOccupied):
        platform.provision(token)
    assert platform.key_at() == foreign
    assert platform.provision(token, drsk_handle=DRSK_HANDLE + 0x10)[1]
    assert platform.key_at() == foreign


def test_a_key_that_takes_the_handle_meanwhile_stays_there(provisioned, token):
    """Provisioning ended before it had its key; then the handle was taken."""
    state = provisioned.state
    foreign_at = provisioned.state.drsk_handle
    provisioned.evict(foreign_at)
    provisioned.store.save(replace(state, drsk=None))
    foreign = provisioned.place_foreign_key()
    with pytest.raises(HandleOccupied):
        provisioned.provision(token)
    assert provisioned.key_at() == foreign
    provisioned.evict(foreign_at)
    assert provisioned.provision(token)[1]
    assert_works(provisioned)


@pytest.mark.parametrize("wrong", [Secret(b"another authorisation"), NO_SECRET], ids=["wrong", "none"])
def test_owner_authorisation_must_be_the_one_that_is_set(platform, token, wrong):
    platform.provision(token)
    platform.evict()
    with pytest.raises(OwnerAuthFailed):
        platform.provision(token, owner_auth=wrong)
    assert platform.key_at() is None
    platform.provision(token)
    assert_works(platform)


def test_a_tpm_without_owner_authorisation_is_taken_as_it_is(platform, token):
    platform.provision(token, owner_auth=NO_SECRET)
    assert not platform.tpm.owner_auth_is_set()
    assert_works(platform)


def test_a_tpm_that_nobody_vouches_for_is_refused(platform, token):
    with pytest.raises(EkUntrusted):
        platform.provision(token, unverified_tpm=False)
    assert platform.store.load() is None
    assert platform.provision(token)[1]


@pytest.fixture(scope="module")
def manufactured(tmp_path_factory):
    """A TPM with EK certificates, switched off, and its makers' CA."""
    directory = tmp_path_factory.mktemp("manufactured")
    maker = Platform(directory)
    ca = maker.machine.manufacture(directory / "ca")
    maker.machine.remove()
    return directory, ca


def _pem(path):
    return tuple(x509.load_pem_x509_certificates(path.read_bytes()))


def test_a_tpm_is_verified_by_its_makers_roots(machines, manufactured, token):
    directory, ca = manufactured
    platform = machines(tpm_of=directory)
    platform.now = max(c.not_valid_before_utc for c in _pem(ca.root) + _pem(ca.issuer)) + timedelta(days=1)
    with pytest.raises(EkUntrusted, match="no roots"):
        platform.provision(token, unverified_tpm=False)
    platform.ek_roots = _pem(ca.root)
    with pytest.raises(EkUntrusted, match="no trusted root"):
        platform.provision(token, unverified_tpm=False)
    platform.ek_intermediates = _pem(ca.issuer)
    assert platform.provision(token, unverified_tpm=False)[1]
    assert_works(platform)


def test_the_disk_of_a_platform_in_another_machine_is_refused(machines, provisioned_machine, provisioned, token):
    clone = machines(disk_of=provisioned_machine)
    with pytest.raises(CloneOrReplacement):
        clone.provision(token)
    assert clone.key_at() is None
    assert not provisioned.provision(token)[1]


def test_a_clock_before_the_last_time_seen_is_refused(provisioned, token):
    provisioned.now -= timedelta(seconds=1)
    with pytest.raises(ClockUnset):
        provisioned.provision(token)
    provisioned.now += timedelta(seconds=1)
    assert not provisioned.provision(token)[1]


def test_a_key_that_went_from_its_handle_is_put_back(provisioned, token):
    provisioned.evict()
    provisioned.provision(token)
    assert_works(provisioned)
