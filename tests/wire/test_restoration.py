"""What is read of a restore through an MA: annex and approval, each by the right signer, for the right occasion."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lms.errors import (
    ApprovalExpired,
    OwnerMismatch,
    RequestInvalid,
    SignerWithdrawn,
    TrustListConflict,
    UntrustedSigner,
    WrongDocument,
    WrongRole,
)
from lms.model.exchange import ReleasedBlob, ReleasedPackage, RestoreApproval
from lms.model.trust import Identity, Pair, Role, Withdrawal
from lms.wire.certificates import self_issue
from lms.wire.exchange_v1 import RELEASED_PACKAGE, RESTORE_APPROVAL
from lms.wire.restoration import read_annex, read_released_package, read_restore_approval, read_restore_request
from lms.wire.signature import sign
from lms.wire.tls import tls_key
from tests.support.documents import NOW, SoftwareSigner, make_owner, make_package, make_platform, private_key, uuid
from tests.support.exchange import certificates
from tests.support.restoring import (
    AUTHORITY,
    NOT_AFTER,
    annex_to,
    entry_of,
    register,
    restore_of,
    signed_annex,
    signed_list,
    signed_request,
    signed_sheet,
)

WORLD, STRANGER = make_owner(), make_owner("stranger")
OURS, CHIP, OTHER = make_platform(), make_platform("new board"), make_platform("other")
REQUEST = signed_request(OURS, CHIP, at_hand=False)
ASKED = read_restore_request(REQUEST)
LIST = register(OURS)
MA = Identity(Role.MIGRATION_AUTHORITY, AUTHORITY)


def annex(signer=None, trust_list=LIST, **changes):
    return read_annex(signed_annex(annex_to(REQUEST, OURS, **changes), signer), ASKED, WORLD.owner, trust_list)


def test_an_annex_by_an_authority_of_the_owner_is_read():
    assert annex().entries == (entry_of(OURS),)
    assert annex(trust_list=None).package_id == annex().package_id


def test_an_authority_of_several_owners_is_known_by_its_key():
    """Its certificate may be another owner's: the trust list names the key and the MAID."""
    signer = STRANGER.signer_of(Role.MIGRATION_AUTHORITY, "shared")
    with pytest.raises(UntrustedSigner):
        annex(signer)
    key = tls_key(private_key("shared").public_key())
    (authority,) = LIST.authorities
    shared = replace(LIST, authorities=(replace(authority, tls_key=key),))
    assert annex(signer, shared).sequence == 7
    with pytest.raises(SignerWithdrawn):
        annex(signer, replace(shared, withdrawn=(Withdrawal(MA, NOW),)))
    with pytest.raises(WrongRole, match="another destination"):
        annex(signer, replace(shared, authorities=(replace(authority, ma_id=uuid("third"), tls_key=key),)))


@pytest.mark.parametrize("role", [Role.PLATFORM, Role.STATION, Role.SIGNER])
def test_only_an_authority_signs_an_annex(role):
    with pytest.raises(WrongRole):
        annex(WORLD.signer_of(role, "ma"))


def test_a_stranger_signs_no_annex():
    key = private_key("stranger")
    for signer in (STRANGER.signer_of(MA.role, "ma"), SoftwareSigner(key, (self_issue(MA, key, NOW),))):
        with pytest.raises(UntrustedSigner):
            annex(signer)


def test_an_authority_speaks_for_its_own_destination_only():
    with pytest.raises(WrongRole, match="another destination"):
        annex(WORLD.signer_of(MA.role, "second"))
    own = entry_of(OURS, str(uuid("second")))
    assert annex(WORLD.signer_of(MA.role, "second"), entries=(own,)).entries == (own,)


def test_a_withdrawn_authority_cannot_date_its_annex_back():
    with pytest.raises(SignerWithdrawn):
        annex(trust_list=replace(LIST, withdrawn=(Withdrawal(MA, NOW),)), stored=NOW - timedelta(days=9))


@pytest.mark.parametrize("field", ["request_id", "request_digest"])
def test_an_annex_for_another_request_is_refused(field):
    with pytest.raises(RequestInvalid, match="another request"):
        annex(**{field: bytes(32)})


def test_an_annex_about_another_package_than_the_request_is_refused():
    request = signed_request(OURS, CHIP)
    asked = read_restore_request(request)
    good = annex_to(request, OURS)
    assert read_annex(signed_annex(good), asked, WORLD.owner, LIST).sequence == 7
    for changed in (replace(good, package_id=uuid("another")), replace(good, sequence=8)):
        with pytest.raises(RequestInvalid, match="another package"):
            read_annex(signed_annex(changed), asked, WORLD.owner, LIST)


def test_one_entry_twice_is_refused():
    with pytest.raises(RequestInvalid, match="twice"):
        annex(entries=(entry_of(OURS), entry_of(OURS)))
    with pytest.raises(RequestInvalid, match="twice"):
        read_restore_request(signed_request(OURS, CHIP, entries=(entry_of(OURS), entry_of(OURS))))


def test_a_request_without_a_tpm_is_refused():
    base = replace(restore_of(OURS, CHIP).base, ek=None)
    with pytest.raises(WrongDocument):
        read_restore_request(signed_request(OURS, CHIP, base=base))


# Releases


def released(signer=None, trust_list=LIST, ma_id=AUTHORITY):
    outer = OURS.blob(OURS.drsk, "D0", CHIP.srk.public).outer
    value = ReleasedPackage(OURS.signed(make_package(OURS)), (ReleasedBlob(OURS.drsk.name, outer),), approval())
    signer = signer or WORLD.signer_of(MA.role, "ma")
    return read_released_package(sign(RELEASED_PACKAGE.write(value), signer), ma_id, WORLD.owner, trust_list)


def test_a_release_by_the_authority_that_was_asked_is_read():
    assert released().approval
    assert released(WORLD.signer_of(MA.role, "second"), ma_id=uuid("second"))


def test_a_release_by_another_authority_is_refused():
    with pytest.raises(WrongRole, match="asked of"):
        released(WORLD.signer_of(MA.role, "second"))
    with pytest.raises(WrongRole):
        released(WORLD.signer_of(Role.PLATFORM, "ma"))
    with pytest.raises(UntrustedSigner):
        released(STRANGER.signer_of(MA.role, "ma"))
    with pytest.raises(SignerWithdrawn):
        released(trust_list=replace(LIST, withdrawn=(Withdrawal(MA, NOT_AFTER),)))


# Approvals


def approval(trust_list=LIST, signer=None, sheet=None, **changes) -> bytes:
    value = RestoreApproval(
        request_id=ASKED.request_id,
        package_id=uuid("package"),
        not_before=NOW,
        not_after=NOT_AFTER,
        entries=(entry_of(OURS),),
        certificates=certificates(),
        trust_list=trust_list if isinstance(trust_list, bytes) else signed_list(trust_list),
        sheet=sheet or signed_sheet(OURS),
        supersedes=(),
        stolen=False,
    )
    return sign(RESTORE_APPROVAL.write(replace(value, **changes)), signer or WORLD.signer)


def read(document: bytes, known=None, now=NOW):
    return read_restore_approval(document, WORLD.owner, known, now)


@pytest.mark.parametrize("signer", [WORLD.signer, WORLD.signer_of(Role.SIGNER, "signer")])
def test_an_approval_by_the_owner_or_a_signer_is_read(signer):
    assert read(approval(signer=signer)).request_id == ASKED.request_id


@pytest.mark.parametrize("role", [Role.PLATFORM, Role.STATION, Role.MIGRATION_AUTHORITY, Role.RESET])
def test_nobody_else_approves(role):
    with pytest.raises(WrongRole):
        read(approval(signer=WORLD.signer_of(role, "signer")))
    with pytest.raises(WrongRole):
        read(approval(sheet=signed_sheet(OURS, signer=WORLD.signer_of(role, "signer"))))


def test_a_stranger_approves_nothing():
    with pytest.raises(UntrustedSigner):
        read(approval(signer=STRANGER.signer))


def test_an_approval_holds_in_its_time_only():
    second = timedelta(seconds=1)
    for good in (NOW, NOT_AFTER - second, None):
        assert read(approval(), now=good)
    for bad in (NOW - second, NOT_AFTER, NOT_AFTER + timedelta(days=1)):
        with pytest.raises(ApprovalExpired):
            read(approval(), now=bad)


def test_a_withdrawn_signer_cannot_date_its_approval_back():
    signer = WORLD.signer_of(Role.SIGNER, "signer")
    withdrawal = Withdrawal(Identity(Role.SIGNER, uuid("signer")), NOW + timedelta(hours=1))
    known = signed_list(replace(LIST, number=4, issued=NOW + timedelta(hours=1), withdrawn=(withdrawal,)))
    assert read(approval(signer=signer), known)
    for now in (NOW + timedelta(hours=1), None):
        with pytest.raises(SignerWithdrawn):
            read(approval(signer=signer), known, now)


def test_an_older_trust_list_does_not_bring_a_tpm_back():
    both = replace(LIST.platforms[0], pairs=(*LIST.platforms[0].pairs, Pair(CHIP.ek.name, CHIP.srk.name)))
    old = approval(LIST.with_platform(both))
    other_machine = register(OTHER).platforms[0]
    grown = replace(LIST.with_platform(both).with_platform(other_machine), number=4)
    assert read(old, signed_list(grown)).request_id == ASKED.request_id
    with pytest.raises(ApprovalExpired, match="taken back"):
        read(old, signed_list(replace(LIST, number=4)))


def test_other_bytes_under_a_known_number_are_a_conflict():
    first = signed_list(LIST)
    assert read(approval(first), first)
    with pytest.raises(TrustListConflict):
        read(approval(signed_list(register(OTHER))), first)


def test_the_sheet_of_another_owner_is_refused():
    with pytest.raises(OwnerMismatch):
        read(approval(sheet=signed_sheet(make_platform(owner="stranger"), signer=WORLD.signer)))


def test_a_grant_is_no_approval():
    with pytest.raises(WrongDocument):
        read(signed_list(LIST))
