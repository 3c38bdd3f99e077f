"""Public areas: the TPM accepts our templates, we read what it makes, Names agree, all else is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from tpm2_pytss.constants import ESYS_TR

from lms.errors import MalformedStructure
from lms.model.keys import SHA256, SHA384, Algorithm, Name
from lms.wire.tpm.policy import OWNER_AUTHORISED
from lms.wire.tpm.public import (
    AK_ATTRIBUTES,
    ALG_ECC,
    ALG_KEYEDHASH,
    ALG_RSA,
    NIST_P256,
    NIST_P384,
    SRK_ATTRIBUTES,
    Attributes,
    EccParameters,
    KeyedHashParameters,
    PublicArea,
    RsaParameters,
    ak_template,
    approval_public,
    attestation_public,
    drsk_template,
    ec_public_key,
    name_of,
    read_public,
    recovery_public,
    rsa_public_key,
    sealed_template,
    signing_template,
    srk_template,
    template_of,
    vault_template,
    write_public,
)
from tests.wire.tpm.samples import small_point_key, software_key

PRIMARIES = {
    "srk-ecc": (srk_template(Algorithm.ECC_P256), ESYS_TR.OWNER, ALG_ECC),
    "srk-rsa": (srk_template(Algorithm.RSA_2048), ESYS_TR.OWNER, ALG_RSA),
    "vault": (vault_template(), ESYS_TR.OWNER, ALG_ECC),
    "ak": (ak_template(), ESYS_TR.ENDORSEMENT, ALG_ECC),
    "signing": (signing_template(), ESYS_TR.OWNER, ALG_ECC),
    "p384": (
        write_public(PublicArea(SHA384, SRK_ATTRIBUTES, b"", EccParameters(NIST_P384, 256), b"")),
        ESYS_TR.ENDORSEMENT,
        ALG_ECC,
    ),
    "rsa-signing": (
        write_public(PublicArea(SHA256, AK_ATTRIBUTES, b"", RsaParameters(2048, scheme_hash=SHA256), b"")),
        ESYS_TR.ENDORSEMENT,
        ALG_RSA,
    ),
}


@pytest.mark.parametrize("case", PRIMARIES.values(), ids=PRIMARIES)
def test_tpm_makes_what_the_template_says_and_gives_it_the_same_name(bench, case):
    template, hierarchy, kind = case
    with bench.primary(template, hierarchy) as (handle, public):
        assert name_of(public) == bench.name(handle)
    area = read_public(public)
    assert area.type == kind
    assert write_public(area) == public
    assert template_of(public) == template
    key = ec_public_key(area) if kind == ALG_ECC else rsa_public_key(area)
    assert key.key_size == 8 * (len(area.unique) // 2 if kind == ALG_ECC else len(area.unique))


@pytest.mark.parametrize("algorithm", Algorithm)
def test_tpm_makes_drsk_and_sealed_children(bench, algorithm):
    with bench.primary(srk_template(algorithm)) as (srk, _):
        drsk = bench.create(srk, drsk_template(algorithm, OWNER_AUTHORISED))
        sealed = bench.create(srk, sealed_template(Attributes.NO_DA, OWNER_AUTHORISED), data=b"content key")
        for key in (drsk, sealed):
            with bench.loaded(srk, key) as handle:
                assert name_of(key.public) == bench.name(handle)
    assert read_public(drsk.public).attributes == (
        Attributes.RESTRICTED
        | Attributes.DECRYPT
        | Attributes.USER_WITH_AUTH
        | Attributes.NO_DA
        | Attributes.SENSITIVE_DATA_ORIGIN
    )
    area = read_public(sealed.public)
    assert (area.type, area.policy, area.attributes) == (ALG_KEYEDHASH, OWNER_AUTHORISED, Attributes.NO_DA)
    assert area.aes_bits is None


@pytest.mark.parametrize("make", [approval_public, recovery_public])
@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), small_point_key()], ids=["any", "leading-0"])
def test_tpm_loads_public_halves_of_a_token_under_our_name(bench, make, key):
    public = make(key.public_key())
    with bench.external(public) as handle:
        assert bench.name(handle) == name_of(public)
    assert ec_public_key(read_public(public)) == key.public_key()


def test_ak_is_known_from_its_point_alone(bench):
    """Its certificate holds no more: Name and birth evidence are checked with what is rebuilt from it."""
    with bench.primary(ak_template(), ESYS_TR.ENDORSEMENT) as (handle, public):
        rebuilt = attestation_public(ec_public_key(read_public(public)))
        assert rebuilt == public
        assert name_of(rebuilt) == bench.name(handle)


@pytest.mark.parametrize("make", [approval_public, attestation_public, recovery_public])
def test_keys_made_from_a_point_are_on_p256_only(make):
    with pytest.raises(ValueError, match="P-256"):
        make(ec.generate_private_key(ec.SECP384R1()).public_key())


def test_frozen_names_of_token_keys():
    """Names are in policies for ever: these were computed once and must never change."""
    key = ec.derive_private_key(1, ec.SECP256R1()).public_key()
    assert str(name_of(approval_public(key))) == APPROVAL_NAME
    assert str(name_of(recovery_public(key))) == RECOVERY_NAME


APPROVAL_NAME = "000B04A8D8DB137338BA19CA9C059F8CF5A7F838C7A42A4420C9A8FC83136F04BD41"
RECOVERY_NAME = "000BCAA5664D27C1B17165A72AA13889790EF8EB080246636ACA0363E5025670808F"

SOFT = [
    software_key(EccParameters(NIST_P256, 128), SHA256)[1],
    software_key(EccParameters(NIST_P384, scheme_hash=SHA384), SHA384)[1],
    software_key(RsaParameters(2048, 128), SHA256)[1],
    write_public(PublicArea(SHA256, Attributes.NO_DA, bytes(32), KeyedHashParameters(), bytes(32))),
]


@given(st.sampled_from(SOFT), st.integers(min_value=0))
def test_truncated_and_extended_areas_are_refused(public, cut):
    cut %= len(public)
    for damaged in (public[:cut], public + b"\0", write_sized(public[2:] + b"\0"), write_sized(public[2:][:cut])):
        if damaged != public:
            with pytest.raises(MalformedStructure):
                read_public(damaged)


def write_sized(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content


@given(st.sampled_from(SOFT), st.integers(min_value=0), st.integers(1, 255))
def test_damage_is_refused_or_changes_the_name(public, at, turn):
    """Never another reading with the same Name, never the same bytes twice."""
    damaged = bytearray(public)
    damaged[at % len(public)] ^= turn
    try:
        area = read_public(bytes(damaged))
    except MalformedStructure:
        return
    assert write_public(area) == bytes(damaged)
    assert name_of(bytes(damaged)) != name_of(public)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_raise_anything_else(data):
    for candidate in (data, write_sized(data)):
        with pytest.raises(MalformedStructure):
            read_public(candidate)


ECC = read_public(SOFT[0])
RSA = read_public(SOFT[2])
UNREADABLE = {
    "template": replace(ECC, unique=b""),
    "unpadded coordinate": replace(ECC, unique=ECC.unique[1:-1]),
    "coordinates of another curve": replace(ECC, unique=bytes(96)),
    "unknown curve": replace(ECC, parameters=EccParameters(5, 128)),
    "aes-192": replace(ECC, parameters=EccParameters(NIST_P256, 192)),
    "sha-1 name": replace(ECC, name_alg=0x0004),
    "sha-1 scheme": replace(ECC, parameters=EccParameters(NIST_P256, scheme_hash=4)),
    "short policy": replace(ECC, policy=bytes(31)),
    "policy of another hash": replace(ECC, policy=bytes(48)),
    "reserved attribute": replace(ECC, attributes=1),
    "rsa-1024": replace(RSA, parameters=RsaParameters(1024, 128), unique=RSA.unique[:128]),
    "short modulus": replace(RSA, unique=RSA.unique[1:]),
    "modulus with a leading zero": replace(RSA, unique=b"\0" + RSA.unique[1:]),
    "even modulus": replace(RSA, unique=RSA.unique[:-1] + b"\0"),
    "exponent 3": replace(RSA, parameters=RsaParameters(2048, 128, exponent=3)),
    "rsa with aes-256": replace(RSA, parameters=RsaParameters(2048, 256)),
    "short unique digest": PublicArea(SHA256, Attributes.NO_DA, b"", KeyedHashParameters(), bytes(20)),
}


@pytest.mark.parametrize("area", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_not_ours_is_refused(area):
    with pytest.raises(MalformedStructure):
        read_public(write_public(area))


def test_points_off_the_curve_are_refused():
    """Invalid-curve attack: such a point would make a static key tell its bits."""
    area = replace(ECC, unique=ECC.x + bytes(31) + b"\1")
    assert read_public(write_public(area)) == area
    with pytest.raises(MalformedStructure):
        ec_public_key(area)


def test_keys_of_another_type_are_refused():
    with pytest.raises(MalformedStructure):
        ec_public_key(RSA)
    with pytest.raises(MalformedStructure):
        rsa_public_key(ECC)


def test_explicit_exponent_is_the_same_key_with_another_name():
    explicit = replace(RSA, parameters=RsaParameters(2048, 128, exponent=65537))
    assert rsa_public_key(explicit) == rsa_public_key(RSA)
    assert isinstance(name_of(write_public(explicit)), Name)
    assert name_of(write_public(explicit)) != name_of(SOFT[2])
