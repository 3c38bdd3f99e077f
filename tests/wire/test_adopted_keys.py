"""Documents about a key with the preset policy `owner`: what no TPM asks of it is asked here (PROTOCOL §2)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.errors import (
    ApprovalInvalid,
    BadAttributes,
    CertificationInvalid,
    FingerprintDiffers,
    OwnerMismatch,
    PolicyMismatch,
    SchemaViolation,
)
from lms.model.keys import KeyType, digits
from lms.model.packages import DestinationKind
from lms.model.policies import PRESET_OWNER, Branch, BranchKind, DuplicationPolicy
from lms.wire.enrolment import read_platform_enrolment
from lms.wire.exchange_v1 import ENROLMENT_REQUEST
from lms.wire.package_v1 import read_package, write_package
from lms.wire.record import read_record, write_record
from lms.wire.sheet import accept_sheet, confirm_sheet
from lms.wire.signature import sign
from lms.wire.token_v1 import read_sheet, write_sheet
from lms.wire.tpm.policy import ADOPTED_OWNER_POLICY, duplication_policy_digest, duplication_select
from lms.wire.tpm.public import DRSK_ATTRIBUTES, Attributes
from tests.support.documents import NOW, adopted_package, make_owner, make_platform, software_key, vault
from tests.support.exchange import platform_request
from tests.support.restoring import signed_sheet

OURS = make_platform()
OWNER = OURS.world.owner
STRANGER = make_owner("stranger")
PACKAGE = adopted_package()
(KEY,) = PACKAGE.migrating_keys
FOR_VAULT, FOR_TOKEN = KEY.blobs


def with_key(**changes):
    return replace(PACKAGE, migrating_keys=(replace(KEY, **changes),))


def approved_by(*approvals):
    return with_key(blobs=(replace(FOR_VAULT, approvals=approvals), FOR_TOKEN))


def destined(kind, parent=None):
    """The package with its first destination of another kind, or below another key."""
    first, *others = PACKAGE.header.destinations
    first = replace(first, kind=kind, parent_name=parent or first.parent_name)
    return replace(PACKAGE, header=replace(PACKAGE.header, destinations=(first, *others)))


def test_the_preset_is_one_branch_without_a_name():
    assert duplication_policy_digest(PRESET_OWNER) == ADOPTED_OWNER_POLICY
    assert (PRESET_OWNER.approval_roots, PRESET_OWNER.offline_keys) == ((), ())
    assert PRESET_OWNER.key_type is KeyType.MK
    assert read_record(DuplicationPolicy, write_record(PRESET_OWNER)) == PRESET_OWNER
    preset, root = PRESET_OWNER.branches[0], Branch(BranchKind.APPROVAL, OWNER.approval_root_name)
    for branches in ((preset, preset), (preset, root), (root, preset)):
        with pytest.raises(ValueError, match="cannot build a policy"):
            DuplicationPolicy(branches)
    for kind, name in ((BranchKind.OWNER, root.name), (BranchKind.APPROVAL, None), (BranchKind.OFFLINE, None)):
        with pytest.raises(ValueError, match="cannot build a branch"):
            Branch(kind, name)


def test_what_is_written_is_read_and_nothing_else(desk):
    document = write_package(PACKAGE)
    assert document.count(b'<Policy><Branch Kind="owner"></Branch></Policy>') == 1
    assert read_package(OURS.signed(PACKAGE)).content == PACKAGE
    named = f'<Branch Kind="owner" Name="{OWNER.approval_root_name}">'.encode()
    nameless = b'<Branch Kind="approval">'
    for other in (named, nameless):
        with pytest.raises(SchemaViolation):
            read_package(sign(document.replace(b'<Branch Kind="owner">', other), OURS.signer))


def test_its_package_is_accepted(desk):
    assert desk.judge(PACKAGE).content == PACKAGE
    assert desk.judge(PACKAGE, parent=OWNER.recovery_key_name)
    assert desk.judge(PACKAGE, parent=vault().name)


def test_a_vault_needs_the_owners_approval_though_no_tpm_asks(desk):
    good = OURS.world.approve(duplication_select(vault().name))
    assert desk.judge(approved_by(good))
    wrong = (
        (),
        (STRANGER.approve(duplication_select(vault().name)),),
        (OURS.world.approve(duplication_select(OURS.srk.name)),),
        (replace(good, signature=OURS.world.approve(bytes(32)).signature),),
    )
    for approvals in wrong:
        with pytest.raises(ApprovalInvalid):
            desk.judge(approved_by(*approvals))


def test_another_owners_token_gets_nothing(desk):
    stranger = STRANGER.owner.recovery_key_name
    with pytest.raises(ApprovalInvalid):
        desk.judge(destined(DestinationKind.RECOVERY_TOKEN, stranger))


def test_it_goes_to_no_peer_whoever_approves(desk):
    peer = make_platform("peer").drsk.name
    for parent in (peer, vault().name):
        for included in (None, KEY.key_id):
            package = destined(DestinationKind.PLATFORM, parent)
            approval = OURS.world.approve(duplication_select(parent, included))
            blobs = (replace(FOR_VAULT, approvals=(approval,)), FOR_TOKEN)
            package = replace(package, migrating_keys=(replace(KEY, blobs=blobs),))
            with pytest.raises(ApprovalInvalid, match="no peer"):
                desk.judge(package)


def test_it_has_no_birth_evidence(desk):
    with pytest.raises(CertificationInvalid, match="adopted"):
        desk.judge(with_key(certification=OURS.birth(OURS.adopted)))
    with pytest.raises(CertificationInvalid, match="adopted"):
        read_platform_enrolment(asking(OURS.adopted, OURS.birth(OURS.adopted)))
    assert not read_platform_enrolment(asking(OURS.adopted)).born
    assert read_platform_enrolment(asking(OURS.drsk, OURS.birth(OURS.drsk))).born


def asking(drsk, birth=None):
    """The platform's request with another DRSK."""
    request = platform_request()
    evidence = replace(request.platform.drsk, public=drsk.public, creation_data=None, attestation=None)
    if birth is not None:
        evidence = replace(evidence, creation_data=birth.creation_data, attestation=birth.attestation)
    changed = replace(request, platform=replace(request.platform, drsk=evidence))
    return sign(ENROLMENT_REQUEST.write(changed), OURS.self_issued)


BARE = DRSK_ATTRIBUTES & ~Attributes.NO_DA


@pytest.mark.parametrize("attributes", [BARE, DRSK_ATTRIBUTES])
def test_it_may_have_noda(desk, attributes):
    key = software_key("taken", attributes, policy=ADOPTED_OWNER_POLICY)
    assert desk.judge(with_key(key_id=key.name, public=key.public))


@pytest.mark.parametrize(
    "attributes",
    [
        BARE | Attributes.ENCRYPTED_DUPLICATION,
        BARE | Attributes.FIXED_PARENT,
        BARE & ~Attributes.SENSITIVE_DATA_ORIGIN,
        BARE & ~Attributes.USER_WITH_AUTH,
    ],
)
def test_other_attributes_are_refused(desk, attributes):
    key = software_key("odd", attributes, policy=ADOPTED_OWNER_POLICY)
    with pytest.raises(BadAttributes):
        desk.judge(with_key(key_id=key.name, public=key.public))
    own = software_key("own", BARE, policy=duplication_policy_digest(OURS.policy))
    with pytest.raises(BadAttributes):  # noDA is missing from adopted keys alone
        desk.judge(with_key(key_id=own.name, public=own.public, policy=OURS.policy, type=KeyType.CMK))


def test_it_is_said_to_be_what_it_is(desk):
    for changes in ({"type": KeyType.CMK}, {"policy": None}, {"policy": OURS.policy, "type": KeyType.CMK}):
        with pytest.raises(PolicyMismatch):
            desk.judge(with_key(**changes))
    own = {"key_id": OURS.drsk.name, "public": OURS.drsk.public}
    with pytest.raises(PolicyMismatch):
        desk.judge(with_key(**own))


# A sheet


def sheet_for(world, signer=None, **changes):
    sheet = replace(read_sheet(signed_sheet(OURS))[0], policy=PRESET_OWNER, drsk=OURS.adopted.public)
    return sign(write_sheet(replace(sheet, owner_document=world.owner.document, **changes)), signer or world.signer)


def test_its_sheet_is_taken_under_a_confirmed_owner():
    document = sheet_for(OURS.world)
    assert accept_sheet(document, OWNER, None, NOW).policy == PRESET_OWNER
    assert confirm_sheet(document, digits(OWNER.fingerprint), NOW)[1] == OWNER


def test_its_policy_vouches_for_no_owner():
    theirs = sheet_for(STRANGER)  # the same key: its policy names nobody
    with pytest.raises(OwnerMismatch):
        accept_sheet(theirs, OWNER, None, NOW)
    with pytest.raises(FingerprintDiffers):
        confirm_sheet(theirs, digits(OWNER.fingerprint), NOW)


def test_a_sheet_does_not_take_it_for_a_key_of_ours():
    for changes in ({"policy": OURS.policy}, {"drsk": OURS.drsk.public}):
        with pytest.raises(PolicyMismatch):
            accept_sheet(sheet_for(OURS.world, **changes), OWNER, None, NOW)
    own = software_key("own", BARE, policy=duplication_policy_digest(OURS.policy))
    with pytest.raises(BadAttributes):
        accept_sheet(sheet_for(OURS.world, drsk=own.public, policy=OURS.policy), OWNER, None, NOW)
