"""What an approver approves, and what not: the register, the entries, the inner keys (PROTOCOL §3, §5, §6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lms.errors import (
    BadAttributes,
    BadRequest,
    DigitsDiffer,
    EkUntrusted,
    InnerKeyMismatch,
    NotEnrolled,
    OwnerMismatch,
    PackageStale,
    RegisterStale,
    RequestInvalid,
    SignerWithdrawn,
    TakeOver,
    TrustListConflict,
    UntrustedSigner,
    WrongRole,
)
from lms.model.packages import InnerKey
from lms.model.secret import Secret
from lms.model.trust import Identity, Pair, Role, Withdrawal
from lms.service.approving import approve_restore
from lms.wire.content import decrypt
from lms.wire.exchange_v1 import read_bundle
from lms.wire.restoration import read_restore_approval, restore_id
from lms.wire.signature import read_certificate
from lms.wire.token_v1 import read_sheet
from lms.wire.tpm.credential import make_credential, open_credential
from lms.wire.tpm.inner_key import inner_plaintext
from lms.wire.tpm.public import RECOVERY_ATTRIBUTES, SRK_ATTRIBUTES, Attributes
from lms.wire.trust_list import read_trust_list
from tests.support.documents import NOW, make_owner, make_platform, software_key, uuid
from tests.support.exchange import attested
from tests.support.restoring import (
    AUTHORITY,
    NOT_AFTER,
    annex_to,
    entry_of,
    order_for,
    register,
    restore_of,
    signed_annex,
    signed_list,
    signed_request,
    signed_sheet,
)

OURS, CHIP, OTHER = make_platform(), make_platform("new board"), make_platform("other")
WORLD = OURS.world
REQUEST = signed_request(OURS, CHIP)
BARE = signed_request(OURS, CHIP, at_hand=False)
OLD_PAIR, NEW_PAIR = Pair(OURS.ek.name, OURS.srk.name), Pair(CHIP.ek.name, CHIP.srk.name)
REQUEST_ID = restore_of(OURS, CHIP).base.request_id
FIRST, SECOND = b"\1" * 32, b"\2" * 32


def answered(request=REQUEST, **changes):
    return approve_restore(order_for(request, OURS, **changes), WORLD.owner, WORLD.keys)


def approved(request=REQUEST, **changes):
    return read_restore_approval(answered(request, **changes).approval, WORLD.owner, None, NOW)


def listed(answer):
    return read_trust_list(answer.trust_list, WORLD.owner)


def with_inner(entry, plaintext=None, recipient=None):
    """The entry with another inner key, encrypted to the owner's recovery key as anybody can."""
    owner = WORLD.owner
    credential = make_credential(owner.recovery_key, plaintext, owner.recovery_key_name)
    return replace(entry, inner_keys=(InnerKey(recipient or owner.recovery_key_name, credential),))


def test_keys_go_to_no_vault():
    """An authority that asks for its own vault as the new SRK would hold both wraps."""
    (entry,) = register(OURS).authorities

    def with_vault(public):
        return signed_list(register(OURS, authorities=(replace(entry, vault=public),)))

    with pytest.raises(TakeOver):
        answered(trust_list=with_vault(CHIP.srk.public))
    assert answered(trust_list=with_vault(OTHER.srk.public)).approval


def test_an_approval_holds_what_machine_and_authority_need():
    answer = answered(supersedes=(FIRST,))
    approval = read_restore_approval(answer.approval, WORLD.owner, None, NOW)
    assert (approval.request_id, approval.not_after) == (REQUEST_ID, NOT_AFTER)
    assert approval.not_before == NOW - timedelta(minutes=5)  # an authority's clock may be behind
    assert (approval.supersedes, approval.stolen) == ((FIRST,), False)
    assert (approval.trust_list, approval.sheet) == (answer.trust_list, answer.sheet)
    (entry,) = approval.entries
    assert (entry.key_id, entry.destination_id) == (OURS.drsk.name, str(AUTHORITY))
    sheet, _ = read_sheet(approval.sheet)
    assert (sheet.platform_id, sheet.drsk, sheet.policy) == (OURS.id, OURS.drsk.public, OURS.policy)
    (known,) = register(OURS).authorities
    assert [(a.ma_id, a.address) for a in sheet.authorities] == [(AUTHORITY, address) for address in known.addresses]


def test_the_inner_key_goes_on_unchanged_to_the_new_chip_alone():
    (entry,) = approved().entries
    (inner,) = entry.inner_keys
    (old,) = entry_of(OURS).inner_keys
    assert inner.recipient == CHIP.ek.name
    owner = WORLD.owner
    plaintext = open_credential(WORLD.keys.recovery, owner.recovery_key, owner.recovery_key_name, old.credential)
    assert open_credential(CHIP.ek.private, CHIP.ek.public, CHIP.srk.name, inner.credential) == plaintext
    for key, beside in ((OURS.ek, CHIP.srk), (CHIP.ek, OURS.srk), (CHIP.ek, CHIP.ak)):
        with pytest.raises(InnerKeyMismatch):
            open_credential(key.private, key.public, beside.name, inner.credential)


def test_the_certificates_are_for_the_new_keys_and_open_beside_the_new_ak_only():
    certificates = approved().certificates
    key = Secret(open_credential(CHIP.ek.private, CHIP.ek.public, CHIP.ak.name, certificates.credential))
    made = read_bundle(decrypt(key, certificates.ciphertext)).certificates
    assert [read_certificate(c)[1] for c in made] == [k.private.public_key() for k in (CHIP.signing_key, CHIP.ak)]
    with pytest.raises(InnerKeyMismatch):
        open_credential(CHIP.ek.private, CHIP.ek.public, CHIP.srk.name, certificates.credential)


def test_the_new_tpm_stands_beside_the_old_one_until_it_has_archived():
    after = listed(answered())
    assert (after.number, after.platform(OURS.id).pairs) == (4, (OLD_PAIR, NEW_PAIR))
    assert after.platform(OTHER.id) == register(OTHER).platforms[0]
    assert after.vouched_eks == (CHIP.ek.public,)


def test_a_stolen_tpm_is_retired_at_once():
    answer = answered(stolen=True)
    assert listed(answer).platform(OURS.id).pairs == (NEW_PAIR,)
    assert read_restore_approval(answer.approval, WORLD.owner, None, NOW).stolen


def test_the_same_request_is_approved_again_under_the_same_trust_list():
    first = answered()
    again = answered(trust_list=first.trust_list, supersedes=(FIRST, REQUEST_ID), vouch=False)
    assert again.trust_list == first.trust_list
    assert read_restore_approval(again.approval, WORLD.owner, first.trust_list, NOW).supersedes == (FIRST,)


# Where no package is at hand, an authority names it.


def test_an_annex_stands_in_for_the_package():
    with pytest.raises(BadRequest, match="annex"):
        answered(BARE)
    annex = signed_annex(annex_to(BARE, OURS, earlier_releases=(FIRST, SECOND, REQUEST_ID)))
    approval = approved(BARE, annex=annex, supersedes=(SECOND,))
    assert approval.entries[0].key_id == OURS.drsk.name
    assert approval.supersedes == (SECOND, FIRST)


def test_an_annex_to_another_request_or_by_another_authority_is_refused():
    with pytest.raises(RequestInvalid):
        answered(BARE, annex=signed_annex(annex_to(signed_request(OTHER, CHIP, at_hand=False), OURS)))
    with pytest.raises(WrongRole):
        answered(BARE, annex=signed_annex(annex_to(BARE, OURS), WORLD.signer_of(Role.MIGRATION_AUTHORITY, "second")))
    stranger = make_owner("stranger").signer_of(Role.MIGRATION_AUTHORITY, "ma")
    with pytest.raises(UntrustedSigner):
        answered(BARE, annex=signed_annex(annex_to(BARE, OURS), stranger))


def test_an_annex_beside_a_package_adds_what_was_released():
    annex = signed_annex(annex_to(REQUEST, OURS, earlier_releases=(FIRST,)))
    assert approved(annex=annex).supersedes == (FIRST,)


# Entries


@pytest.mark.parametrize(
    ("platform_id", "name"), [(OTHER.id, OURS.drsk.name), (OURS.id, OTHER.drsk.name)], ids=["platform", "key"]
)
def test_the_inner_key_of_another_platform_or_key_is_refused(platform_id, name):
    inner_key = bytes(16)
    good = with_inner(entry_of(OURS), inner_plaintext(inner_key, OURS.id, OURS.drsk.name))
    assert answered(signed_request(OURS, CHIP, entries=(good,)))
    bad = with_inner(entry_of(OURS), inner_plaintext(inner_key, platform_id, name))
    with pytest.raises(InnerKeyMismatch, match=OURS.drsk.name.digits):
        answered(signed_request(OURS, CHIP, entries=(bad,)))


@pytest.mark.parametrize("size", [1, 16, 31])
def test_an_inner_key_without_its_binding_is_refused(size):
    with pytest.raises(InnerKeyMismatch):
        answered(signed_request(OURS, CHIP, entries=(with_inner(entry_of(OURS), bytes(size)),)))


def test_an_entry_without_an_inner_key_for_this_token_is_refused_by_name():
    plaintext = inner_plaintext(bytes(16), OURS.id, OURS.drsk.name)
    entry = with_inner(entry_of(OURS), plaintext, CHIP.ek.name)
    with pytest.raises(InnerKeyMismatch, match=OURS.drsk.name.digits):
        answered(signed_request(OURS, CHIP, entries=(entry,)))


def test_an_entry_that_the_register_does_not_know_is_refused_by_name():
    with pytest.raises(NotEnrolled, match=OTHER.drsk.name.digits):
        answered(signed_request(OURS, CHIP, entries=(entry_of(OURS), entry_of(OTHER))))
    with pytest.raises(NotEnrolled, match="no authority"):
        answered(signed_request(OURS, CHIP, entries=(entry_of(OURS, str(uuid("unknown"))),)))


# The register


def test_a_platform_that_the_register_does_not_know_is_refused():
    with pytest.raises(NotEnrolled):
        answered(trust_list=signed_list(register(OTHER)))


def test_a_withdrawn_platform_is_refused():
    withdrawn = (Withdrawal(Identity(Role.PLATFORM, OURS.id), NOW),)
    with pytest.raises(SignerWithdrawn):
        answered(trust_list=signed_list(register(OURS, withdrawn=withdrawn)))


def test_nothing_is_approved_from_an_old_register():
    """The request knows list 3: the next number after 2 was given out already."""
    with pytest.raises(RegisterStale):
        answered(trust_list=signed_list(register(OURS, number=2)))
    assert listed(answered(trust_list=signed_list(register(OURS, number=3)))).number == 4


def test_the_clock_does_not_go_back():
    late = signed_list(register(OURS, issued=NOW + timedelta(days=1)))
    with pytest.raises(TrustListConflict, match="clock"):
        answered(trust_list=late)


def test_an_approval_that_never_holds_is_not_made():
    with pytest.raises(BadRequest):
        answered(not_after=NOW)


@pytest.mark.parametrize(
    ("sheet", "error"),
    [
        (signed_sheet(OTHER), NotEnrolled),
        (signed_sheet(make_platform(owner="stranger")), UntrustedSigner),
        (signed_sheet(make_platform(owner="stranger"), signer=WORLD.signer), OwnerMismatch),
        (signed_sheet(OURS, signer=OURS.signer), WrongRole),
    ],
    ids=["another platform", "stranger", "another owner", "platform"],
)
def test_only_the_platforms_own_sheet_is_followed(sheet, error):
    with pytest.raises(error):
        answered(sheet=sheet)


def test_a_sheet_for_a_key_that_the_register_does_not_know_is_refused():
    rekeyed = replace(register(OURS).platforms[0], drsk_names=(OTHER.drsk.name,))
    with pytest.raises(NotEnrolled, match="sheet"):
        answered(trust_list=signed_list(register(OTHER).with_platform(rekeyed)))


def test_an_older_package_than_the_sheet_knows_is_approved_by_number_only():
    with pytest.raises(PackageStale):
        answered(sheet=signed_sheet(OURS, 8))
    with pytest.raises(PackageStale):
        answered(sheet=signed_sheet(OURS, 8), accepted_stale=6)
    assert answered(sheet=signed_sheet(OURS, 8), accepted_stale=7)
    assert read_sheet(answered(sheet=signed_sheet(OURS, 7)).sheet)[0].sequence == 7


# The chip


def test_digits_that_the_machine_does_not_show_are_refused():
    with pytest.raises(DigitsDiffer):
        answered(digits="AAAA-AAAA-AAAA-AAAA")


def test_a_tpm_without_a_word_for_it_is_refused():
    with pytest.raises(EkUntrusted):
        answered(vouch=False)
    vouched = replace(register(OURS), vouched_eks=(CHIP.ek.public,))
    assert answered(vouch=False, trust_list=signed_list(vouched))


def test_a_credential_goes_to_no_key_that_could_leave_its_chip():
    """An EK without fixedTPM is anybody's key: its holder would read the inner key in software."""
    loose = software_key("loose", RECOVERY_ATTRIBUTES)
    request = restore_of(OURS, CHIP)
    signing = CHIP.signing_key.private.public_key()
    request_id = restore_id(OURS.id, request.base.nonce, loose.name, CHIP.srk.name, CHIP.ak.name, signing)
    base = replace(request.base, ek=loose.public, request_id=request_id)
    with pytest.raises(BadAttributes):
        answered(signed_request(OURS, CHIP, base=base))


def test_an_srk_by_another_template_is_refused():
    loose = software_key("loose SRK", SRK_ATTRIBUTES & ~Attributes.FIXED_TPM & ~Attributes.FIXED_PARENT)
    request = restore_of(OURS, CHIP)
    signing = CHIP.signing_key.private.public_key()
    request_id = restore_id(OURS.id, request.base.nonce, CHIP.ek.name, loose.name, CHIP.ak.name, signing)
    base = replace(request.base, request_id=request_id)
    with pytest.raises(BadAttributes):
        answered(signed_request(OURS, CHIP, base=base, srk=attested(loose, CHIP.ak)))
