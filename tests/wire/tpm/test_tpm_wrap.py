"""Duplicated keys: out of a TPM into software and back, for every kind of parent; damage is refused one way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from tpm2_pytss import TSS2_Exception

from lms.errors import BadAttributes, BlobRefused, MalformedStructure
from lms.model.keys import SHA256, SHA384, Algorithm, Name
from lms.model.tpm import OuterWrap
from lms.wire.tpm.policy import ADOPTED_OWNER_POLICY
from lms.wire.tpm.public import (
    ALG_ECC,
    ALG_KEYEDHASH,
    ALG_RSA,
    NIST_P256,
    NIST_P384,
    SRK_ATTRIBUTES,
    Attributes,
    EccParameters,
    PublicArea,
    RsaParameters,
    ak_template,
    approval_public,
    drsk_template,
    name_of,
    read_public,
    recovery_public,
    sealed_template,
    srk_template,
    write_public,
)
from lms.wire.tpm.sensitive import Sensitive, matches, read_sensitive, write_sensitive
from lms.wire.tpm.wrap import rewrap, unwrap_inner, unwrap_outer, wrap_inner, wrap_outer
from tests.wire.tpm.samples import NAME, OTHER_NAME, STORAGE, flipped, small_point_key, software_key

SOFTWARE = {name: software_key(*parameters) for name, parameters in STORAGE.items()}
PARENTS = pytest.mark.parametrize("parent", SOFTWARE.values(), ids=SOFTWARE)
INNER_KEY = bytes(range(16))
SENSITIVE = Sensitive(ALG_ECC, bytes(32), bytes(range(32)), b"\7" * 32)
KEYS = {
    "drsk-ecc": drsk_template(Algorithm.ECC_P256, ADOPTED_OWNER_POLICY),
    "drsk-rsa": drsk_template(Algorithm.RSA_2048, ADOPTED_OWNER_POLICY),
    "sealed": sealed_template(Attributes.USER_WITH_AUTH | Attributes.NO_DA, ADOPTED_OWNER_POLICY),
}


def content(template):
    return b"the content key" if read_type(template) == ALG_KEYEDHASH else b""


def read_type(template):
    return int.from_bytes(template[2:4], "big")


@PARENTS
@pytest.mark.parametrize("template", KEYS.values(), ids=KEYS)
def test_tpm_to_software_to_tpm(bench, parent, template):
    private, public = parent
    with bench.primary(srk_template(Algorithm.ECC_P256)) as (srk, srk_public):
        key = bench.create(srk, template, data=content(template))
        name = name_of(key.public)
        with bench.loaded(srk, key) as handle:
            inner_key, outer = bench.duplicate_as_adopted(handle, public)
        blob = unwrap_outer(private, public, name, outer)
        sensitive = unwrap_inner(blob, name, inner_key)
        assert matches(sensitive, key.public)
        back = wrap_outer(srk_public, name, wrap_inner(sensitive, name, INNER_KEY))
        with bench.loaded(srk, bench.import_(srk, key.public, back, INNER_KEY)) as handle:
            assert bench.name(handle) == name
            if content(template):
                assert bench.unseal(handle) == content(template)
        # without inner wrap the blob is the bare TPM2B_SENSITIVE
        bare = wrap_outer(srk_public, name, write_sensitive(sensitive))
        with bench.loaded(srk, bench.import_(srk, key.public, bare, None)) as handle:
            assert bench.name(handle) == name


TPM_PARENTS = {
    "ecc": srk_template(Algorithm.ECC_P256),
    "rsa": srk_template(Algorithm.RSA_2048),
    "p384": write_public(PublicArea(SHA384, SRK_ATTRIBUTES, b"", EccParameters(NIST_P384, 256), b"")),
}


@pytest.mark.parametrize("parent", TPM_PARENTS.values(), ids=TPM_PARENTS)
def test_software_rewrap_to_tpm(bench, parent):
    """The blind Migration Authority: only the outer wrap changes hands."""
    vault, vault_public = SOFTWARE["p256"]
    with bench.primary(srk_template(Algorithm.ECC_P256)) as (srk, _):
        key = bench.create(srk, KEYS["sealed"], data=b"x")
        with bench.loaded(srk, key) as handle:
            inner_key, outer = bench.duplicate_as_adopted(handle, vault_public)
    name = name_of(key.public)
    with bench.primary(parent) as (new, new_public):
        moved = rewrap(vault, vault_public, new_public, name, outer)
        with bench.loaded(new, bench.import_(new, key.public, moved, inner_key)) as handle:
            assert bench.unseal(handle) == b"x"
        with pytest.raises(TSS2_Exception):
            bench.import_(new, key.public, moved, INNER_KEY)


def test_tpm_rewrap_to_software(bench):
    private, public = SOFTWARE["p256"]
    with bench.primary(srk_template(Algorithm.ECC_P256)) as (srk, srk_public):
        outer = wrap_outer(srk_public, NAME, wrap_inner(SENSITIVE, NAME, INNER_KEY))
        moved = bench.rewrap(srk, public, NAME, outer)
    assert unwrap_inner(unwrap_outer(private, public, NAME, moved), NAME, INNER_KEY) == SENSITIVE


@PARENTS
@given(blob=st.binary(max_size=300))
def test_outer_round_trips(parent, blob):
    private, public = parent
    outer = wrap_outer(public, NAME, blob)
    assert unwrap_outer(private, public, NAME, outer) == blob
    again = rewrap(private, public, public, NAME, outer)
    assert again != outer
    assert unwrap_outer(private, public, NAME, again) == blob


def test_coordinates_with_leading_zeros(bench):
    key = small_point_key()
    public = recovery_public(key.public_key())
    assert unwrap_outer(key, public, NAME, wrap_outer(public, NAME, b"blob")) == b"blob"
    with bench.primary(srk_template(Algorithm.ECC_P256)) as (srk, _):
        made = bench.create(srk, KEYS["sealed"], data=b"x")
        with bench.loaded(srk, made) as handle:
            inner_key, outer = bench.duplicate_as_adopted(handle, public)
    name = name_of(made.public)
    assert matches(unwrap_inner(unwrap_outer(key, public, name, outer), name, inner_key), made.public)


def refused(private, public, name, outer):
    with pytest.raises(BlobRefused) as caught:
        unwrap_outer(private, public, name, outer)
    assert str(caught.value) == "cannot open the blob"
    assert caught.value.__cause__ is None


@PARENTS
@given(bit=st.integers(min_value=0))
def test_every_flipped_bit_is_refused(parent, bit):
    private, public = parent
    outer = wrap_outer(public, NAME, wrap_inner(SENSITIVE, NAME, INNER_KEY))
    refused(private, public, NAME, replace(outer, duplicate=flipped(outer.duplicate, bit)))
    refused(private, public, NAME, replace(outer, seed=flipped(outer.seed, bit)))


@PARENTS
def test_wrong_name_wrong_key_and_no_blob_are_refused_alike(parent):
    private, public = parent
    outer = wrap_outer(public, NAME, b"blob")
    refused(private, public, OTHER_NAME, outer)
    for other, _ in SOFTWARE.values():
        if other is not private:
            refused(other, public, NAME, outer)
    for empty in (OuterWrap(b"", outer.seed), OuterWrap(outer.duplicate, b""), OuterWrap(b"\0\0", b"\0\0")):
        refused(private, public, NAME, empty)


def test_seed_of_another_length_is_refused():
    """An RSA seed is as long as the digest; a TPM never makes another."""
    private, public = SOFTWARE["rsa2048"]
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"DUPLICATE\0")
    seed = private.public_key().encrypt(bytes(16), oaep)
    outer = wrap_outer(public, NAME, b"blob")
    refused(private, public, NAME, replace(outer, seed=len(seed).to_bytes(2, "big") + seed))


@given(bit=st.integers(min_value=0), auth=st.binary(max_size=32), secret=st.binary(max_size=128))
def test_inner_round_trips_and_refuses_flipped_bits(bit, auth, secret):
    sensitive = Sensitive(ALG_KEYEDHASH, auth, bytes(32), secret)
    blob = wrap_inner(sensitive, NAME, INNER_KEY)
    assert unwrap_inner(blob, NAME, INNER_KEY) == sensitive
    for bad in (
        (flipped(blob, bit), NAME, INNER_KEY),
        (blob, OTHER_NAME, INNER_KEY),
        (blob, NAME, flipped(INNER_KEY, bit)),
    ):
        with pytest.raises(BlobRefused):
            unwrap_inner(*bad)


@given(st.binary(max_size=64))
def test_arbitrary_inner_bytes_are_refused(data):
    with pytest.raises(BlobRefused):
        unwrap_inner(data, NAME, INNER_KEY)


def test_inner_integrity_uses_the_hash_of_the_name():
    name = Name(b"\x00\x0c" + bytes(48))
    assert unwrap_inner(wrap_inner(SENSITIVE, name, INNER_KEY), name, INNER_KEY) == SENSITIVE


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_inner_keys_have_16_bytes(size):
    with pytest.raises(ValueError, match="16 bytes"):
        wrap_inner(SENSITIVE, NAME, bytes(size))
    with pytest.raises(ValueError, match="16 bytes"):
        unwrap_inner(b"", NAME, bytes(size))


@pytest.mark.parametrize("make", [
    lambda: approval_public(ec.generate_private_key(ec.SECP256R1()).public_key()),
    lambda: software_key(EccParameters(NIST_P256, 128), SHA256, Attributes.DECRYPT | Attributes.USER_WITH_AUTH)[1],
    lambda: software_key(EccParameters(NIST_P256), SHA256)[1],
], ids=["signing", "unrestricted", "no symmetric"])  # fmt: skip
def test_only_storage_keys_are_parents(make):
    with pytest.raises(BadAttributes):
        wrap_outer(make(), NAME, b"blob")


def test_template_or_point_off_the_curve_is_no_parent():
    for template in (srk_template(Algorithm.ECC_P256), ak_template()):
        with pytest.raises(MalformedStructure):
            wrap_outer(template, NAME, b"blob")
    area = read_public(SOFTWARE["p256"][1])
    with pytest.raises(MalformedStructure):
        wrap_outer(write_public(replace(area, unique=area.x + bytes(31) + b"\1")), NAME, b"blob")


# Sensitive areas


@given(st.integers(0, 0xFFFF), st.binary(max_size=64), st.binary(max_size=64), st.binary(max_size=300))
def test_sensitive_round_trips_strictly(kind, auth, seed, secret):
    value = Sensitive(kind, auth, seed, secret)
    data = write_sensitive(value)
    assert read_sensitive(data) == value
    for damaged in (data + b"\0", data[:-1]):
        with pytest.raises(MalformedStructure):
            read_sensitive(damaged)


def test_sensitive_does_not_show_its_secrets():
    assert "7" not in repr(Sensitive(ALG_ECC, b"7", b"7", b"7"))


def test_private_must_match_public_ecc():
    key, public = SOFTWARE["p384"]
    scalar = key.private_numbers().private_value.to_bytes(48, "big")
    assert matches(Sensitive(ALG_ECC, b"", b"", scalar), public)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for wrong in (
        Sensitive(ALG_ECC, b"", b"", flipped(scalar, 383)),
        Sensitive(ALG_ECC, b"", b"", b""),
        Sensitive(ALG_ECC, b"", b"", order.to_bytes(48, "big")),
        Sensitive(ALG_ECC, b"", b"", b"\xff" * 48),
        Sensitive(ALG_RSA, b"", b"", scalar),
        Sensitive(ALG_ECC, bytes(49), b"", scalar),
    ):
        assert not matches(wrong, public)


def test_private_must_match_public_rsa():
    key, public = SOFTWARE["rsa2048"]
    p, q = key.private_numbers().p, key.private_numbers().q
    for prime in (p, q):
        assert matches(Sensitive(ALG_RSA, b"", b"", prime.to_bytes(128, "big")), public)
    for wrong in (0, 1, p + 2, p * q):
        assert not matches(Sensitive(ALG_RSA, b"", b"", wrong.to_bytes(256, "big")), public)


def test_private_must_match_public_sealed(bench):
    area = read_public(_sealed(bench))
    assert area.type == ALG_KEYEDHASH
    assert not matches(Sensitive(ALG_KEYEDHASH, b"", bytes(32), b"x"), write_public(area))


def _sealed(bench):
    with bench.primary(srk_template(Algorithm.ECC_P256)) as (srk, _):
        return bench.create(srk, KEYS["sealed"], data=b"x").public


def test_every_software_parent_is_what_it_says():
    assert {read_public(public).type for _, public in SOFTWARE.values()} == {ALG_ECC, ALG_RSA}
    assert isinstance(read_public(SOFTWARE["rsa3072"][1]).parameters, RsaParameters)
