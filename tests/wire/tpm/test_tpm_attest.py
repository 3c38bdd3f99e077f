"""Certify and CertifyCreation by a TPM's AK: what is proven is accepted, every change is CertificationInvalid."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from tpm2_pytss.constants import ESYS_TR
from tpm2_pytss.types import TPM2B_PUBLIC

from lms.errors import CertificationInvalid, MalformedStructure
from lms.model.keys import SHA256, Algorithm, Name
from lms.model.tpm import Attestation
from lms.wire.tpm.attest import (
    ATTEST_CERTIFY,
    check_certify,
    check_creation,
    is_attestation_key,
    read_attest,
    read_creation_data,
)
from lms.wire.tpm.marshal import unsized
from lms.wire.tpm.policy import OWNER_AUTHORISED
from lms.wire.tpm.public import (
    AK_ATTRIBUTES,
    NIST_P256,
    Attributes,
    EccParameters,
    ak_template,
    drsk_template,
    name_of,
    read_public,
    signing_template,
    srk_template,
)
from lms.wire.tpm.signature import sign_digest
from tests.wire.tpm.bench import NO_SCHEME, parse, secret_of
from tests.wire.tpm.samples import OTHER_NAME, flipped, software_key

NONCE = b"sixteen bytes 16"


@dataclass(frozen=True)
class Evidence:
    """All that one TPM says about an SRK and the DRSK born below it."""

    ak: bytes
    srk: Name
    drsk: Name
    certify: Attestation
    creation: Attestation
    creation_data: bytes


@pytest.fixture(scope="module")
def evidence(bench):
    tpm = bench.tpm
    with (
        bench.primary(ak_template(), ESYS_TR.ENDORSEMENT) as (ak, ak_public),
        bench.primary(srk_template(Algorithm.ECC_P256)) as (srk, srk_public),
    ):
        certify = bench.certify(srk, ak, NONCE)
        template = parse(TPM2B_PUBLIC, drsk_template(Algorithm.ECC_P256, OWNER_AUTHORISED))
        private, public, data, digest, ticket = tpm.create(srk, secret_of(b"", b""), template)
        drsk = tpm.load(srk, private, public)
        try:
            attest, signature = tpm.certify_creation(ak, drsk, b"", digest, NO_SCHEME, ticket)
        finally:
            tpm.flush_context(drsk)
        return Evidence(
            ak_public,
            name_of(srk_public),
            name_of(public.marshal()),
            certify,
            Attestation(attest.marshal(), signature.marshal()),
            data.marshal(),
        )


def test_certify_of_a_tpm(evidence):
    attest = check_certify(evidence.certify, evidence.ak, evidence.srk, nonce=NONCE)
    assert attest == check_certify(evidence.certify, evidence.ak, evidence.srk)
    assert (attest.type, attest.extra_data, attest.name) == (ATTEST_CERTIFY, NONCE, evidence.srk)
    owner = bytes.fromhex("40000001")
    assert attest.qualified_name == b"\x00\x0b" + hashlib.sha256(owner + evidence.srk).digest()
    endorsement = bytes.fromhex("4000000b")
    assert attest.qualified_signer == b"\x00\x0b" + hashlib.sha256(endorsement + name_of(evidence.ak)).digest()


def test_birth_evidence_of_a_tpm(evidence):
    created = check_creation(evidence.creation, evidence.ak, evidence.drsk, evidence.creation_data, evidence.srk)
    assert created == read_creation_data(evidence.creation_data)
    assert (created.parent_name_alg, created.parent_name, created.outside_info) == (SHA256, evidence.srk, b"")
    assert check_creation(evidence.creation, evidence.ak, evidence.drsk, evidence.creation_data, None) == created
    attest = read_attest(evidence.creation.attest)
    assert attest.creation_hash == hashlib.sha256(unsized(evidence.creation_data)).digest()


def refused(check, *arguments, **named):
    with pytest.raises(CertificationInvalid):
        check(*arguments, **named)


def test_other_keys_parents_and_occasions_are_refused(evidence):
    refused(check_certify, evidence.certify, evidence.ak, OTHER_NAME)
    refused(check_certify, evidence.certify, evidence.ak, evidence.srk, nonce=b"another")
    refused(check_creation, evidence.creation, evidence.ak, OTHER_NAME, evidence.creation_data, None)
    refused(check_creation, evidence.creation, evidence.ak, evidence.drsk, evidence.creation_data, OTHER_NAME)
    refused(check_creation, evidence.creation, evidence.ak, evidence.drsk, b"\0\0", None)


def test_certify_is_no_birth_evidence(evidence):
    """A software key can be imported and certified; only CertifyCreation proves its birth."""
    refused(check_creation, evidence.certify, evidence.ak, evidence.srk, evidence.creation_data, None)
    refused(check_certify, evidence.creation, evidence.ak, evidence.drsk)


@given(bit=st.integers(min_value=0))
def test_flipped_bits_are_refused(evidence, bit):
    certify = evidence.certify
    for field in ("attest", "signature"):
        damaged = replace(certify, **{field: flipped(getattr(certify, field), bit)})
        refused(check_certify, damaged, evidence.ak, evidence.srk)
    data = flipped(evidence.creation_data, bit)
    refused(check_creation, evidence.creation, evidence.ak, evidence.drsk, data, None)


def forged(attest: bytes, attributes: Attributes, parameters: EccParameters) -> tuple[Attestation, bytes]:
    key, public = software_key(parameters, SHA256, attributes)
    return Attestation(attest, sign_digest(key, hashlib.sha256(unsized(attest)).digest())), public


ECDSA = EccParameters(NIST_P256, scheme_hash=SHA256)


@pytest.mark.parametrize(("attributes", "parameters"), [
    (AK_ATTRIBUTES & ~Attributes.RESTRICTED, ECDSA),
    (AK_ATTRIBUTES & ~Attributes.FIXED_TPM, ECDSA),
    (AK_ATTRIBUTES | Attributes.DECRYPT, ECDSA),
    (AK_ATTRIBUTES & ~Attributes.SIGN, ECDSA),
    (AK_ATTRIBUTES, EccParameters(NIST_P256)),
    (AK_ATTRIBUTES, EccParameters(NIST_P256, 128, SHA256)),
], ids=["unrestricted", "not fixed", "decrypt", "no sign", "no scheme", "symmetric"])  # fmt: skip
def test_signers_that_sign_anything_are_refused(evidence, attributes, parameters):
    """An unrestricted key signs an attestation that its owner wrote."""
    attestation, public = forged(evidence.certify.attest, attributes, parameters)
    assert not is_attestation_key(read_public(public))
    refused(check_certify, attestation, public, evidence.srk)


def test_restricted_key_of_a_stranger_proves_for_the_stranger_only(evidence):
    attestation, public = forged(evidence.certify.attest, AK_ATTRIBUTES, ECDSA)
    check_certify(attestation, public, evidence.srk)  # which AK is believed is decided by credential, not here
    refused(check_certify, attestation, evidence.ak, evidence.srk)


def test_damaged_ak_is_refused(evidence):
    refused(check_certify, evidence.certify, evidence.ak[:-1], evidence.srk)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_malformed(data):
    sized = len(data).to_bytes(2, "big") + data
    for candidate in (data, sized):
        with pytest.raises(MalformedStructure):
            read_attest(candidate)
    with pytest.raises(MalformedStructure):
        read_creation_data(b"\xff" + data)


def test_what_no_tpm_generated_is_malformed(evidence):
    for at, value in ((2, 0), (7, 0x18)):  # the magic; TPM_ST_ATTEST_QUOTE
        damaged = bytearray(evidence.certify.attest)
        damaged[at] = value
        with pytest.raises(MalformedStructure):
            read_attest(bytes(damaged))


def test_creation_data_selecting_too_many_banks_is_malformed():
    content = (17).to_bytes(4, "big") + bytes(100)
    with pytest.raises(MalformedStructure):
        read_creation_data(len(content).to_bytes(2, "big") + content)


def test_creation_data_of_a_primary_names_its_hierarchy(bench):
    template = parse(TPM2B_PUBLIC, signing_template())
    handle, _, data, *_ = bench.tpm.create_primary(secret_of(b"", b""), template, ESYS_TR.OWNER, "note", "sha256:0,7")
    bench.tpm.flush_context(handle)
    created = read_creation_data(data.marshal())
    assert created.parent_name == bytes.fromhex("40000001")
    assert created.outside_info == b"note"
    assert created.pcr_selection == ((SHA256, b"\x81\0\0"),)


def test_software_signer_is_p256():
    assert isinstance(software_key(ECDSA, SHA256)[0].curve, ec.SECP256R1)
