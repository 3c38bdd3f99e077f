"""All that an authority has, copied: database, identity, and the TPM's state as if the chip itself were taken along.

In software the copy passes blobs on as the authority does; so it may, and it is as blind.
"""

from __future__ import annotations

import shutil

import pytest
from tpm2_pytss.TSS2_Exception import TSS2_Exception
from tpm2_pytss.types import TPM2B_PRIVATE

from lms.adapters.store import AuthorityDirectory
from lms.adapters.tpm import TpmDevice
from lms.adapters.vault import open_vault
from lms.errors import BlobRefused, InnerKeyMismatch, MalformedStructure, NotInitialised
from lms.model.keys import SRK_HANDLE, Algorithm
from lms.service.keeping.chip import ChipVaultKey
from lms.service.keeping.enrolment import software_opener
from lms.service.keeping.software import SoftwareVaultKey
from lms.service.setting import NO_SECRET
from tests.adapters.tpm.bench import plain_esapi
from tests.support.migration import Authority, ChipAuthority, Office, enrolled
from tests.support.operator import GUESSES, SoftwareKey, Thief, loot_of
from tests.support.platform import PRECIOUS, Platform
from tests.support.swtpm import SoftwareTpm

KINDS = [Authority, ChipAuthority]
kinds = pytest.mark.parametrize("kind", KINDS, ids=["software", "tpm"])


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Directories of authorities that are switched off, and whose platform that was."""
    made = {}
    for kind in KINDS:
        directory = tmp_path_factory.mktemp("store")
        office = Office()
        authority = kind(directory, office)
        AuthorityDirectory(directory / "state").save(authority.identity)
        with Platform(tmp_path_factory.mktemp("machine")) as platform:
            enrolled(platform, office, authority)
            made[kind] = (directory, platform.state.platform_id, office.world, platform.seal())
        authority.close()
    return made


@pytest.fixture
def chips(tmp_path):
    """Starts TPMs from a copied state, or new ones; gives what speaks to them."""
    running = []

    def start(state=None) -> TpmDevice:
        machine = SoftwareTpm(state or tmp_path / f"new{len(running)}").start()
        running.append((machine, TpmDevice(machine.tcti)))
        return running[-1][1]

    yield start
    for machine, tpm in running:
        tpm.close()
        machine.remove()


@pytest.fixture
def own_tpm(tmp_path):
    """A TPM of the thief's: how to reach it, and its SRK."""
    machine = SoftwareTpm(tmp_path / "own").start()
    with TpmDevice(machine.tcti) as tpm:
        srk = tpm.ensure_srk(SRK_HANDLE, Algorithm.ECC_P256, NO_SECRET)
    yield machine.tcti, srk
    machine.remove()


class Copy:
    """What a thief has of an authority."""

    def __init__(self, directory, platform_id, child, chips) -> None:
        self.directory, self.child, self._chips = directory, child, chips
        self.identity = AuthorityDirectory(directory / "state").load()
        vault = open_vault(f"sqlite:///{directory / 'ma.sqlite'}")
        with vault.transaction() as transaction:
            self.loot = loot_of(transaction, platform_id)
        vault.close()

    @property
    def key(self):
        """The vault key, by the project's own means."""
        if self.identity.vault_key is not None:
            return SoftwareVaultKey(self.identity.vault_key)
        return ChipVaultKey(self._chips(self.directory / "tpm-of-ma"), self.identity)


@pytest.fixture
def copied(stores, chips, tmp_path):
    def copy(kind):
        directory, platform_id, world, child = stores[kind]
        shutil.copytree(directory, tmp_path / "copy", ignore=shutil.ignore_patterns(".lock", "log"))
        return Copy(tmp_path / "copy", platform_id, child, chips), world

    return copy


@kinds
def test_a_copied_store_opens_nothing_without_the_inner_key(copied, kind):
    copy, world = copied(kind)
    own, loot = SoftwareKey(), copy.loot
    outer = copy.key.rewrap(loot.key.key_id, loot.blob.outer, own.public)
    for guess in GUESSES:
        with pytest.raises((BlobRefused, MalformedStructure)):
            own.opens(loot, outer, guess)
    assert own.opens(loot, outer, loot.inner_key(world))


@kinds
def test_a_copied_store_gives_a_tpm_of_the_thiefs_nothing_to_use(copied, kind, own_tpm):
    copy, world = copied(kind)
    tcti, srk = own_tpm
    loot = copy.loot
    outer = copy.key.rewrap(loot.key.key_id, loot.blob.outer, srk)
    with plain_esapi(tcti) as esapi:
        thief = Thief(esapi, loot, copy.child)
        blob = TPM2B_PRIVATE.unmarshal(outer.duplicate)[0]
        with pytest.raises(TSS2_Exception), thief.loaded(thief.srk, blob, loot.key.public):
            pass
        with pytest.raises(TSS2_Exception):
            thief.unsealed(thief.srk, copy.child)
        for guess in GUESSES:
            with pytest.raises(TSS2_Exception):
                thief.imported(thief.srk, outer, guess)
        assert thief.imported(thief.srk, outer, loot.inner_key(world)) == PRECIOUS.reveal()


def test_the_key_of_a_vault_in_software_opens_no_inner_key(copied):
    copy, world = copied(Authority)
    (inner,) = copy.loot.blob.inner_keys
    with pytest.raises(InnerKeyMismatch):
        software_opener(copy.identity)(inner.credential)
    assert copy.loot.inner_key(world)


def test_the_disk_of_an_authority_with_a_tpm_passes_nothing_on(copied, chips):
    copy, _ = copied(ChipAuthority)
    with pytest.raises(NotInitialised):
        ChipVaultKey(chips(), copy.identity)
    assert copy.identity.vault_key is None
    assert copy.key.rewrap(copy.loot.key.key_id, copy.loot.blob.outer, SoftwareKey().public)
