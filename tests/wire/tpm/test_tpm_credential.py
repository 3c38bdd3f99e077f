"""Credentials: ours open in a TPM, a TPM's open with us, for every kind of key; inner keys are bound."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from tpm2_pytss import TSS2_Exception
from tpm2_pytss.constants import ESYS_TR

from lms.errors import BadAttributes, InnerKeyMismatch
from lms.model.keys import Algorithm, Name
from lms.model.tpm import Credential
from lms.wire.tpm.credential import make_credential, open_credential
from lms.wire.tpm.digests import DIGEST_SIZES
from lms.wire.tpm.inner_key import inner_plaintext, read_inner_plaintext
from lms.wire.tpm.public import SRK_ATTRIBUTES, PublicArea, approval_public, name_of, srk_template, write_public
from tests.wire.tpm.samples import NAME, OTHER_NAME, STORAGE, flipped, software_key

SOFTWARE = {name: software_key(*parameters) for name, parameters in STORAGE.items()}
KEYS = pytest.mark.parametrize("key", SOFTWARE.values(), ids=SOFTWARE)
KINDS = pytest.mark.parametrize("kind", STORAGE.values(), ids=STORAGE)
SECRET = bytes(range(32))
PLATFORM = UUID("00112233-4455-6677-8899-aabbccddeeff")


@KINDS
def test_tpm_activates_ours(bench, kind):
    parameters, name_alg = kind
    ek_template = write_public(PublicArea(name_alg, SRK_ATTRIBUTES, b"", parameters, b""))
    with (
        bench.primary(srk_template(Algorithm.ECC_P256)) as (srk, srk_public),
        bench.primary(ek_template, ESYS_TR.ENDORSEMENT) as (ek, ek_public),
    ):
        for secret in (SECRET, b"k", bytes(DIGEST_SIZES[name_alg])):
            credential = make_credential(ek_public, secret, name_of(srk_public))
            assert bench.activate(srk, ek, credential) == secret
        with pytest.raises(TSS2_Exception):
            bench.activate(srk, ek, make_credential(ek_public, SECRET, NAME))


@KEYS
def test_we_open_the_tpms(bench, key):
    private, public = key
    credential = bench.make_credential(public, SECRET, NAME)
    assert open_credential(private, public, NAME, credential) == SECRET


@KEYS
@given(secret=st.binary(min_size=1, max_size=32), bit=st.integers(min_value=0))
def test_round_trip_and_every_flipped_bit_is_refused(key, secret, bit):
    private, public = key
    credential = make_credential(public, secret, NAME)
    assert open_credential(private, public, NAME, credential) == secret
    refused(private, public, NAME, replace(credential, blob=flipped(credential.blob, bit)))
    refused(private, public, NAME, replace(credential, secret=flipped(credential.secret, bit)))


def refused(private, public, name, credential):
    with pytest.raises(InnerKeyMismatch) as caught:
        open_credential(private, public, name, credential)
    assert str(caught.value) == "cannot open the credential"


@KEYS
def test_other_name_or_key_is_refused(key):
    private, public = key
    credential = make_credential(public, SECRET, NAME)
    refused(private, public, OTHER_NAME, credential)
    refused(private, public, NAME, Credential(b"", b""))
    for other, _ in SOFTWARE.values():
        if other is not private:
            refused(other, public, NAME, credential)


def test_a_credential_is_no_blob():
    """The labels IDENTITY and DUPLICATE keep one from being opened as the other."""
    from lms.errors import BlobRefused
    from lms.model.tpm import OuterWrap
    from lms.wire.tpm.wrap import unwrap_outer

    private, public = SOFTWARE["p256"]
    credential = make_credential(public, SECRET, NAME)
    with pytest.raises(BlobRefused):
        unwrap_outer(private, public, NAME, OuterWrap(credential.blob, credential.secret))


def test_what_cannot_be_encrypted():
    public = SOFTWARE["p256"][1]
    for secret in (b"", bytes(33)):
        with pytest.raises(ValueError, match="empty or too long"):
            make_credential(public, secret, NAME)
    with pytest.raises(BadAttributes):
        make_credential(approval_public(ec.generate_private_key(ec.SECP256R1()).public_key()), SECRET, NAME)


def test_frozen_inner_plaintext():
    import hashlib

    key = bytes(range(16))
    expected = key + hashlib.sha256(PLATFORM.bytes + NAME).digest()[:16]
    assert inner_plaintext(key, PLATFORM, NAME) == expected
    assert expected.hex() == "000102030405060708090a0b0c0d0e0f8ab863d0f8bdd40feec375a0639d51c5"


@given(st.binary(min_size=16, max_size=16), st.uuids(), st.binary(min_size=32, max_size=32), st.integers(min_value=0))
def test_inner_plaintext_is_bound_to_platform_and_key(key, platform, digest, bit):
    name = Name(b"\x00\x0b" + digest)
    plaintext = inner_plaintext(key, platform, name)
    assert read_inner_plaintext(plaintext, platform, name) == key
    other_platform = UUID(bytes=flipped(platform.bytes, bit))
    other_name = Name(name[:2] + flipped(digest, bit))
    binding = plaintext[:16] + flipped(plaintext[16:], bit)
    for bad in ((plaintext, other_platform, name), (plaintext, platform, other_name), (binding, platform, name)):
        with pytest.raises(InnerKeyMismatch):
            read_inner_plaintext(*bad)


@given(st.binary(max_size=40))
def test_arbitrary_plaintexts_are_refused(plaintext):
    with pytest.raises(InnerKeyMismatch):
        read_inner_plaintext(plaintext, PLATFORM, NAME)


def test_inner_keys_have_16_bytes():
    with pytest.raises(ValueError, match="16 bytes"):
        inner_plaintext(bytes(32), PLATFORM, NAME)
