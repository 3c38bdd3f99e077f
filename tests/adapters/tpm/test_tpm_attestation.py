"""Endorsement keys and their certificates, the AK, and credentials that only one TPM opens."""

from __future__ import annotations

import pytest
from cryptography import x509
from tpm2_pytss.constants import ESYS_TR

from lms.adapters.tpm import TpmDevice
from lms.errors import AuthFailed, InnerKeyMismatch, KeyNotFound, MalformedStructure
from lms.model.keys import SRK_HANDLE, Algorithm
from lms.model.secret import Secret
from lms.model.tpm import Credential
from lms.wire.tpm.attest import check_certify, check_creation, is_attestation_key
from lms.wire.tpm.credential import make_credential
from lms.wire.tpm.public import (
    NIST_P256,
    NIST_P384,
    ec_public_key,
    name_of,
    read_public,
    rsa_public_key,
    signing_template,
)
from tests.adapters.tpm.bench import NOTHING, OWNER, plain_esapi
from tests.support.swtpm import SoftwareTpm

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def manufactured(tmp_path_factory):
    """A TPM with EK certificates, and the CA that issued them."""
    machine = SoftwareTpm(tmp_path_factory.mktemp("manufactured") / "tpm")
    ca = machine.manufacture(tmp_path_factory.mktemp("ca"))
    machine.start()
    yield machine, ca
    machine.remove()


def issuer_of(ca):
    return x509.load_pem_x509_certificate(ca.issuer.read_bytes())


def test_endorsement_keys_with_certificates(manufactured):
    machine, ca = manufactured
    with TpmDevice(machine.tcti) as tpm:
        first, second = tpm.endorsement_keys()
    areas = read_public(first.public), read_public(second.public)
    assert areas[0].parameters.key_bits == 2048
    assert areas[1].parameters.curve == NIST_P384
    keys = rsa_public_key(areas[0]), ec_public_key(areas[1])
    for ek, key in zip((first, second), keys, strict=True):
        certificate = x509.load_der_x509_certificate(ek.certificate)
        assert certificate.public_key() == key
        certificate.verify_directly_issued_by(issuer_of(ca))
    root = x509.load_pem_x509_certificate(ca.root.read_bytes())
    issuer_of(ca).verify_directly_issued_by(root)


def test_endorsement_keys_are_derived_where_they_are_not_persistent(manufactured):
    machine, _ = manufactured
    with TpmDevice(machine.tcti) as tpm:
        persistent = tpm.endorsement_keys()
        for handle in (0x81010001, 0x81010016):
            assert tpm.read_public(handle) is not None
            tpm.evict(handle, NOTHING)
        assert tpm.endorsement_keys() == persistent
        for ek in persistent:
            tpm.trust_salt(name_of(ek.public))
            assert len(tpm.random(8)) == 8


def test_a_bare_tpm_has_endorsement_keys_too(machine):
    with TpmDevice(machine.tcti) as tpm:
        first, second = tpm.endorsement_keys()
        assert first.certificate is None
        assert second.certificate is None
        assert read_public(first.public).parameters.key_bits == 2048
        assert read_public(second.public).parameters.curve == NIST_P256
        assert tpm.endorsement_keys() == (first, second)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("kind", ["manufactured", "bare"])
def test_credentials_open_beside_the_srk_and_the_ak(manufactured, machine, kind, which):
    tcti = manufactured[0].tcti if kind == "manufactured" else machine.tcti
    with TpmDevice(tcti) as tpm:
        ek = tpm.endorsement_keys()[which].public
        tpm.trust_salt(name_of(ek))
        srk = tpm.ensure_srk(SRK_HANDLE, Algorithm.ECC_P256, NOTHING)
        tpm.trust_salt(name_of(srk))
        for handle, public in ((SRK_HANDLE, srk), (0, tpm.attestation_key())):
            credential = make_credential(ek, KEY, name_of(public))
            assert tpm.activate(name_of(ek), handle, credential, NOTHING) == Secret(KEY)
        with pytest.raises(InnerKeyMismatch):
            tpm.activate(name_of(ek), SRK_HANDLE, credential, NOTHING)


def test_credentials_of_others(platform, new_platform):
    ek = platform.tpm.endorsement_keys()[1].public
    foreign = new_platform().tpm.endorsement_keys()[1].public
    credential = make_credential(foreign, KEY, name_of(platform.srk))
    with pytest.raises(KeyNotFound):
        platform.tpm.activate(name_of(foreign), SRK_HANDLE, credential, NOTHING)
    with pytest.raises(InnerKeyMismatch):
        platform.tpm.activate(name_of(ek), SRK_HANDLE, credential, NOTHING)
    with pytest.raises(MalformedStructure):
        platform.tpm.activate(name_of(ek), SRK_HANDLE, Credential(credential.blob[:-1], credential.secret), NOTHING)


def test_the_ak_is_the_same_after_a_power_cycle(platform):
    ak = platform.tpm.attestation_key()
    assert is_attestation_key(read_public(ak))
    platform.machine.power_cycle()
    assert platform.tpm.attestation_key() == ak


def test_birth_evidence(platform):
    made = platform.make_drsk()
    evidence = made.attestation, platform.tpm.attestation_key(), name_of(made.key.public), made.creation_data
    created = check_creation(*evidence, name_of(platform.srk))
    assert created.parent_name == name_of(platform.srk)


def test_certify(platform):
    ak, auth = platform.tpm.attestation_key(), Secret(b"signing")
    key = platform.tpm.create(SRK_HANDLE, signing_template(), auth=auth, data=NOTHING)
    check_certify(platform.tpm.certify(SRK_HANDLE, key, auth), ak, name_of(key.public))
    check_certify(platform.tpm.certify(SRK_HANDLE, None, NOTHING), ak, name_of(platform.srk))
    with pytest.raises(AuthFailed):
        platform.tpm.certify(SRK_HANDLE, key, NOTHING)


def test_an_endorsement_authorisation(platform):
    ek, ak = platform.tpm.endorsement_keys()[1].public, platform.tpm.attestation_key()
    with plain_esapi(platform.machine.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.ENDORSEMENT, b"endorsed")
    endorsed, credential = Secret(b"endorsed"), make_credential(ek, KEY, name_of(platform.srk))
    with pytest.raises(AuthFailed, match="endorsement"):
        platform.tpm.attestation_key()
    with pytest.raises(AuthFailed):
        platform.tpm.activate(name_of(ek), SRK_HANDLE, credential, NOTHING)
    assert platform.tpm.activate(name_of(ek), SRK_HANDLE, credential, endorsed) == Secret(KEY)
    platform.tpm.close()
    with TpmDevice(platform.machine.tcti, endorsement_auth=endorsed) as tpm:
        tpm.trust_salt(name_of(platform.srk))
        assert tpm.attestation_key() == ak
        assert tpm.endorsement_keys()[1].public == ek
        assert tpm.ensure_srk(SRK_HANDLE, Algorithm.ECC_P256, OWNER) == platform.srk
