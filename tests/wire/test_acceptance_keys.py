"""Keys that are not what they are called: Names, parents, attributes, policies (PROTOCOL §1, §2)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.errors import BadAttributes, MalformedStructure, NameMismatch, PolicyMismatch, SchemaViolation, UntrustedSigner
from lms.model.keys import KeyType, Name
from lms.model.policies import Branch, BranchKind, DuplicationPolicy
from lms.wire.tpm.foreign import foreign_name
from lms.wire.tpm.policy import ADOPTED_OWNER_POLICY, MK_POLICY, duplication_policy_digest
from lms.wire.tpm.public import DRSK_ATTRIBUTES, SIGNING_ATTRIBUTES, Attributes, read_public
from tests.support.documents import child_key, foreign_public, make_owner, make_platform, sealed_public, software_key

STRANGER = Name(b"\0\x0b" + bytes(32))
MK_ATTRIBUTES = Attributes.SIGN | Attributes.USER_WITH_AUTH


def as_key(desk, key, **changes):
    """The package with another migrating key under its true Name; what hung below the DRSK is gone."""
    package = desk.with_key(key_id=key.name, public=key.public, certification=None, passwords=(), **changes)
    return replace(package, child_keys=(), content_keys=())


def as_mk(desk, key, **changes):
    return as_key(desk, key, **{"type": KeyType.MK, "policy": None, **changes})


def test_key_id_of_another_key_is_refused(desk):
    with pytest.raises(NameMismatch):
        desk.judge(desk.with_key(key_id=STRANGER))
    with pytest.raises(NameMismatch):
        desk.judge(desk.with_key(public=make_platform("other").drsk.public))


def test_child_key_id_of_another_key_is_refused(desk):
    with pytest.raises(NameMismatch):
        desk.judge(desk.with_child(key_id=STRANGER))
    with pytest.raises(NameMismatch):
        desk.judge(desk.with_child(public=foreign_public(0, "other")))


def test_child_below_a_stranger_is_refused(desk):
    with pytest.raises(NameMismatch):
        desk.judge(desk.with_child(parent=STRANGER))
    grandchild = child_key(desk.platform, "grandchild", parent=desk.package.child_keys[0].key_id)
    assert desk.judge(replace(desk.package, child_keys=(grandchild, *desk.package.child_keys)))


def test_children_that_are_each_others_parents_are_refused(desk):
    one, two = child_key(desk.platform, "one"), child_key(desk.platform, "two")
    ring = (replace(one, parent=two.key_id), replace(two, parent=one.key_id))
    with pytest.raises(NameMismatch):
        desk.judge(replace(desk.package, child_keys=ring))
    with pytest.raises(NameMismatch):
        desk.judge(replace(desk.package, child_keys=(replace(one, parent=one.key_id),)))


def test_content_key_below_a_stranger_is_refused(desk):
    (content_key,) = desk.package.content_keys
    with pytest.raises(NameMismatch):
        desk.judge(replace(desk.package, content_keys=(replace(content_key, parent=STRANGER),)))


def test_item_under_a_missing_content_key_is_refused(desk):
    (item,) = desk.package.migrating_keys[0].passwords
    for name in ("C1", "D0"):
        with pytest.raises(NameMismatch):
            desk.judge(desk.with_key(passwords=(replace(item, content_key=name),)))
        with pytest.raises(NameMismatch):
            desk.judge(desk.with_child(data=(replace(item, content_key=name),)))


@pytest.mark.parametrize(
    "attributes",
    [
        DRSK_ATTRIBUTES | Attributes.ENCRYPTED_DUPLICATION,
        DRSK_ATTRIBUTES | Attributes.FIXED_PARENT,
        DRSK_ATTRIBUTES | Attributes.FIXED_TPM | Attributes.FIXED_PARENT,
        DRSK_ATTRIBUTES | Attributes.ADMIN_WITH_POLICY,
        DRSK_ATTRIBUTES & ~Attributes.NO_DA,
        DRSK_ATTRIBUTES & ~Attributes.SENSITIVE_DATA_ORIGIN,
    ],
)
def test_storage_key_with_other_attributes_than_a_drsk_is_refused(desk, attributes):
    key = software_key("bad", attributes, policy=duplication_policy_digest(desk.platform.policy))
    with pytest.raises(BadAttributes):
        desk.judge(as_key(desk, key))


@pytest.mark.parametrize("bit", [Attributes.FIXED_TPM, Attributes.FIXED_PARENT, Attributes.ENCRYPTED_DUPLICATION])
def test_signing_key_that_cannot_migrate_is_refused(desk, bit):
    def key(attributes):
        parameters = software_key("mk", SIGNING_ATTRIBUTES)
        return software_key("mk", attributes, replace(_parameters(parameters), aes_bits=None), policy=MK_POLICY)

    assert desk.judge(as_mk(desk, key(MK_ATTRIBUTES)))
    with pytest.raises(BadAttributes):
        desk.judge(as_mk(desk, key(MK_ATTRIBUTES | bit)))


def _parameters(key):
    return read_public(key.public).parameters


@pytest.mark.parametrize("bits", [Attributes.FIXED_TPM, 0b10011])
def test_child_fixed_to_its_tpm_is_refused(desk, bits):
    def child(attributes):
        made = child_key(desk.platform)
        public = foreign_public(attributes, "x")
        return replace(desk.package, child_keys=(replace(made, public=public, key_id=foreign_name(public)),))

    assert desk.judge(child(Attributes.NO_DA | Attributes.FIXED_PARENT))
    with pytest.raises(BadAttributes):
        desk.judge(child(int(Attributes.NO_DA) | int(bits)))


@pytest.mark.parametrize(
    "attributes",
    [0, Attributes.USER_WITH_AUTH, Attributes.FIXED_TPM | Attributes.NO_DA, int(Attributes.NO_DA) | 1 << 19, 1 << 31],
)
def test_content_key_with_other_attributes_is_refused(desk, attributes):
    (content_key,) = desk.package.content_keys

    def package(value):
        return replace(desk.package, content_keys=(replace(content_key, public=sealed_public(value)),))

    assert desk.judge(package(Attributes.NO_DA))
    assert desk.judge(package(Attributes.NO_DA | Attributes.USER_WITH_AUTH))
    with pytest.raises(BadAttributes):
        desk.judge(package(attributes))


def test_public_area_that_is_none_is_refused(desk):
    for public in (b"\0", b"\0\x08" + bytes(8), desk.platform.drsk.public + b"\0"):
        with pytest.raises(MalformedStructure):
            desk.judge(desk.with_key(public=public))
    for public in (b"\0", b"\0\x04\0\x25\0\x0b", b"\0\x08" + bytes(8)):
        with pytest.raises(MalformedStructure):
            desk.judge(desk.with_child(public=public))


def test_branches_that_do_not_give_the_policy_are_refused(desk):
    stranger = make_owner("stranger").owner
    own = desk.world.owner
    for policy in (
        DuplicationPolicy.of((own.approval_root_name,)),
        DuplicationPolicy.of((stranger.approval_root_name,), (own.recovery_key_name,)),
        DuplicationPolicy.of((own.approval_root_name, stranger.approval_root_name), (own.recovery_key_name,)),
        DuplicationPolicy.of((own.approval_root_name,), (own.recovery_key_name, stranger.recovery_key_name)),
        None,
    ):
        with pytest.raises(PolicyMismatch):
            desk.judge(desk.with_key(policy=policy))


def test_key_with_a_preset_or_no_policy_is_no_cmk(desk):
    for policy in (MK_POLICY, ADOPTED_OWNER_POLICY, b"", bytes(32)):
        key = software_key("preset", DRSK_ATTRIBUTES, policy=policy)
        with pytest.raises(PolicyMismatch):
            desk.judge(as_key(desk, key))


def test_type_that_does_not_follow_from_the_policy_is_refused(desk):
    with pytest.raises(PolicyMismatch):
        desk.judge(desk.with_key(type=KeyType.MK))
    key = software_key("preset", DRSK_ATTRIBUTES, policy=MK_POLICY)
    assert desk.judge(as_mk(desk, key))
    with pytest.raises(PolicyMismatch):
        desk.judge(as_mk(desk, key, type=KeyType.CMK))
    with pytest.raises(SchemaViolation):
        desk.judge(as_mk(desk, key, type=KeyType.NMK))


def test_unsorted_or_doubled_branches_are_refused():
    one, two = (Branch(BranchKind.APPROVAL, Name(b"\0\x0b" + bytes((n,)) * 32)) for n in (1, 2))
    off = Branch(BranchKind.OFFLINE, two.name)
    for branches in ((), (off,), (two, one), (one, one), (off, one), (one,) * 5, (one, off, off, off, off)):
        with pytest.raises(ValueError, match="cannot build a policy"):
            DuplicationPolicy(branches)
    assert DuplicationPolicy((one, two, off)) == DuplicationPolicy.of((two.name, one.name), (two.name,))


def test_a_policy_with_a_strangers_branch_is_refused(desk):
    own, stranger = desk.world.owner, make_owner("stranger").owner
    roots, offline = (own.approval_root_name,), (own.recovery_key_name,)
    for policy in (
        DuplicationPolicy.of((*roots, stranger.approval_root_name), offline),
        DuplicationPolicy.of(roots, (*offline, stranger.recovery_key_name)),
        DuplicationPolicy.of((stranger.approval_root_name,), offline),
    ):
        key = software_key("branches", DRSK_ATTRIBUTES, policy=duplication_policy_digest(policy))
        with pytest.raises(PolicyMismatch, match="not this owner's"):
            desk.judge(as_key(desk, key, policy=policy))


def test_an_unapproved_package_with_a_key_besides_the_known_one_is_refused(desk):
    (known,) = desk.package.migrating_keys
    smuggled = software_key("smuggled", DRSK_ATTRIBUTES, policy=duplication_policy_digest(known.policy))
    other = replace(known, key_id=smuggled.name, public=smuggled.public, certification=None, passwords=())
    signer, names = desk.platform.self_issued, frozenset({known.key_id})
    bare = replace(known, certification=None)
    for keys in ((other, bare), (bare, other)):
        with pytest.raises(UntrustedSigner):
            desk.judge(replace(desk.package, migrating_keys=keys), signer=signer, known_drsks=names)
    assert desk.judge(replace(desk.package, migrating_keys=(bare,)), signer=signer, known_drsks=names)
