"""The vault parent of a Migration Authority in a TPM: a random key with an authorisation, that only passes blobs on."""

from __future__ import annotations

import pytest

from lms.adapters.tpm import TpmDevice
from lms.adapters.tpm.capabilities import REWRAP
from lms.errors import AuthFailed, BadAttributes, BlobRefused, HandleOccupied, InnerKeyMismatch, KeyNotFound
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, VAULT_HANDLE
from lms.model.secret import Secret
from lms.model.tpm import OuterWrap
from lms.wire.tpm.attest import check_certify
from lms.wire.tpm.credential import make_credential
from lms.wire.tpm.public import ec_public_key, name_of, read_public, signing_template, vault_public, vault_template
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC, unwrap_inner, unwrap_outer
from tests.adapters.tpm.bench import NOTHING, OWNER, RecoveryKey
from tests.support.proxy import WithoutCommand

AUTH = Secret(b"an authorisation of 32 bytes ...")


class VaultTpm:
    """A TPM with a vault parent, and what makes it so."""

    def __init__(self, platform) -> None:
        self.tpm, self.srk = platform.tpm, platform.srk
        self.key = self.tpm.create(SRK_HANDLE, vault_template(), auth=AUTH, data=NOTHING)
        self.tpm.persist(SRK_HANDLE, self.key, VAULT_HANDLE, OWNER)
        self.public = self.key.public

    def rewrap(self, name, outer, new_parent, auth=AUTH):
        return self.tpm.rewrap(VAULT_HANDLE, auth, name, outer, new_parent)


@pytest.fixture
def vault(new_platform):
    return VaultTpm(new_platform())


@pytest.fixture
def source(new_platform):
    source = new_platform()
    source.make_drsk()
    return source


def duplicated_to(vault, source):
    return source.duplicate(vault.public, source.msa.branch, source.msa.approve_parent(vault.public))


def test_a_vault_follows_its_template_and_is_no_srk(vault):
    assert vault_public(ec_public_key(read_public(vault.public))) == vault.public
    assert vault.tpm.read_public(VAULT_HANDLE) == vault.public
    assert vault.public != vault.srk
    another = vault.tpm.create(SRK_HANDLE, vault_template(), auth=AUTH, data=NOTHING)
    assert name_of(another.public) != name_of(vault.public)
    with pytest.raises(HandleOccupied):
        vault.tpm.persist(SRK_HANDLE, another, VAULT_HANDLE, OWNER)


def test_its_ak_certifies_it_and_a_credential_finds_it_beside_its_ek(vault, new_platform):
    tpm, name = vault.tpm, name_of(vault.public)
    check_certify(tpm.certify(SRK_HANDLE, vault.key, AUTH), tpm.attestation_key(), name)
    check_certify(tpm.certify(VAULT_HANDLE, None, AUTH), tpm.attestation_key(), name)
    ek, ak = tpm.endorsement_keys()[0].public, 0
    credential = make_credential(ek, b"k" * 32, name_of(tpm.attestation_key()))
    assert tpm.activate(name_of(ek), ak, credential, NOTHING) == Secret(b"k" * 32)
    other = new_platform().tpm
    with pytest.raises(InnerKeyMismatch):
        other.activate(name_of(other.endorsement_keys()[0].public), ak, credential, NOTHING)


def test_the_outer_wrap_goes_to_a_new_srk_and_the_inner_one_stays(vault, source, new_platform):
    name, made = name_of(source.drsk), duplicated_to(vault, source)
    soft = RecoveryKey()
    passed = vault.rewrap(name, made.outer, soft.public)
    inner = unwrap_outer(soft.key, soft.public, name, passed)
    with pytest.raises(BlobRefused):
        unwrap_inner(inner, name, bytes(16))
    assert unwrap_inner(inner, name, made.inner_key.reveal())
    new = new_platform()
    passed = vault.rewrap(name, made.outer, new.srk)
    key = new.tpm.import_key(SRK_HANDLE, source.drsk, passed, AES_128_CFB_SYMMETRIC, made.inner_key)
    assert new.tpm.loaded_name(SRK_HANDLE, key, None)[0] == name


def test_sessions_are_salted_with_the_vault_itself(vault, source):
    vault.tpm.trust_salt(name_of(vault.public))
    assert vault.rewrap(name_of(source.drsk), duplicated_to(vault, source).outer, source.srk)


def test_without_its_authorisation_nothing_is_passed_on(vault, source):
    name, made = name_of(source.drsk), duplicated_to(vault, source)
    for auth in (NOTHING, Secret(b"guessed"), OWNER):
        with pytest.raises(AuthFailed):
            vault.rewrap(name, made.outer, source.srk, auth)
    assert vault.rewrap(name, made.outer, source.srk)


def test_a_blob_that_is_not_for_the_vault_is_refused(vault, source):
    name, made = name_of(source.drsk), duplicated_to(vault, source)
    other = source.duplicate(source.srk, source.msa.branch, source.msa.approve_parent(source.srk)).outer
    broken = OuterWrap(made.outer.duplicate[:-1] + bytes([made.outer.duplicate[-1] ^ 1]), made.outer.seed)
    for refused in (other, broken):
        with pytest.raises(BlobRefused):
            vault.rewrap(name, refused, source.srk)
    with pytest.raises(BlobRefused):
        vault.rewrap(name_of(source.srk), made.outer, source.srk)
    assert vault.rewrap(name, made.outer, source.srk)


def test_a_key_that_protects_nothing_is_no_new_parent(vault, source):
    signing = source.tpm.create(SRK_HANDLE, signing_template(), auth=NOTHING, data=NOTHING)
    with pytest.raises(BadAttributes):
        vault.rewrap(name_of(source.drsk), duplicated_to(vault, source).outer, signing.public)


def test_a_vault_that_is_not_there_is_missed(source):
    outer = source.duplicate(source.srk, source.msa.branch, source.msa.approve_parent(source.srk)).outer
    with pytest.raises(KeyNotFound):
        source.tpm.rewrap(VAULT_HANDLE, AUTH, name_of(source.drsk), outer, source.srk)
    assert source.tpm.read_public(DRSK_HANDLE) == source.drsk


def test_a_tpm_tells_whether_it_can_rewrap(machine):
    with TpmDevice(machine.tcti) as tpm:
        assert tpm.supports_rewrap() is True
    with WithoutCommand(machine.path, REWRAP) as proxy, TpmDevice(proxy.tcti) as tpm:
        assert tpm.supports_rewrap() is False
        assert len(tpm.random(4)) == 4
