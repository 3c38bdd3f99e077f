"""Approvals and birth evidence for something else are refused (PROTOCOL §1, §2)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from lms.errors import ApprovalInvalid, CertificationInvalid
from lms.model.packages import DestinationKind
from lms.model.policies import POLICY_REF
from lms.wire.acceptance import accept_package
from lms.wire.certificates import issue
from lms.wire.tpm.policy import authorize, duplication_select
from lms.wire.tpm.public import SIGNING_ATTRIBUTES, approval_public, name_of
from tests.support.documents import (
    NOW,
    approval,
    make_owner,
    make_package,
    make_platform,
    private_key,
    software_key,
    vault,
)

LINK = private_key("a further approval key")


def test_the_untouched_approval_is_accepted(desk):
    good = desk.world.approve(duplication_select(vault().name))
    assert desk.judge(desk.with_approvals(good))


def test_blob_that_nobody_approved_is_refused(desk):
    with pytest.raises(ApprovalInvalid):
        desk.judge(desk.with_approvals())


def test_offline_branch_needs_no_approval_but_takes_no_forged_one(desk):
    own = desk.world.owner
    approved = desk.world.approve(duplication_select(own.recovery_key_name))
    assert desk.judge(desk.with_approvals(approved, ref="D1"))
    with pytest.raises(ApprovalInvalid):
        desk.judge(desk.with_approvals(replace(approved, signature=bytes(4)), ref="D1"))


def test_token_without_an_offline_branch_needs_an_approval(desk):
    platform = replace(desk.platform, offline=False)
    package = make_package(platform)
    document = platform.signed(package)
    with pytest.raises(ApprovalInvalid):
        accept_package(document, desk.trust)


def test_approval_for_another_destination_is_refused(desk):
    for parent in (make_platform("other").srk.name, desk.world.owner.recovery_key_name):
        with pytest.raises(ApprovalInvalid):
            desk.judge(desk.with_approvals(desk.world.approve(duplication_select(parent))))


def test_approval_of_one_key_is_no_approval_for_a_vault(desk):
    for key in (desk.platform.drsk.name, make_platform("other").drsk.name):
        with pytest.raises(ApprovalInvalid):
            desk.judge(desk.with_approvals(desk.world.approve(duplication_select(vault().name, key))))


def test_platform_is_approved_for_the_very_key(desk):
    first, *others = desk.package.header.destinations
    header = replace(
        desk.package.header, destinations=(replace(first, kind=DestinationKind.PLATFORM, identity="x"), *others)
    )

    def judge(policy):
        return desk.judge(replace(desk.with_approvals(desk.world.approve(policy)), header=header))

    assert judge(duplication_select(vault().name, desk.platform.drsk.name))
    for key in (make_platform("other").drsk.name, None):
        with pytest.raises(ApprovalInvalid):
            judge(duplication_select(vault().name, key))


def test_approval_by_the_root_of_a_stranger_is_refused(desk):
    stranger = make_owner("stranger").approve(duplication_select(vault().name))
    with pytest.raises(ApprovalInvalid):
        desk.judge(desk.with_approvals(stranger))
    with pytest.raises(ApprovalInvalid):  # under the name of the right one
        desk.judge(desk.with_approvals(replace(stranger, public=desk.world.owner.approval_root)))


def test_approval_under_another_policy_ref_is_refused(desk):
    for ref in (POLICY_REF + b"0", b"localmigration:duplicate:2", b"\0"):
        with pytest.raises(ApprovalInvalid):
            desk.judge(desk.with_approvals(desk.world.approve(duplication_select(vault().name), ref)))


def test_approval_by_no_public_area_is_refused(desk):
    good = desk.world.approve(duplication_select(vault().name))
    for public in (b"\0", bytes(40)):
        with pytest.raises(ApprovalInvalid):
            desk.judge(desk.with_approvals(replace(good, public=public)))


def test_chain_of_approvals_is_followed_to_the_root(desk):
    link = approval_public(LINK.public_key())
    inner = approval(LINK, link, duplication_select(vault().name))
    outer = desk.world.approve(authorize(name_of(link)))
    assert desk.judge(desk.with_approvals(inner, outer))
    for broken in (
        (inner,),  # the link alone is a stranger
        (outer,),
        (outer, inner),
        (inner, desk.world.approve(duplication_select(vault().name))),
        (inner, desk.world.approve(authorize(desk.world.owner.recovery_key_name))),
        (inner, inner),
    ):
        with pytest.raises(ApprovalInvalid):
            desk.judge(desk.with_approvals(*broken))


def test_the_untouched_birth_evidence_is_accepted(desk):
    assert desk.judge(desk.with_key(certification=desk.platform.birth(desk.platform.drsk)))
    assert desk.judge(desk.with_key(certification=None))


def test_birth_evidence_by_an_earlier_attestation_key_is_accepted(desk):
    earlier = make_platform("before the restore").ak
    assert desk.judge(desk.with_key(certification=desk.platform.birth(desk.platform.drsk, earlier)))


def test_birth_evidence_of_another_key_is_refused(desk):
    other = desk.platform.birth(make_platform("other").drsk)
    with pytest.raises(CertificationInvalid):
        desk.judge(desk.with_key(certification=other))


def test_birth_evidence_by_another_attestation_key_is_refused(desk):
    good = desk.platform.birth(desk.platform.drsk)
    forged = desk.platform.birth(desk.platform.drsk, make_platform("other").ak)
    with pytest.raises(CertificationInvalid):
        desk.judge(desk.with_key(certification=replace(forged, certificate=good.certificate)))


def test_birth_evidence_of_another_platform_is_refused(desk):
    other = make_platform("other")
    with pytest.raises(CertificationInvalid):
        desk.judge(desk.with_key(certification=other.birth(desk.platform.drsk)))


def test_birth_evidence_under_a_foreign_certificate_is_refused(desk):
    good, ak = desk.platform.birth(desk.platform.drsk), desk.platform.ak.private
    stranger = make_owner("stranger").certificate(desk.platform.identity, ak, attestation=True)
    curve = ec.generate_private_key(ec.SECP384R1()).public_key()
    p384 = issue(
        desk.platform.identity, curve, desk.world.owner.ca_certificate, desk.world.keys.ca, NOW, attestation=True
    )
    for certificate in (stranger, b"garbage", p384, desk.world.owner.ca_certificate):
        with pytest.raises(CertificationInvalid):
            desk.judge(desk.with_key(certification=replace(good, certificate=certificate)))


def test_birth_evidence_with_other_creation_data_is_refused(desk):
    good = desk.platform.birth(desk.platform.drsk)
    other = make_platform("other").birth(desk.platform.drsk).creation_data
    for data in (other, b"\0", good.creation_data + b"\0"):
        with pytest.raises(CertificationInvalid):
            desk.judge(desk.with_key(certification=replace(good, creation_data=data)))


def test_certification_by_the_unrestricted_signing_key_is_refused_under_the_key_of_the_ak(desk):
    signing = software_key("platform signing", SIGNING_ATTRIBUTES)
    forged = desk.platform.birth(desk.platform.drsk, replace(desk.platform.ak, private=signing.private))
    genuine = desk.platform.birth(desk.platform.drsk).certificate
    with pytest.raises(CertificationInvalid):
        desk.judge(desk.with_key(certification=replace(forged, certificate=genuine)))
