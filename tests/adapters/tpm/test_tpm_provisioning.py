"""Owner authorisation, SRK, DRSK and what is sealed below them."""

from __future__ import annotations

import pytest
from tpm2_pytss.constants import ESYS_TR

from lms.adapters.tpm import TpmDevice
from lms.errors import (
    AuthFailed,
    BadAttributes,
    BadRequest,
    BlobRefused,
    ForeignKey,
    HandleOccupied,
    KeyNotFound,
    MalformedStructure,
    NvFull,
    OwnerAuthFailed,
    TpmLockedOut,
)
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, Algorithm, Name
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.wire.tpm.policy import OWNER_AUTHORISED
from lms.wire.tpm.public import (
    Attributes,
    ec_public_key,
    name_of,
    read_public,
    sealed_template,
    signing_template,
    srk_template,
    template_of,
)
from lms.wire.tpm.signature import verify_digest
from tests.adapters.tpm.bench import NOTHING, OWNER, PROBE, Platform, plain_esapi

WRONG = Secret(b"wrong")


@pytest.mark.parametrize("algorithm", Algorithm)
def test_provisioned_keys_outlive_a_power_cycle(new_machine, algorithm):
    platform = Platform(new_machine(), algorithm)
    with platform.tpm as tpm:
        platform.make_drsk()
        child = tpm.create(DRSK_HANDLE, PROBE, auth=NOTHING, data=Secret(b"kept"))
        platform.machine.power_cycle()
        assert tpm.read_public(SRK_HANDLE) == platform.srk
        assert tpm.read_public(DRSK_HANDLE) == platform.drsk
        assert tpm.unseal(DRSK_HANDLE, child, auth=NOTHING) == Secret(b"kept")


def test_the_srk_follows_its_template(platform):
    assert template_of(platform.srk) == srk_template(Algorithm.ECC_P256)


def test_ensuring_the_srk_twice_changes_nothing(platform):
    assert platform.tpm.ensure_srk(SRK_HANDLE, Algorithm.ECC_P256, OWNER) == platform.srk


def test_another_key_at_the_srk_handle_stays(platform):
    with pytest.raises(HandleOccupied, match="another key lives there"):
        platform.tpm.ensure_srk(SRK_HANDLE, Algorithm.RSA_2048, OWNER)
    assert platform.tpm.read_public(SRK_HANDLE) == platform.srk


def test_whether_authorisations_are_set(platform, machine):
    assert platform.tpm.owner_auth_is_set()
    assert not platform.tpm.lockout_auth_is_set()
    with TpmDevice(machine.tcti) as fresh:
        assert not fresh.owner_auth_is_set()
        with plain_esapi(machine.tcti) as esapi:
            esapi.hierarchy_change_auth(ESYS_TR.LOCKOUT, b"lockout")
        assert fresh.lockout_auth_is_set()


def test_owner_auth_is_changed_by_who_knows_it(platform):
    with pytest.raises(OwnerAuthFailed):
        platform.tpm.set_owner_auth(WRONG, Secret(b"new"))
    platform.tpm.set_owner_auth(OWNER, Secret(b"new"))
    with pytest.raises(OwnerAuthFailed):
        platform.tpm.ensure_srk(SRK_HANDLE, Algorithm.ECC_P256, OWNER)
    platform.tpm.set_owner_auth(Secret(b"new"), NOTHING)
    assert not platform.tpm.owner_auth_is_set()


def test_wrong_owner_auth_changes_nothing(platform):
    key = platform.tpm.create(SRK_HANDLE, signing_template(), auth=NOTHING, data=NOTHING)
    for act in (
        lambda: platform.tpm.ensure_srk(SRK_HANDLE, Algorithm.ECC_P256, WRONG),
        lambda: platform.tpm.persist(SRK_HANDLE, key, DRSK_HANDLE, WRONG),
        lambda: platform.tpm.evict(SRK_HANDLE, WRONG),
    ):
        with pytest.raises(OwnerAuthFailed, match=r"TPM_RC_BAD_AUTH \(session 1\)"):
            act()
    assert platform.tpm.read_public(SRK_HANDLE) == platform.srk
    assert platform.tpm.read_public(DRSK_HANDLE) is None


def test_persisting_and_evicting_twice_changes_nothing(platform):
    made = platform.make_drsk()
    platform.tpm.persist(SRK_HANDLE, made.key, DRSK_HANDLE, OWNER)
    other = platform.tpm.create(SRK_HANDLE, signing_template(), auth=NOTHING, data=NOTHING)
    with pytest.raises(HandleOccupied):
        platform.tpm.persist(SRK_HANDLE, other, DRSK_HANDLE, OWNER)
    platform.tpm.evict(DRSK_HANDLE, OWNER)
    platform.tpm.evict(DRSK_HANDLE, OWNER)
    assert platform.tpm.read_public(DRSK_HANDLE) is None


def test_sealed_by_its_own_authorisation(platform):
    auth = Secret(b"pin")
    sealed = platform.tpm.create(SRK_HANDLE, PROBE, auth=auth, data=Secret(b"secret"))
    assert platform.tpm.unseal(SRK_HANDLE, sealed, auth=auth) == Secret(b"secret")
    with pytest.raises(AuthFailed):
        platform.tpm.unseal(SRK_HANDLE, sealed, auth=NOTHING)


def test_guessing_locks_the_tpm(platform):
    with plain_esapi(platform.machine.tcti) as esapi:
        esapi.dictionary_attack_parameters(
            new_max_tries=1, new_recovery_time=1000, lockout_recovery=1000, lock_handle=ESYS_TR.LOCKOUT
        )
    sealed = platform.tpm.create(
        SRK_HANDLE, sealed_template(Attributes.USER_WITH_AUTH), auth=Secret(b"pin"), data=Secret(b"secret")
    )
    assert not platform.tpm.is_locked_out()
    with pytest.raises(AuthFailed):
        platform.tpm.unseal(SRK_HANDLE, sealed, auth=WRONG)
    assert platform.tpm.is_locked_out()
    with pytest.raises(TpmLockedOut):
        platform.tpm.unseal(SRK_HANDLE, sealed, auth=Secret(b"pin"))


def test_sealed_for_the_owner(platform):
    platform.make_drsk()
    template = sealed_template(Attributes.NO_DA, OWNER_AUTHORISED)
    sealed = platform.tpm.create(DRSK_HANDLE, template, auth=NOTHING, data=Secret(bytes(range(32))))
    assert platform.tpm.unseal_as_owner(DRSK_HANDLE, sealed, OWNER) == Secret(bytes(range(32)))
    with pytest.raises(OwnerAuthFailed):
        platform.tpm.unseal_as_owner(DRSK_HANDLE, sealed, WRONG)
    with pytest.raises(AuthFailed):  # userWithAuth is clear
        platform.tpm.unseal(DRSK_HANDLE, sealed, auth=NOTHING)


def test_a_loaded_key_is_proven_by_its_child(platform):
    drsk = platform.make_drsk().key
    probe = platform.tpm.create(DRSK_HANDLE, PROBE, auth=NOTHING, data=Secret(b"probe"))
    name = name_of(drsk.public)
    assert platform.tpm.loaded_name(SRK_HANDLE, drsk, None) == (name, NOTHING)
    assert platform.tpm.loaded_name(SRK_HANDLE, drsk, probe) == (name, Secret(b"probe"))
    stranger = platform.tpm.create(SRK_HANDLE, PROBE, auth=NOTHING, data=Secret(b"stranger"))
    with pytest.raises(
        BlobRefused, match="cannot load the key: it was altered, or belongs to another key, TPM_RC_INTEGRITY"
    ):
        platform.tpm.loaded_name(SRK_HANDLE, drsk, stranger)


def test_signing(platform):
    auth = Secret(b"signing")
    key = platform.tpm.create(SRK_HANDLE, signing_template(), auth=auth, data=NOTHING)
    public = ec_public_key(read_public(key.public))
    for number in range(20):
        digest = bytes([number]) * 32
        verify_digest(public, digest, platform.tpm.sign(SRK_HANDLE, key, auth, digest))
    with pytest.raises(AuthFailed):
        platform.tpm.sign(SRK_HANDLE, key, WRONG, bytes(32))
    with pytest.raises(BadRequest):
        platform.tpm.sign(SRK_HANDLE, key, auth, bytes(31))


def test_random(platform):
    assert len(platform.tpm.random(32)) == 32
    assert platform.tpm.random(16) != platform.tpm.random(16)
    with pytest.raises(BadRequest):
        platform.tpm.random(33)


def test_secrets_wait_for_a_trusted_key(machine):
    with TpmDevice(machine.tcti) as tpm:
        assert len(tpm.random(16)) == 16
        for act in (
            lambda: tpm.set_owner_auth(NOTHING, OWNER),
            lambda: tpm.ensure_srk(SRK_HANDLE, Algorithm.ECC_P256, OWNER),
            lambda: tpm.create(SRK_HANDLE, PROBE, auth=NOTHING, data=OWNER),
        ):
            with pytest.raises((BadRequest, KeyNotFound), match=r"no key of it was verified|find the key"):
                act()
        assert not tpm.owner_auth_is_set()


def test_the_salt_key_is_the_one_that_was_pinned(platform, new_platform):
    platform.tpm.trust_salt(name_of(new_platform().srk))
    with pytest.raises(ForeignKey):
        platform.tpm.set_owner_auth(OWNER, Secret(b"told to a stranger"))
    platform.tpm.trust_salt(name_of(platform.srk))
    platform.tpm.set_owner_auth(OWNER, OWNER)


def test_a_key_put_in_the_srk_s_place_is_not_salted_with(platform):
    rival = platform.tpm.create(SRK_HANDLE, srk_template(Algorithm.ECC_P256), auth=NOTHING, data=NOTHING)
    with plain_esapi(platform.machine.tcti) as esapi:
        esapi.tr_set_auth(ESYS_TR.OWNER, OWNER.reveal())
        srk = esapi.tr_from_tpmpublic(SRK_HANDLE)
        esapi.evict_control(ESYS_TR.OWNER, srk, SRK_HANDLE)
        primary, *_ = esapi.create_primary(None, "ecc256", ESYS_TR.OWNER)
        esapi.evict_control(ESYS_TR.OWNER, primary, SRK_HANDLE)
        esapi.flush_context(primary)
    platform.tpm.begin(NOTHING)
    platform.tpm.trust_salt(name_of(platform.srk))
    with pytest.raises(ForeignKey):
        platform.tpm.unseal(SRK_HANDLE, rival, auth=NOTHING)


def test_a_fixed_child_does_not_fit_below_a_moving_parent(platform):
    platform.make_drsk()
    with pytest.raises(BadAttributes, match="TPM_RC_ATTRIBUTES"):
        platform.tpm.create(DRSK_HANDLE, signing_template(), auth=NOTHING, data=NOTHING)


def test_what_is_not_there(platform):
    assert platform.tpm.read_public(DRSK_HANDLE) is None
    with pytest.raises(KeyNotFound):
        platform.tpm.create(DRSK_HANDLE, PROBE, auth=NOTHING, data=NOTHING)
    with pytest.raises(BadRequest):
        platform.tpm.read_public(0x40000001)


@pytest.mark.parametrize(
    "damaged", [SealedObject(b"", b""), SealedObject(PROBE + b"x", b"\0\0"), SealedObject(b"\1", b"")]
)
def test_damaged_structures(platform, damaged):
    with pytest.raises(MalformedStructure):
        platform.tpm.loaded_name(SRK_HANDLE, damaged, None)


def test_secrets_that_are_too_long(platform):
    for auth, data in ((Secret(bytes(33)), NOTHING), (NOTHING, Secret(bytes(129)))):
        with pytest.raises(BadRequest):
            platform.tpm.create(SRK_HANDLE, PROBE, auth=auth, data=data)
    with pytest.raises(BadRequest):
        platform.tpm.set_owner_auth(OWNER, Secret(bytes(33)))


def test_a_full_tpm_says_so(platform):
    key = platform.tpm.create(SRK_HANDLE, srk_template(Algorithm.ECC_P256), auth=NOTHING, data=NOTHING)

    def fill() -> None:
        for handle in range(0x81000100, 0x81000180):
            platform.tpm.persist(SRK_HANDLE, key, handle, OWNER)

    with pytest.raises(NvFull, match="TPM_RC_NV_SPACE"):
        fill()
    platform.tpm.evict(0x81000100, OWNER)
    platform.tpm.persist(SRK_HANDLE, key, 0x81000100, OWNER)


def test_names_of_other_kinds_are_not_found(platform):
    platform.tpm.trust_salt(Name(b"\x00\x0c" + bytes(48)))
    with pytest.raises(ForeignKey):
        platform.tpm.random(1)
