"""A restore request passes through the hands of others: whatever they exchange in it is noticed (PROTOCOL §6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.errors import (
    BadAttributes,
    CertificationInvalid,
    DigitsDiffer,
    InnerKeyMismatch,
    NotEnrolled,
    RequestInvalid,
    SignatureInvalid,
)
from lms.model.exchange import RestoreRequest
from lms.model.keys import digits
from lms.service.approving import approve_restore
from lms.wire.certificates import self_issue
from lms.wire.exchange_v1 import RESTORE_REQUEST
from lms.wire.restoration import read_restore_request, restore_id
from lms.wire.signature import sign
from tests.service.test_elements_exchanged import elements_of, exchanged, named
from tests.support.documents import NOW, SoftwareSigner, make_platform, private_key, uuid
from tests.support.exchange import attested
from tests.support.restoring import order_for, requester, restore_of

OURS, CHIP = make_platform(), make_platform("new board")
THEIRS, THEIR_CHIP = make_platform("other"), make_platform("other new board")
ATTACKER = private_key("attacker")
WORLD = OURS.world


def followed(request: RestoreRequest, signing_key) -> RestoreRequest:
    """With the RequestID that follows from its parts."""
    keys = {p.public: p.name for chip in (CHIP, THEIR_CHIP) for p in (chip.ek, chip.srk, chip.ak)}
    names = (keys[request.base.ek], keys[request.srk.public], keys[request.ak])
    request_id = restore_id(request.platform_id, request.base.nonce, *names, signing_key.private.public_key())
    return replace(request, base=replace(request.base, request_id=request_id))


def their_request() -> RestoreRequest:
    """The good request of another platform of the same owner, on another new chip."""
    request = restore_of(THEIRS, THEIR_CHIP)
    base = replace(request.base, nonce=b"other nonce here", ek_certificates=(b"another",), trust_list_number=2)
    return followed(replace(request, base=base, sequence=8), THEIR_CHIP.signing_key)


MINE, OTHER = restore_of(OURS, CHIP), their_request()
_FORGED = (SignatureInvalid, CertificationInvalid)

# Element → (path to it, what refuses it although the platform's own new key signed).
BOUND = {
    "RequestID": ("base.request_id", RequestInvalid),
    "Nonce": ("base.nonce", RequestInvalid),
    "EK": ("base.ek", RequestInvalid),
    "PlatformID": ("platform_id", RequestInvalid),
    "AK": ("ak", _FORGED),
    "SRK": ("srk", _FORGED),
    "SRK-Public": ("srk.public", CertificationInvalid),
    "SRK-Attest": ("srk.certify.attest", _FORGED),
    "SRK-Signature": ("srk.certify.signature", _FORGED),
    "SigningKey": ("signing_key", _FORGED),
    "SigningKey-Public": ("signing_key.public", CertificationInvalid),
    "SigningKey-Attest": ("signing_key.certify.attest", _FORGED),
    "SigningKey-Signature": ("signing_key.certify.signature", _FORGED),
    "Entries": ("entries", NotEnrolled),
}
# What the platform's own word is enough for: it asks for a package, and shows what vouches for it.
SAID = {
    "EKCertificates": "base.ek_certificates",
    "TrustListNumber": "base.trust_list_number",
    "PackageID": "package_id",
    "Sequence": "sequence",
}
bound = pytest.mark.parametrize(("path", "error"), BOUND.values(), ids=BOUND)
PATHS = {name: path for name, (path, _) in BOUND.items()} | SAID
every = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


def test_each_element_of_a_request_is_exchanged():
    assert set(elements_of(MINE)) <= set(PATHS.values())


def signed(request, signer=None) -> bytes:
    return sign(RESTORE_REQUEST.write(request), signer or requester(OURS, CHIP))


def under_the_kept_signature(request) -> bytes:
    """The exchanged content with the signature that the untouched document had."""
    start, end = b"<ds:Signature ", b"</ds:Signature>"
    good, content = signed(MINE), signed(request)
    kept = good[good.index(start) : good.index(end)]
    return content[: content.index(start)] + kept + content[content.index(end) :]


def under_a_key_of_the_attacker(platform_id) -> SoftwareSigner:
    identity = replace(OURS.identity, uuid=platform_id)
    return SoftwareSigner(ATTACKER, (self_issue(identity, ATTACKER, NOW),))


GOOD_ORDER = order_for(signed(MINE), OURS)


def approve(document, shown=None, platform=OURS):
    """What the approver does who reads the digits at the machine; vouching, so that no EK certificate helps."""
    order = GOOD_ORDER if platform is OURS else order_for(document, platform)
    order = replace(order, request=document, digits=digits(shown or MINE.base.request_id))
    return approve_restore(order, WORLD.owner, WORLD.keys)


def test_the_untouched_requests_are_approved():
    assert under_the_kept_signature(MINE).count(b"<ds:Signature ") == 1
    assert approve(signed(MINE)).approval
    assert approve(under_the_kept_signature(MINE)).approval
    assert approve(signed(OTHER, requester(THEIRS, THEIR_CHIP)), OTHER.base.request_id, THEIRS).approval


@every
def test_the_signature_does_not_fit_an_exchanged_element(path):
    with pytest.raises(SignatureInvalid):
        approve(under_the_kept_signature(exchanged(MINE, OTHER, path)))


@every
def test_a_stranger_cannot_sign_an_exchanged_element(path):
    request = exchanged(MINE, OTHER, path)
    with pytest.raises((RequestInvalid, SignatureInvalid, CertificationInvalid)):
        approve(signed(request, under_a_key_of_the_attacker(request.platform_id)))


@bound
def test_an_exchanged_element_does_not_fit_the_others(path, error):
    """Even where the platform's own new signing key signed it; what does not fit is named."""
    with pytest.raises(error, match=named(path)):
        approve(signed(exchanged(MINE, OTHER, path)))


@pytest.mark.parametrize(
    ("field", "error"),
    {"key_id": NotEnrolled, "inner_keys": InnerKeyMismatch, "destination_id": NotEnrolled}.items(),
)
def test_a_part_of_an_entry_does_not_fit_the_others(field, error):
    (mine,), (other,) = MINE.entries, OTHER.entries
    value = str(uuid("another authority")) if field == "destination_id" else getattr(other, field)
    with pytest.raises(error):
        approve(signed(replace(MINE, entries=(replace(mine, **{field: value}),))))


def test_a_stranger_cannot_sign_the_untouched_request():
    with pytest.raises(RequestInvalid, match="SigningKey"):
        approve(signed(MINE, under_a_key_of_the_attacker(OURS.id)))


def test_another_tpms_signing_key_does_not_slip_in_with_a_new_request_id():
    request = followed(exchanged(MINE, OTHER, "signing_key"), THEIR_CHIP.signing_key)
    with pytest.raises(_FORGED):
        approve(signed(request, requester(OURS, THEIR_CHIP)), request.base.request_id)


@pytest.mark.parametrize("kept", ["base.ek", "platform_id"])
def test_all_keys_exchanged_at_once_give_other_digits(kept):
    """A whole of its own, but for one part of ours: it is well-formed, and not what the machine shows."""
    request = followed(exchanged(OTHER, MINE, kept), THEIR_CHIP.signing_key)
    platform = OURS if kept == "platform_id" else THEIRS
    document = signed(request, requester(platform, THEIR_CHIP))
    assert read_restore_request(document).request_id != MINE.base.request_id
    with pytest.raises(DigitsDiffer):
        approve(document)


@pytest.mark.parametrize("role", ["srk", "signing_key"])
def test_a_key_does_not_play_the_role_of_another(role):
    other = "signing_key" if role == "srk" else "srk"
    with pytest.raises(BadAttributes):
        approve(signed(replace(MINE, **{role: getattr(MINE, other)})))


def test_an_ek_that_is_the_srk_is_refused():
    """A storage key below the owner hierarchy would open credentials that only the maker's key may."""
    base = replace(MINE.base, ek=CHIP.srk.public)
    request = replace(MINE, base=base, srk=attested(CHIP.srk, CHIP.ak))
    with pytest.raises(RequestInvalid, match="two roles"):
        approve(signed(followed(request, CHIP.signing_key)))
