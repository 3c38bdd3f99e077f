"""A recovery sheet is believed under a confirmed owner only, whoever carried it, and only as that owner issued it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lms.errors import (
    BadAttributes,
    DocumentError,
    FingerprintDiffers,
    OwnerMismatch,
    PolicyMismatch,
    SignatureInvalid,
    SignerWithdrawn,
    UntrustedSigner,
    WrongRole,
)
from lms.model.keys import digits
from lms.model.trust import Identity, Role, Withdrawal
from lms.wire.sheet import accept_sheet, confirm_sheet
from lms.wire.signature import sign
from lms.wire.token_v1 import read_sheet, write_sheet
from lms.wire.tpm.public import approval_public
from tests.support.documents import NOW, make_owner, make_platform, private_key, uuid
from tests.support.restoring import register, signed_sheet

OURS = make_platform()
OWNER = OURS.world.owner
STRANGER = make_owner("stranger")
SHEET = read_sheet(signed_sheet(OURS))[0]
(MA,) = SHEET.authorities
SIGNER = OURS.world.signer_of(Role.SIGNER, "signer")


def by(signer, **changes) -> bytes:
    return sign(write_sheet(replace(SHEET, **changes)), signer)


@pytest.mark.parametrize("signer", [OURS.world.signer, SIGNER], ids=["ca", "signer"])
def test_the_owners_sheet_is_taken(signer):
    assert accept_sheet(by(signer), OWNER, None, NOW) == SHEET
    assert confirm_sheet(by(signer), digits(OWNER.fingerprint), NOW) == (SHEET, OWNER)


# What somebody makes of a genuine sheet who has it, but none of the owner's keys.
FORGED = {
    "signed by a stranger": (by(STRANGER.signer), UntrustedSigner),
    "signed by a stranger's signer": (by(STRANGER.signer_of(Role.SIGNER, "signer")), UntrustedSigner),
    "other addresses": (by(STRANGER.signer, authorities=(replace(MA, address="evil.example:8443"),)), UntrustedSigner),
    "another vault": (by(STRANGER.signer, authorities=(replace(MA, vault_name=OURS.srk.name),)), UntrustedSigner),
    "signed by a platform": (by(OURS.signer), WrongRole),
    "signed by an authority": (by(OURS.world.signer_of(Role.MIGRATION_AUTHORITY, "ma")), WrongRole),
    "altered afterwards": (by(OURS.world.signer).replace(b"ma.example", b"me.example"), SignatureInvalid),
}


@pytest.mark.parametrize(("document", "error"), FORGED.values(), ids=FORGED)
def test_a_forged_sheet_is_refused_whatever_confirmed_its_owner(document, error):
    with pytest.raises(error):
        accept_sheet(document, OWNER, None, NOW)
    with pytest.raises(error):
        confirm_sheet(document, digits(OWNER.fingerprint), NOW)


def test_a_sheet_of_another_owner_is_told_apart():
    other = signed_sheet(make_platform("theirs", "stranger"))
    with pytest.raises(OwnerMismatch):
        accept_sheet(other, OWNER, None, NOW)
    with pytest.raises(FingerprintDiffers):
        confirm_sheet(other, digits(OWNER.fingerprint), NOW)
    assert accept_sheet(other, STRANGER.owner, None, NOW)


# What a signer of the owner's would have to have done wrong.
UNFIT = {
    "another key's policy": ({"policy": make_platform("theirs", "stranger").policy}, PolicyMismatch),
    "another owner's key": (
        {
            "policy": make_platform("theirs", "stranger").policy,
            "drsk": make_platform("theirs", "stranger").drsk.public,
        },
        PolicyMismatch,
    ),
    "no storage key": ({"drsk": approval_public(private_key("odd").public_key())}, BadAttributes),
}


@pytest.mark.parametrize(("changes", "error"), UNFIT.values(), ids=UNFIT)
def test_a_key_that_does_not_fit_its_branches_and_owner_is_refused(changes, error):
    with pytest.raises(error):
        accept_sheet(by(OURS.world.signer, **changes), OWNER, None, NOW)


def test_a_withdrawn_signer_issues_no_sheets():
    identity = Identity(Role.SIGNER, uuid("signer"))
    withdrawn = replace(register(OURS), withdrawn=(Withdrawal(identity, NOW),))
    assert accept_sheet(by(SIGNER), OWNER, withdrawn, NOW - timedelta(days=1))
    with pytest.raises(SignerWithdrawn):
        accept_sheet(by(SIGNER), OWNER, withdrawn, NOW)


def test_any_other_byte_is_refused():
    document = by(OURS.world.signer)
    for at in range(0, len(document), 97):
        altered = document[:at] + bytes([document[at] ^ 1]) + document[at + 1 :]
        with pytest.raises(DocumentError):
            accept_sheet(altered, OWNER, None, NOW)
