"""An enrolment request passes through the hands of others: whatever they exchange in it is noticed (PROTOCOL §6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace

import pytest

from lms.errors import (
    BadAttributes,
    CertificationInvalid,
    DigitsDiffer,
    RequestInvalid,
    SignatureInvalid,
)
from lms.model.exchange import BirthEvidence, EnrolmentRequest
from lms.model.keys import digits
from lms.model.release import EnrolmentOrder
from lms.service.granting import grant
from lms.wire.certificates import self_issue
from lms.wire.enrolment import enrolment_id, read_platform_enrolment
from lms.wire.exchange_v1 import ENROLMENT_REQUEST
from lms.wire.signature import sign
from lms.wire.token_v1 import read_sheet
from lms.wire.trust_list import read_trust_list
from tests.support.documents import NOW, SoftwareSigner, make_package, make_platform, private_key
from tests.support.exchange import attested, platform_request, signed_trust_list

OURS, THEIRS = make_platform(), make_platform("other")
ATTACKER, LISTED = private_key("attacker"), signed_trust_list()
_OTHER_NONCE = b"other nonce here"


def followed(request: EnrolmentRequest, signing) -> EnrolmentRequest:
    """With the RequestID that follows from its parts; the Names are those of whole platforms."""
    keys = {p.public: p.name for owner in (OURS, THEIRS) for p in (owner.ek, owner.srk, owner.ak)}
    base, platform = request.base, request.platform
    names = (keys[base.ek], keys[platform.srk.public], keys[platform.ak])
    request_id = enrolment_id(platform.platform_id, base.nonce, *names, signing.private.public_key())
    return replace(request, base=replace(base, request_id=request_id))


def their_request() -> EnrolmentRequest:
    """The good request of another platform of the same owner."""
    p, born = THEIRS, make_package(THEIRS).migrating_keys[0].certification
    whole = platform_request()
    drsk = BirthEvidence(p.drsk.public, born.creation_data, born.attestation, b"another")
    base = replace(whole.base, nonce=_OTHER_NONCE, ek=p.ek.public, ek_certificates=(b"another",), trust_list_number=3)
    part = replace(
        whole.platform,
        platform_id=p.id,
        ak=p.ak.public,
        srk=attested(p.srk, p.ak),
        signing_key=attested(p.signing_key, p.ak),
        drsk=drsk,
    )
    return followed(EnrolmentRequest(base, part, None), p.signing_key)


MINE, OTHER = platform_request(), their_request()

# Element → (path to it, what refuses it although the platform's own key signed).
ELEMENTS = {
    "RequestID": ("base.request_id", RequestInvalid),
    "Nonce": ("base.nonce", RequestInvalid),
    "EK": ("base.ek", RequestInvalid),
    "PlatformID": ("platform.platform_id", RequestInvalid),
    "AK": ("platform.ak", (SignatureInvalid, CertificationInvalid)),
    "SRK": ("platform.srk", (SignatureInvalid, CertificationInvalid)),
    "SRK-Public": ("platform.srk.public", CertificationInvalid),
    "SRK-Attest": ("platform.srk.certify.attest", (SignatureInvalid, CertificationInvalid)),
    "SRK-Signature": ("platform.srk.certify.signature", (SignatureInvalid, CertificationInvalid)),
    "SigningKey": ("platform.signing_key", (SignatureInvalid, CertificationInvalid)),
    "SigningKey-Public": ("platform.signing_key.public", CertificationInvalid),
    "SigningKey-Attest": ("platform.signing_key.certify.attest", (SignatureInvalid, CertificationInvalid)),
    "SigningKey-Signature": ("platform.signing_key.certify.signature", (SignatureInvalid, CertificationInvalid)),
    "DRSK": ("platform.drsk", CertificationInvalid),
    "DRSK-Public": ("platform.drsk.public", CertificationInvalid),
    "DRSK-CreationData": ("platform.drsk.creation_data", CertificationInvalid),
    "DRSK-Attest": ("platform.drsk.attestation.attest", CertificationInvalid),
    "DRSK-Signature": ("platform.drsk.attestation.signature", CertificationInvalid),
}
# What the platform's own word is enough for: it tells what it knows, and shows what vouches for it.
SAID = {
    "EKCertificates": "base.ek_certificates",
    "TrustListNumber": "base.trust_list_number",
    "DRSK-AKCertificate": "platform.drsk.ak_certificate",
}
elements = pytest.mark.parametrize(("path", "error"), ELEMENTS.values(), ids=ELEMENTS)
PATHS = {name: path for name, (path, _) in ELEMENTS.items()} | SAID
every = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


# What a refusal names: the element, or else what it is a part of, or certifies.
NAMED = {
    "request_id": "RequestID", "nonce": "Nonce", "ek": "keys", "platform_id": "another ID", "ak": "SigningKey",
    "srk": "SRK", "signing_key": "SigningKey", "drsk": "DRSK", "entries": "key",
}  # fmt: skip


def named(path: str) -> str:
    return next(word for element, word in NAMED.items() if element in path.split("."))


def elements_of(part, at="") -> Iterator[str]:
    """Paths to all that a request has, down to what has no parts."""
    for field in fields(part):
        value, path = getattr(part, field.name), at + field.name
        if is_dataclass(value):
            yield from elements_of(value, f"{path}.")
        else:
            yield path


def exchanged(into, source, path):
    """`into` with the one part at `path` taken from `source`."""
    head, _, rest = path.partition(".")
    part = getattr(source, head)
    if rest:
        part = exchanged(getattr(into, head), part, rest)
    assert getattr(into, head) != part
    return replace(into, **{head: part})


def signed(request, signer) -> bytes:
    return sign(ENROLMENT_REQUEST.write(request), signer)


def under_the_kept_signature(request) -> bytes:
    """The exchanged content with the signature that the untouched document had."""
    start, end = b"<ds:Signature ", b"</ds:Signature>"
    good, content = signed(MINE, OURS.self_issued), signed(request, OURS.self_issued)
    kept = good[good.index(start) : good.index(end)]
    return content[: content.index(start)] + kept + content[content.index(end) :]


def under_a_key_of_the_attacker(platform_id) -> SoftwareSigner:
    identity = replace(OURS.identity, uuid=platform_id)
    return SoftwareSigner(ATTACKER, (self_issue(identity, ATTACKER, NOW),))


def approve(document, shown=None):
    """What the approver does who reads the digits at the machine; vouching, so that no EK certificate helps."""
    order = EnrolmentOrder(document, digits(shown or MINE.base.request_id), (), True, LISTED, NOW)
    return grant(order, OURS.world.owner, OURS.world.keys)


def granted(document):
    """What the owner's word is after a grant, but for its signatures, which are new each time."""
    answer = approve(document)
    return read_trust_list(answer.trust_list, OURS.world.owner), read_sheet(answer.sheet)[0]


def test_each_element_of_a_request_is_exchanged():
    assert set(elements_of(MINE)) - {"authority"} <= set(PATHS.values())


def test_the_untouched_requests_are_granted():
    document = signed(MINE, OURS.self_issued)
    assert under_the_kept_signature(MINE).count(b"<ds:Signature ") == 1
    assert read_platform_enrolment(document).born
    assert approve(document).grant
    assert approve(under_the_kept_signature(MINE)).grant
    assert approve(signed(OTHER, THEIRS.self_issued), OTHER.base.request_id).grant


@every
def test_the_signature_does_not_fit_an_exchanged_element(path):
    with pytest.raises(SignatureInvalid):
        approve(under_the_kept_signature(exchanged(MINE, OTHER, path)))


@every
def test_a_stranger_cannot_sign_an_exchanged_element(path):
    request = exchanged(MINE, OTHER, path)
    with pytest.raises((RequestInvalid, SignatureInvalid, CertificationInvalid)):
        approve(signed(request, under_a_key_of_the_attacker(request.platform.platform_id)))


@elements
def test_an_exchanged_element_does_not_fit_the_others(path, error):
    """Even where the platform's own signing key signed it; what does not fit is named."""
    with pytest.raises(error, match=named(path)):
        approve(signed(exchanged(MINE, OTHER, path), OURS.self_issued))


@pytest.mark.parametrize("path", SAID.values(), ids=SAID)
def test_what_a_platform_says_of_itself_changes_nothing_that_is_granted(path):
    said = exchanged(MINE, OTHER, path)
    assert granted(signed(said, OURS.self_issued)) == granted(signed(MINE, OURS.self_issued))


def test_a_stranger_cannot_sign_the_untouched_request():
    with pytest.raises(RequestInvalid, match="SigningKey"):
        approve(signed(MINE, under_a_key_of_the_attacker(OURS.id)))


def test_another_tpms_signing_key_does_not_slip_in_with_a_new_request_id():
    request = followed(exchanged(MINE, OTHER, "platform.signing_key"), THEIRS.signing_key)
    signer = SoftwareSigner(THEIRS.signing_key.private, (self_issue(OURS.identity, THEIRS.signing_key.private, NOW),))
    with pytest.raises((SignatureInvalid, CertificationInvalid)):
        approve(signed(request, signer), request.base.request_id)


@pytest.mark.parametrize("kept", ["base.ek", "platform.platform_id"])
def test_all_keys_exchanged_at_once_give_other_digits(kept):
    """A whole of its own, but for one part of ours: it is well-formed, and not what the machine shows."""
    request = followed(exchanged(OTHER, MINE, kept), THEIRS.signing_key)
    identity = replace(THEIRS.identity, uuid=request.platform.platform_id)
    signer = SoftwareSigner(THEIRS.signing_key.private, (self_issue(identity, THEIRS.signing_key.private, NOW),))
    document = signed(request, signer)
    assert read_platform_enrolment(document).request_id != MINE.base.request_id
    with pytest.raises(DigitsDiffer):
        approve(document)


@pytest.mark.parametrize("role", ["srk", "signing_key"])
def test_a_key_does_not_play_the_role_of_another(role):
    other = "signing_key" if role == "srk" else "srk"
    request = replace(MINE, platform=replace(MINE.platform, **{role: getattr(MINE.platform, other)}))
    with pytest.raises(BadAttributes):
        approve(signed(request, OURS.self_issued))
