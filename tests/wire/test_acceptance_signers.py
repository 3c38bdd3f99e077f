"""Packages by the wrong signer, too old or for somebody else: each is refused by its own error (PROTOCOL §5, §6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lms.errors import (
    PackageExpired,
    PackageStale,
    SignerWithdrawn,
    UnsupportedVersion,
    UntrustedSigner,
    WrongDestination,
    WrongRole,
)
from lms.model.keys import Name
from lms.model.packages import Flow
from lms.model.trust import Identity, Role
from lms.wire.certificates import issue
from tests.support.documents import (
    LATER,
    NOW,
    SoftwareSigner,
    make_owner,
    make_platform,
    private_key,
    small_package,
    uuid,
    vault,
)
from tests.support.exchange import trust_list

STRANGER = Name(b"\0\x0b" + bytes(32))


def test_the_untouched_package_is_accepted(desk):
    verified = desk.judge(parent=vault().name, highest_sequence=7)
    assert verified.content == desk.package
    assert verified.approved
    assert verified.age_known
    assert len(verified.certificates) == 2


def test_good_signature_of_another_platform_is_refused(desk):
    with pytest.raises(WrongRole):
        desk.judge(signer=make_platform("other").signer)


def test_package_of_another_platform_is_refused(desk):
    for other in (make_platform("other").id, None):
        with pytest.raises(WrongRole):
            desk.judge(platform_id=other)


def test_direct_flow_shows_its_source_and_takes_any_of_the_owner(desk):
    direct = desk.with_header(flow=Flow.DIRECT)
    assert desk.judge(direct, platform_id=None).approved
    assert desk.judge(direct, platform_id=make_platform("other").id).approved


def test_ca_of_a_stranger_is_refused(desk):
    stranger = make_owner("stranger")
    key = desk.platform.signing_key.private
    signer = SoftwareSigner(key, (stranger.certificate(desk.platform.identity, key),))
    with pytest.raises(UntrustedSigner):
        desk.judge(signer=signer)
    with pytest.raises(UntrustedSigner):
        desk.judge(owner=stranger.owner)


def test_owner_ca_may_not_sign_a_package(desk):
    with pytest.raises(WrongRole):
        desk.judge(signer=desk.world.signer)


@pytest.mark.parametrize("role", [Role.STATION, Role.MIGRATION_AUTHORITY, Role.SIGNER, Role.RESET])
def test_other_roles_may_not_sign_a_package(desk, role):
    with pytest.raises(WrongRole):
        desk.judge(signer=desk.world.signer_of(role, "platform"))


def test_certificate_issued_by_an_end_entity_is_refused(desk):
    signing = desk.platform.signing_key.private
    middle = desk.platform.signer.certificates[0]
    forged = issue(desk.platform.identity, private_key("forged").public_key(), middle, signing, NOW)
    with pytest.raises(UntrustedSigner):
        desk.judge(signer=SoftwareSigner(private_key("forged"), (forged,)))


def test_certificate_of_another_key_beside_a_signature_is_refused(desk):
    signer = desk.platform.signer
    for companion in (
        make_platform("other").signer.certificates[1],  # another platform
        signer.certificates[0],  # no attestation key
        desk.platform.self_issued.certificates[0],  # nobody vouches
        desk.world.owner.ca_certificate,
        b"garbage",
    ):
        with pytest.raises(UntrustedSigner):
            desk.judge(signer=replace(signer, certificates=(signer.certificates[0], companion)))
    assert desk.judge(signer=replace(signer, certificates=signer.certificates[:1])).approved


def test_withdrawn_signer_is_refused_from_its_time_on(desk):
    withdrawn = trust_list(desk.platform.identity)
    with pytest.raises(SignerWithdrawn):
        desk.judge(trust_list=withdrawn)
    with pytest.raises(SignerWithdrawn):
        desk.judge(trust_list=withdrawn, judged_at=LATER)
    assert desk.judge(trust_list=withdrawn, judged_at=NOW - timedelta(seconds=1))
    assert desk.judge(desk.with_header(created=NOW - timedelta(seconds=1)), trust_list=withdrawn)
    assert desk.judge(trust_list=trust_list(Identity(Role.PLATFORM, uuid("other"))))
    assert desk.judge(trust_list=trust_list(Identity(Role.MIGRATION_AUTHORITY, desk.platform.id)))


def test_unapproved_package_is_refused_without_a_known_drsk(desk):
    signer = desk.platform.self_issued
    with pytest.raises(UntrustedSigner):
        desk.judge(signer=signer)
    with pytest.raises(UntrustedSigner):
        desk.judge(signer=signer, known_drsks=frozenset({STRANGER}))
    verified = desk.judge(signer=signer, known_drsks=frozenset({STRANGER, desk.platform.drsk.name}))
    assert not verified.approved


def test_self_issued_certificate_of_another_platform_or_ca_is_refused(desk):
    known = frozenset({desk.platform.drsk.name})
    with pytest.raises(WrongRole):
        desk.judge(signer=make_platform("other").self_issued, known_drsks=known)
    ca = make_owner("stranger").signer
    with pytest.raises(UntrustedSigner):
        desk.judge(signer=ca, known_drsks=known)


def test_another_version_is_refused(desk):
    for version in ("2", "1.0", "", " 1"):
        with pytest.raises(UnsupportedVersion):
            desk.judge(replace(desk.package, version=version))


@pytest.mark.parametrize("flow", [Flow.DIRECT, Flow.AUTHORITY])
def test_expired_package_is_refused_unless_it_is_an_archive(desk, flow):
    expiring = desk.with_header(flow=flow, expires=NOW)
    with pytest.raises(PackageExpired):
        desk.judge(expiring, now=NOW)
    with pytest.raises(PackageExpired):
        desk.judge(expiring, now=LATER)
    assert desk.judge(expiring, now=NOW - timedelta(seconds=1))
    assert desk.judge(desk.with_header(flow=Flow.ARCHIVE, expires=NOW), now=LATER)
    assert desk.judge(desk.with_header(flow=flow), now=LATER)


def test_stale_sequence_is_refused_unless_accepted_by_number(desk):
    with pytest.raises(PackageStale):
        desk.judge(highest_sequence=8)
    with pytest.raises(PackageStale):
        desk.judge(highest_sequence=8, accepted_stale=6)
    assert desk.judge(highest_sequence=8, accepted_stale=7)
    assert desk.judge(highest_sequence=7)
    assert desk.judge(highest_sequence=6)


def test_age_is_unverified_where_nothing_is_known(desk):
    assert not desk.judge().age_known


def test_package_for_somebody_else_is_refused(desk):
    with pytest.raises(WrongDestination):
        desk.judge(parent=desk.platform.srk.name)
    assert desk.judge(parent=desk.world.owner.recovery_key_name)


def test_destination_without_a_blob_is_nobodys(desk):
    (key,) = desk.package.migrating_keys
    with pytest.raises(WrongDestination):
        desk.judge(desk.with_key(blobs=key.blobs[1:]), parent=vault().name)


def test_blob_for_a_destination_that_the_header_does_not_name_is_refused(desk):
    with pytest.raises(WrongDestination):
        desk.judge(desk.with_header(destinations=desk.package.header.destinations[1:]))
    (key,) = desk.package.migrating_keys
    with pytest.raises(WrongDestination):  # an Id, but that of a content key
        desk.judge(desk.with_key(blobs=(replace(key.blobs[0], destination="C0"),)))


def test_small_package_is_accepted(desk):
    assert desk.judge(small_package()).approved
