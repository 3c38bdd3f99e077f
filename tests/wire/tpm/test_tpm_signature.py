"""TPMT_SIGNATURE: a TPM's verify with us and ours with a TPM; everything else is SignatureInvalid."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from tpm2_pytss import TSS2_Exception

from lms.errors import MalformedStructure, SignatureInvalid
from lms.wire.tpm.marshal import Writer
from lms.wire.tpm.public import approval_public, ec_public_key, read_public, signing_template
from lms.wire.tpm.signature import ecdsa_der, read_ecdsa, sign_digest, verify_digest, write_ecdsa
from tests.wire.tpm.samples import flipped

KEY = ec.generate_private_key(ec.SECP256R1())
DIGEST = bytes(range(32))
SCALARS = st.integers(0, 2**256 - 1)


def test_tpm_signs_we_verify(bench):
    with bench.primary(signing_template()) as (handle, public):
        signature = bench.sign(handle, DIGEST)
    verify_digest(ec_public_key(read_public(public)), DIGEST, signature)


def test_we_sign_tpm_verifies(bench):
    public = approval_public(KEY.public_key())
    bench.verify(public, DIGEST, sign_digest(KEY, DIGEST))
    with pytest.raises(TSS2_Exception):
        bench.verify(public, bytes(32), sign_digest(KEY, DIGEST))


@given(SCALARS, SCALARS)
def test_numbers_round_trip(r, s):
    signature = write_ecdsa(r, s)
    assert len(signature) == 72
    assert read_ecdsa(signature) == (r, s)
    assert decode_dss_signature(ecdsa_der(signature)) == (r, s)


@given(st.binary(min_size=32, max_size=32), st.integers(min_value=0))
def test_flipped_bits_are_refused(digest, bit):
    signature = sign_digest(KEY, digest)
    verify_digest(KEY.public_key(), digest, signature)
    for bad in ((flipped(digest, bit), signature), (digest, flipped(signature, bit))):
        with pytest.raises(SignatureInvalid):
            verify_digest(KEY.public_key(), *bad)


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_refused(data):
    with pytest.raises(MalformedStructure):
        read_ecdsa(data)
    with pytest.raises(SignatureInvalid):
        verify_digest(KEY.public_key(), DIGEST, data)


def test_chips_that_do_not_pad_are_read():
    unpadded = bytes(Writer().u16(0x18).u16(0x0B).sized(b"\1").sized(b"\2\0"))
    assert read_ecdsa(unpadded) == (1, 512)


@pytest.mark.parametrize("bad", [
    bytes(Writer().u16(0x14).u16(0x0B).sized(bytes(32)).sized(bytes(32))),
    bytes(Writer().u16(0x18).u16(0x04).sized(bytes(32)).sized(bytes(32))),
    bytes(Writer().u16(0x18).u16(0x0B).sized(bytes(33)).sized(bytes(32))),
    bytes(Writer().u16(0x18).u16(0x0B).sized(b"").sized(bytes(32))),
    write_ecdsa(1, 1) + b"\0",
], ids=["rsassa", "sha1", "too long", "empty", "trailing"])  # fmt: skip
def test_other_schemes_and_shapes_are_malformed(bad):
    with pytest.raises(MalformedStructure):
        read_ecdsa(bad)


def test_keys_of_other_curves_and_other_keys_are_refused():
    for key in (ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256R1())):
        with pytest.raises(SignatureInvalid):
            verify_digest(key.public_key(), DIGEST, sign_digest(KEY, DIGEST))
    for numbers in ((0, 0), (1, 0), (2**256 - 1, 1)):
        with pytest.raises(SignatureInvalid):
            verify_digest(KEY.public_key(), DIGEST, write_ecdsa(*numbers))
