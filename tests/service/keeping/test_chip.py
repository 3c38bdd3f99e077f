"""The vault of an authority at its handle in a TPM: put there once, and never over another key or in another TPM."""

from __future__ import annotations

import pytest

from lms.errors import BadRequest, HandleOccupied, NotInitialised, VaultLost
from lms.model.keys import SRK_HANDLE, VAULT_HANDLE
from lms.service.keeping.chip import ChipSetting, ChipVaultKey, ensure_vault, make_chip_identity
from tests.support.documents import uuid
from tests.support.platform import OWNER_AUTH, Platform, machines, platform

__all__ = ["machines", "platform"]
_URL = "https://ma.example:8443"


def setting_of(machine: Platform) -> ChipSetting:
    return ChipSetting(machine.tpm, lambda: machine.now)


def identity_in(machine: Platform, *addresses: str):
    """A new authority of this TPM."""
    return make_chip_identity(setting_of(machine), uuid("ma"), addresses, OWNER_AUTH, unverified_tpm=True)


def ensure(machine: Platform, identity) -> bool:
    return ensure_vault(setting_of(machine), identity, OWNER_AUTH)


def test_the_vault_goes_to_its_handle_once(platform):
    identity = identity_in(platform, _URL)
    with pytest.raises(NotInitialised):
        ChipVaultKey(platform.tpm, identity)
    assert ensure(platform, identity)
    assert platform.tpm.read_public(VAULT_HANDLE) == ChipVaultKey(platform.tpm, identity).public == identity.vault
    assert not ensure(platform, identity)
    platform.evict(VAULT_HANDLE)
    assert ensure(platform, identity)


def test_where_a_vault_lives_no_second_authority_is_made(platform):
    with pytest.raises(BadRequest):
        identity_in(platform, "http://ma.example")
    identity = identity_in(platform, _URL)
    ensure(platform, identity)
    with pytest.raises(HandleOccupied):
        identity_in(platform, _URL)
    assert platform.tpm.read_public(VAULT_HANDLE) == identity.vault


def test_another_key_at_the_handle_stays(platform):
    identity = identity_in(platform, _URL)
    foreign = platform.place_foreign_key(VAULT_HANDLE)
    with pytest.raises(HandleOccupied):
        ensure(platform, identity)
    assert platform.key_at(VAULT_HANDLE) == foreign
    platform.evict(VAULT_HANDLE)
    assert ensure(platform, identity)


def test_another_tpm_is_told_from_one_that_was_cleared_and_left_as_it_is(machines, platform):
    identity = identity_in(platform, _URL)
    ensure(platform, identity)
    other = machines()
    with pytest.raises(VaultLost, match="another TPM"):
        ensure(other, identity)
    assert (other.key_at(SRK_HANDLE), other.tpm.owner_auth_is_set()) == (None, False)
    platform.clear()
    with pytest.raises(VaultLost, match="cleared"):
        ensure(platform, identity)
    assert platform.key_at(VAULT_HANDLE) is None
