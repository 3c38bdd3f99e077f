"""Duplicate through each branch, open the result in software, import it on another TPM."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.errors import (
    BadAttributes,
    BadRequest,
    BlobRefused,
    DestinationNotAllowed,
    KeyNotFound,
    NotMigratable,
    OwnerAuthFailed,
    PolicyRefused,
)
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, Algorithm
from lms.model.packages import MsaApproval
from lms.model.policies import PRESET_OWNER, Branch, BranchKind, DuplicationPolicy
from lms.model.secret import Secret
from lms.model.tpm import OuterWrap
from lms.wire.tpm.policy import authorize
from lms.wire.tpm.public import DRSK_ATTRIBUTES, Attributes, name_of, signing_template, vault_public
from lms.wire.tpm.sensitive import matches
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC, rewrap, unwrap_inner, unwrap_outer, wrap_inner, wrap_outer
from tests.adapters.tpm.bench import NOTHING, OWNER, PROBE, Msa, RecoveryKey
from tests.support.documents import software_key


def opened(platform, recovery, duplicated):
    """The DRSK's sensitive area, opened in software."""
    name = name_of(platform.drsk)
    inner = unwrap_outer(recovery.key, recovery.public, name, duplicated.outer)
    return unwrap_inner(inner, name, duplicated.inner_key.reveal())


@pytest.mark.parametrize("for_this_key_only", [False, True])
def test_duplicate_under_an_approval(platform, for_this_key_only):
    platform.make_drsk()
    vault = RecoveryKey()
    approvals = platform.msa.approve_parent(vault.public, platform.drsk if for_this_key_only else None)
    duplicated = platform.duplicate(vault.public, platform.msa.branch, approvals)
    assert matches(opened(platform, vault, duplicated), platform.drsk)
    assert len(duplicated.inner_key) == 16


def test_duplicate_to_the_recovery_key_without_an_approval(platform):
    platform.make_drsk()
    duplicated = platform.duplicate(platform.recovery.public, platform.recovery.branch)
    assert matches(opened(platform, platform.recovery, duplicated), platform.drsk)


def test_the_preset_takes_a_key_to_a_token_or_a_vault_and_to_no_peer(platform):
    platform.make_drsk(PRESET_OWNER)
    (branch,) = PRESET_OWNER.branches
    token, vault = RecoveryKey(), RecoveryKey()
    vault.public = vault_public(vault.key.public_key())
    for destination in (token, vault):
        duplicated = platform.duplicate(destination.public, branch)
        assert matches(opened(platform, destination, duplicated), platform.drsk)
    with pytest.raises(OwnerAuthFailed):
        platform.duplicate(token.public, branch, owner_auth=Secret(b"a guess"))
    for attributes in (DRSK_ATTRIBUTES, DRSK_ATTRIBUTES & ~Attributes.NO_DA):
        with pytest.raises(DestinationNotAllowed):
            platform.duplicate(software_key("peer", attributes).public, branch)


def test_our_keys_have_no_such_branch(platform):
    platform.make_drsk()
    (branch,) = PRESET_OWNER.branches
    with pytest.raises(BadRequest):
        platform.duplicate(platform.recovery.public, branch)
    platform.policy = PRESET_OWNER  # not the key's
    with pytest.raises(PolicyRefused):
        platform.duplicate(platform.recovery.public, branch)


def test_each_duplication_has_an_inner_key_of_its_own(platform):
    platform.make_drsk()
    keys = [platform.duplicate(platform.recovery.public, platform.recovery.branch).inner_key for _ in range(2)]
    assert keys[0] != keys[1]


def test_a_policy_of_one_branch(platform):
    platform.make_drsk(DuplicationPolicy.of((platform.msa.name,)))
    vault = RecoveryKey()
    duplicated = platform.duplicate(vault.public, platform.msa.branch, platform.msa.approve_parent(vault.public))
    assert matches(opened(platform, vault, duplicated), platform.drsk)


def test_a_policy_of_all_branches(platform):
    roots, recoveries = [Msa() for _ in range(4)], [RecoveryKey() for _ in range(3)]
    platform.make_drsk(DuplicationPolicy.of(tuple(r.name for r in roots), tuple(r.name for r in recoveries)))
    for root in roots:
        approvals = root.approve_parent(recoveries[0].public)
        platform.duplicate(recoveries[0].public, root.branch, approvals)
    for recovery in recoveries:
        assert matches(opened(platform, recovery, platform.duplicate(recovery.public, recovery.branch)), platform.drsk)


def test_an_approval_by_a_further_approval_key(platform):
    platform.make_drsk()
    vault, deputies = RecoveryKey(), [Msa(), Msa()]
    chain = (
        *deputies[0].approve_parent(vault.public),
        deputies[1].approve(authorize(deputies[0].name)),
        platform.msa.approve(authorize(deputies[1].name)),
    )
    duplicated = platform.duplicate(vault.public, platform.msa.branch, chain)
    assert matches(opened(platform, vault, duplicated), platform.drsk)
    with pytest.raises(PolicyRefused):
        platform.duplicate(vault.public, platform.msa.branch, chain[:2])


def test_approvals_that_do_not_fit(platform):
    platform.make_drsk()
    vault, elsewhere, stranger = RecoveryKey(), RecoveryKey(), Msa()
    (good,) = platform.msa.approve_parent(vault.public)
    bad: dict[str, tuple[MsaApproval, ...]] = {
        "none": (),
        "other destination": platform.msa.approve_parent(elsewhere.public),
        "other key": platform.msa.approve_parent(vault.public, platform.srk),
        "stranger": stranger.approve_parent(vault.public),
        "stranger's signature": (replace(good, signature=stranger.approve_parent(vault.public)[0].signature),),
        "stranger's name": (replace(good, public=stranger.public),),
        "other reference": (replace(good, policy_ref=b"localmigration:duplicate:2"),),
        "long reference": (replace(good, policy_ref=bytes(300)),),
    }
    for approvals in bad.values():
        with pytest.raises(PolicyRefused):
            platform.duplicate(vault.public, platform.msa.branch, approvals)
    platform.duplicate(vault.public, platform.msa.branch, (good,))


def test_branches_that_do_not_fit(platform):
    platform.make_drsk()
    elsewhere = RecoveryKey()
    with pytest.raises(PolicyRefused):
        platform.duplicate(elsewhere.public, platform.recovery.branch)
    with pytest.raises(BadRequest):
        platform.duplicate(elsewhere.public, elsewhere.branch)
    platform.policy = DuplicationPolicy.of((platform.msa.name,), (elsewhere.name,))  # not the key's
    with pytest.raises(PolicyRefused):
        platform.duplicate(elsewhere.public, elsewhere.branch)
    platform.policy = DuplicationPolicy.of((Msa().name,), (platform.recovery.name,))
    with pytest.raises(PolicyRefused):
        platform.duplicate(platform.recovery.public, platform.recovery.branch)


def test_the_owner_has_to_agree(platform):
    platform.make_drsk()
    for wrong in (NOTHING, Secret(b"wrong")):
        with pytest.raises(OwnerAuthFailed, match="cannot prove the authorisation"):
            platform.duplicate(platform.recovery.public, platform.recovery.branch, owner_auth=wrong)


def test_keys_that_cannot_move(platform):
    branch = Branch(BranchKind.APPROVAL, platform.msa.name)
    vault = RecoveryKey()
    approvals = platform.msa.approve_parent(vault.public)
    with pytest.raises(NotMigratable):
        platform.tpm.duplicate(SRK_HANDLE, vault.public, platform.policy, branch, approvals, OWNER)
    with pytest.raises(KeyNotFound):
        platform.tpm.duplicate(DRSK_HANDLE, vault.public, platform.policy, branch, approvals, OWNER)


def test_a_parent_that_is_none(platform):
    platform.make_drsk()
    with pytest.raises(BadAttributes):
        platform.duplicate(platform.msa.public, platform.msa.branch, platform.msa.approve_parent(platform.msa.public))


@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_whole_way_to_a_new_tpm(new_platform, algorithm):
    old, new = new_platform(algorithm=algorithm), new_platform(algorithm=algorithm)
    old.make_drsk()
    child = old.tpm.create(DRSK_HANDLE, PROBE, auth=Secret(b"pin"), data=Secret(b"survives"))
    probe = old.tpm.create(DRSK_HANDLE, PROBE, auth=NOTHING, data=Secret(b"probe"))
    vault = RecoveryKey()
    made = old.duplicate(vault.public, old.msa.branch, old.msa.approve_parent(vault.public))
    old.machine.remove()

    name = name_of(old.drsk)
    outer = rewrap(vault.key, vault.public, new.srk, name, made.outer)
    key = new.tpm.import_key(SRK_HANDLE, old.drsk, outer, AES_128_CFB_SYMMETRIC, made.inner_key)
    assert new.tpm.loaded_name(SRK_HANDLE, key, probe) == (name, Secret(b"probe"))
    new.tpm.persist(SRK_HANDLE, key, DRSK_HANDLE, OWNER)
    assert new.tpm.read_public(DRSK_HANDLE) == old.drsk
    assert new.tpm.unseal(DRSK_HANDLE, child, auth=Secret(b"pin")) == Secret(b"survives")

    # and onwards from there
    new.drsk, new.policy = old.drsk, old.policy
    again = new.duplicate(old.recovery.public, old.recovery.branch)
    assert matches(opened(new, old.recovery, again), old.drsk)


def test_straight_from_tpm_to_tpm(new_platform):
    old, new = new_platform(), new_platform()
    old.make_drsk()
    made = old.duplicate(new.srk, old.msa.branch, old.msa.approve_parent(new.srk, old.drsk))
    key = new.tpm.import_key(SRK_HANDLE, old.drsk, made.outer, AES_128_CFB_SYMMETRIC, made.inner_key)
    assert new.tpm.loaded_name(SRK_HANDLE, key, None)[0] == name_of(old.drsk)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_blobs_that_are_refused(new_platform, algorithm):
    platform = new_platform(algorithm=algorithm)
    platform.make_drsk()
    made = platform.duplicate(platform.recovery.public, platform.recovery.branch)
    sensitive = opened(platform, platform.recovery, made)
    name, key = name_of(platform.drsk), made.inner_key
    good = wrap_outer(platform.srk, name, wrap_inner(sensitive, name, key.reveal()))
    flipped = good.duplicate[:-1] + bytes([good.duplicate[-1] ^ 1])
    rival = new_platform(algorithm=algorithm)
    other = Algorithm.RSA_2048 if algorithm is Algorithm.ECC_P256 else Algorithm.ECC_P256
    unlike = new_platform(algorithm=other)
    bad = {
        "inner key": (good, Secret(bytes(16))),
        "no inner key": (good, NOTHING),
        "long inner key": (good, Secret(bytes(64))),
        "altered": (OuterWrap(flipped, good.seed), key),
        "for another TPM": (wrap_outer(rival.srk, name, wrap_inner(sensitive, name, key.reveal())), key),
        "for another kind of TPM": (wrap_outer(unlike.srk, name, wrap_inner(sensitive, name, key.reveal())), key),
        "for the recovery key": (made.outer, key),
    }
    for outer, inner_key in bad.values():
        with pytest.raises(BlobRefused):
            platform.tpm.import_key(SRK_HANDLE, platform.drsk, outer, AES_128_CFB_SYMMETRIC, inner_key)
    platform.tpm.import_key(SRK_HANDLE, platform.drsk, good, AES_128_CFB_SYMMETRIC, key)


def test_a_fixed_key_is_not_imported(platform):
    platform.make_drsk()
    made = platform.duplicate(platform.recovery.public, platform.recovery.branch)
    fixed = platform.tpm.create(SRK_HANDLE, signing_template(), auth=NOTHING, data=NOTHING)
    with pytest.raises(BadAttributes):
        platform.tpm.import_key(SRK_HANDLE, fixed.public, made.outer, AES_128_CFB_SYMMETRIC, made.inner_key)
