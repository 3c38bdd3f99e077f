"""An authority's enrolment request passes through the hands of others, too: what they exchange is noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.errors import (
    BadAttributes,
    CertificationInvalid,
    DigitsDiffer,
    MalformedStructure,
    RegisterStale,
    RequestInvalid,
    SignatureInvalid,
    WrongDocument,
)
from lms.model.exchange import EnrolmentRequest
from lms.model.keys import digits
from lms.model.release import EnrolmentOrder
from lms.model.trust import Identity, Mode, Role
from lms.service.granting import grant
from lms.wire.certificates import self_issue
from lms.wire.enrolment import enrolment_id, read_authority_enrolment, read_platform_enrolment
from lms.wire.exchange_v1 import ENROLMENT_REQUEST
from lms.wire.signature import sign
from lms.wire.tpm.public import RECOVERY_ATTRIBUTES, SRK_ATTRIBUTES, Attributes
from lms.wire.trust_list import read_trust_list
from tests.service.test_elements_exchanged import elements_of, exchanged
from tests.support.documents import (
    NOW,
    SoftwareSigner,
    certify,
    make_owner,
    make_platform,
    private_key,
    software_key,
    uuid,
    vault,
)
from tests.support.exchange import authority_request, platform_request, software_authority_request

WORLD = make_owner()
TLS, THEIR_TLS = software_key("ma TLS", RECOVERY_ATTRIBUTES), software_key("their TLS", RECOVERY_ATTRIBUTES)
THEIR_VAULT = software_key("their vault", SRK_ATTRIBUTES)
CHIP, THEIR_CHIP = make_platform("ma"), make_platform("their ma")
SOFT = software_key("kept", RECOVERY_ATTRIBUTES)
THEIR_SOFT = software_key("their kept", RECOVERY_ATTRIBUTES)
ATTACKER = private_key("attacker")
NONCE = b"other nonce here"
ADDRESS = ("https://attacker.example",)


def signer_of(ma_id, key) -> SoftwareSigner:
    return SoftwareSigner(key, (self_issue(Identity(Role.MIGRATION_AUTHORITY, ma_id), key, NOW),))


def followed(request: EnrolmentRequest, ek, parent, ak, tls=TLS) -> EnrolmentRequest:
    """With the RequestID that follows from these keys."""
    subject, nonce = request.authority.ma_id, request.base.nonce
    request_id = enrolment_id(subject, nonce, ek.name, parent.name, ak.name, tls.private.public_key())
    return replace(request, base=replace(request.base, request_id=request_id))


def their_request() -> EnrolmentRequest:
    """The good request of another MA with a TPM."""
    whole, chip = authority_request(), THEIR_CHIP
    base = replace(whole.base, nonce=NONCE, ek=chip.ek.public)
    part = replace(
        whole.authority,
        ma_id=chip.id,
        ak=chip.ak.public,
        vault=THEIR_VAULT.public,
        vault_certify=certify(chip.ak, THEIR_VAULT.name, b"qualified name"),
        tls_public=THEIR_TLS.spki,
        addresses=ADDRESS,
    )
    return followed(EnrolmentRequest(base, None, part), chip.ek, THEIR_VAULT, chip.ak, THEIR_TLS)


def their_software_request() -> EnrolmentRequest:
    """The good request of another MA without a TPM."""
    whole = software_authority_request()
    part = replace(
        whole.authority, ma_id=THEIR_CHIP.id, vault=THEIR_SOFT.public, tls_public=THEIR_TLS.spki, addresses=ADDRESS
    )
    request = EnrolmentRequest(replace(whole.base, nonce=NONCE), None, part)
    return followed(request, THEIR_SOFT, THEIR_SOFT, THEIR_SOFT, THEIR_TLS)


def with_all_of(mode: Mode, request: EnrolmentRequest) -> EnrolmentRequest:
    """What an exchange takes from: also elements that no good request of the other mode, or of this owner, has."""
    chip = their_request()
    base = replace(request.base, ek=chip.base.ek, ek_certificates=(b"another",), trust_list_number=9)
    part = replace(request.authority, ak=chip.authority.ak, vault_certify=chip.authority.vault_certify, mode=mode)
    return replace(request, base=base, authority=part)


PAIRS = {
    Mode.TPM: (authority_request(), their_request()),
    Mode.SOFTWARE: (software_authority_request(), their_software_request()),
}
FROM = {
    Mode.TPM: with_all_of(Mode.SOFTWARE, their_request()),
    Mode.SOFTWARE: with_all_of(Mode.TPM, their_software_request()),
}
_TPM, _SOFTWARE = Mode.TPM, Mode.SOFTWARE
# (mode, element) → (path to it, what refuses it although the MA's own TLS key signed).
ELEMENTS = {
    (_TPM, "RequestID"): ("base.request_id", RequestInvalid),
    (_TPM, "Nonce"): ("base.nonce", RequestInvalid),
    (_TPM, "EK"): ("base.ek", RequestInvalid),
    (_TPM, "MAID"): ("authority.ma_id", RequestInvalid),
    (_TPM, "AK"): ("authority.ak", CertificationInvalid),
    (_TPM, "Vault"): ("authority.vault", CertificationInvalid),
    (_TPM, "Attest"): ("authority.vault_certify.attest", CertificationInvalid),
    (_TPM, "Signature"): ("authority.vault_certify.signature", CertificationInvalid),
    (_TPM, "TPM2_Certify"): ("authority.vault_certify", CertificationInvalid),
    (_TPM, "TLSPublic"): ("authority.tls_public", RequestInvalid),
    (_TPM, "Mode"): ("authority.mode", RequestInvalid),
    (_TPM, "TrustListNumber"): ("base.trust_list_number", RegisterStale),
    (_SOFTWARE, "RequestID"): ("base.request_id", RequestInvalid),
    (_SOFTWARE, "Nonce"): ("base.nonce", RequestInvalid),
    (_SOFTWARE, "MAID"): ("authority.ma_id", RequestInvalid),
    (_SOFTWARE, "Vault"): ("authority.vault", RequestInvalid),
    (_SOFTWARE, "TLSPublic"): ("authority.tls_public", RequestInvalid),
    (_SOFTWARE, "Mode"): ("authority.mode", RequestInvalid),
    (_SOFTWARE, "TrustListNumber"): ("base.trust_list_number", RegisterStale),
    (_SOFTWARE, "EK"): ("base.ek", RequestInvalid),
    (_SOFTWARE, "EKCertificates"): ("base.ek_certificates", RequestInvalid),
    (_SOFTWARE, "AK"): ("authority.ak", RequestInvalid),
    (_SOFTWARE, "TPM2_Certify"): ("authority.vault_certify", RequestInvalid),
}
# What the MA's own word is enough for.
SAID = {
    (_TPM, "EKCertificates"): "base.ek_certificates",
    (_TPM, "Address"): "authority.addresses",
    (_SOFTWARE, "Address"): "authority.addresses",
}
ALL = ELEMENTS | {key: (path, None) for key, path in SAID.items()}


def parametrised(table):
    return pytest.mark.parametrize(
        ("mode", "path", "error"),
        [(mode, path, error) for (mode, _), (path, error) in table.items()],
        ids=[f"{mode.value}-{element}" for mode, element in table],
    )


elements, every = parametrised(ELEMENTS), parametrised(ALL)
said = pytest.mark.parametrize(("mode", "path"), [(mode, path) for (mode, _), path in SAID.items()])
# What a refusal names; a vault is one of the keys of the RequestID, and what the AK certifies.
NAMED = {
    "base.request_id": "RequestID",
    "base.nonce": "Nonce",
    "authority.ma_id": "its ID",
    "authority.tls_public": "TLSPublic",
    "authority.mode": "mode '",
    "base.trust_list_number": "trust list 9",
    "base.ek_certificates": "'software' with",
}
modes = pytest.mark.parametrize("mode", Mode)


def with_part(request: EnrolmentRequest, **changes) -> EnrolmentRequest:
    return replace(request, authority=replace(request.authority, **changes))


def signed(request, signer=None) -> bytes:
    by = signer or signer_of(request.authority.ma_id, TLS.private)
    return sign(ENROLMENT_REQUEST.write(request), by)


def under_the_kept_signature(good, request) -> bytes:
    """The exchanged content with the signature that the untouched document had."""
    start, end = b"<ds:Signature ", b"</ds:Signature>"
    kept, content = signed(good), signed(request)
    kept = kept[kept.index(start) : kept.index(end)]
    return content[: content.index(start)] + kept + content[content.index(end) :]


def approve(document, shown):
    """What the approver does who reads the digits at the machine; vouching, so that no EK certificate helps."""
    order = EnrolmentOrder(document, digits(shown.base.request_id), (), True, None, NOW)
    return grant(order, WORLD.owner, WORLD.keys)


def listed(answer):
    """The register after a grant."""
    return read_trust_list(answer.trust_list, WORLD.owner)


@modes
def test_the_untouched_requests_are_granted(mode):
    mine, other = PAIRS[mode]
    assert read_authority_enrolment(signed(mine)).authority.mode is mode
    assert approve(signed(mine), mine).grant
    assert approve(under_the_kept_signature(mine, mine), mine).grant
    assert approve(signed(other, signer_of(THEIR_CHIP.id, THEIR_TLS.private)), other).grant


@modes
def test_each_element_of_a_request_is_exchanged(mode):
    here = {path for (where, _), (path, _) in ALL.items() if where is mode}
    assert set(elements_of(PAIRS[mode][0])) - {"platform"} <= here


@every
def test_the_signature_does_not_fit_an_exchanged_element(mode, path, error):
    mine = PAIRS[mode][0]
    judged_before = tuple({error} & {RequestInvalid, CertificationInvalid})
    with pytest.raises((SignatureInvalid, *judged_before)):
        approve(under_the_kept_signature(mine, exchanged(mine, FROM[mode], path)), mine)


@every
def test_a_stranger_cannot_sign_an_exchanged_element(mode, path, error):
    mine = PAIRS[mode][0]
    request = exchanged(mine, FROM[mode], path)
    with pytest.raises((RequestInvalid, CertificationInvalid)):
        approve(signed(request, signer_of(request.authority.ma_id, ATTACKER)), mine)


@said
def test_what_an_authority_says_of_itself_is_granted_and_changes_nothing_else(mode, path):
    mine = PAIRS[mode][0]
    request = exchanged(mine, FROM[mode], path)
    (entry,), (known,) = (listed(approve(signed(r), mine)).authorities for r in (request, mine))
    assert entry.addresses == request.authority.addresses
    assert replace(entry, addresses=known.addresses, approvals=known.approvals) == known


@elements
def test_an_exchanged_element_does_not_fit_the_others(mode, path, error):
    """Even where the MA's own TLS key signed it; what does not fit is named."""
    mine = PAIRS[mode][0]
    with pytest.raises(error, match=NAMED.get(path, "Vault|keys|'software' with")):
        approve(signed(exchanged(mine, FROM[mode], path)), mine)


@modes
def test_a_stranger_cannot_sign_the_untouched_request(mode):
    mine, _ = PAIRS[mode]
    with pytest.raises(RequestInvalid, match="TLSPublic"):
        approve(signed(mine, signer_of(mine.authority.ma_id, ATTACKER)), mine)


@modes
def test_a_signature_for_another_role_or_id_is_refused(mode):
    mine, _ = PAIRS[mode]
    ma_id = mine.authority.ma_id
    for identity in (Identity(Role.PLATFORM, ma_id), Identity(Role.MIGRATION_AUTHORITY, THEIR_CHIP.id)):
        by = SoftwareSigner(TLS.private, (self_issue(identity, TLS.private, NOW),))
        with pytest.raises(RequestInvalid):
            approve(signed(mine, by), mine)
    assert approve(signed(mine), mine).grant


@modes
def test_all_keys_exchanged_at_once_give_other_digits(mode):
    """A whole of its own under our MAID: it is well-formed, and not what the machine shows."""
    mine, other = PAIRS[mode]
    request = with_part(other, ma_id=mine.authority.ma_id)
    keys = (THEIR_CHIP.ek, THEIR_VAULT, THEIR_CHIP.ak) if mode is Mode.TPM else (THEIR_SOFT,) * 3
    request = followed(request, *keys, THEIR_TLS)
    document = signed(request, signer_of(request.authority.ma_id, THEIR_TLS.private))
    assert read_authority_enrolment(document).request_id == request.base.request_id
    with pytest.raises(DigitsDiffer):
        approve(document, mine)


def test_a_key_in_software_is_never_taken_for_one_in_a_tpm():
    """Whoever has no TPM can write `tpm`, and cannot prove it."""
    mine, chip = PAIRS[Mode.SOFTWARE][0], PAIRS[Mode.TPM][0]
    with pytest.raises(RequestInvalid, match="'tpm' without"):
        approve(signed(with_part(mine, mode=Mode.TPM)), mine)
    # Certified by a TPM, but not of it: the recovery template has no fixedTPM.
    certified = with_part(chip, vault=SOFT.public, vault_certify=certify(CHIP.ak, SOFT.name, b"qualified name"))
    with pytest.raises(BadAttributes, match="Vault"):
        approve(signed(followed(certified, CHIP.ek, SOFT, CHIP.ak)), chip)


@pytest.mark.parametrize("part", ["ek", "ek_certificates", "ak", "vault_certify"])
def test_a_software_authority_shows_no_parts_of_a_tpm(part):
    mine, chip = PAIRS[Mode.SOFTWARE][0], PAIRS[Mode.TPM][0]
    if part in ("ak", "vault_certify"):
        request = with_part(mine, **{part: getattr(chip.authority, part)})
    else:
        value = {"ek": chip.base.ek, "ek_certificates": (b"certificate",)}[part]
        request = replace(mine, base=replace(mine.base, **{part: value}))
    with pytest.raises(RequestInvalid, match="'software' with"):
        approve(signed(request), mine)


@pytest.mark.parametrize("part", ["ek", "ak", "vault_certify"])
def test_an_authority_with_a_tpm_proves_it_whole(part):
    mine = PAIRS[Mode.TPM][0]
    request = replace(mine, base=replace(mine.base, ek=None)) if part == "ek" else with_part(mine, **{part: None})
    with pytest.raises(RequestInvalid, match="'tpm' without"):
        approve(signed(request), mine)


@pytest.mark.parametrize(
    "attributes",
    [RECOVERY_ATTRIBUTES, SRK_ATTRIBUTES & ~Attributes.FIXED_TPM, SRK_ATTRIBUTES & ~Attributes.NO_DA],
    ids=["recovery", "not-fixed", "lock-out"],
)
def test_a_vault_in_a_tpm_has_exactly_the_attributes_of_an_srk(attributes):
    mine, other = PAIRS[Mode.TPM][0], software_key("odd vault", attributes)
    request = with_part(mine, vault=other.public, vault_certify=certify(CHIP.ak, other.name, b"qualified name"))
    with pytest.raises(BadAttributes, match="Vault"):
        approve(signed(followed(request, CHIP.ek, other, CHIP.ak)), mine)


def test_a_vault_in_a_tpm_has_no_policy():
    """A policy would be a second way to use it, which its template does not have."""
    mine, other = PAIRS[Mode.TPM][0], software_key("odd vault", SRK_ATTRIBUTES, policy=bytes(32))
    request = with_part(mine, vault=other.public, vault_certify=certify(CHIP.ak, other.name, b"qualified name"))
    with pytest.raises(BadAttributes, match="Vault"):
        approve(signed(followed(request, CHIP.ek, other, CHIP.ak)), mine)


@pytest.mark.parametrize("attributes", [SRK_ATTRIBUTES, RECOVERY_ATTRIBUTES | Attributes.NO_DA], ids=["srk", "no-da"])
def test_a_vault_in_software_is_exactly_the_recovery_template(attributes):
    mine, other = PAIRS[Mode.SOFTWARE][0], software_key("odd vault", attributes)
    request = followed(with_part(mine, vault=other.public), other, other, other)
    with pytest.raises(BadAttributes, match="Vault"):
        approve(signed(request), mine)


@modes
def test_one_key_does_not_play_two_roles(mode):
    mine, _ = PAIRS[mode]
    double = vault() if mode is Mode.TPM else SOFT
    request = with_part(mine, tls_public=double.spki)
    keys = (CHIP.ek, double, CHIP.ak) if mode is Mode.TPM else (double,) * 3
    with pytest.raises(RequestInvalid, match="two roles"):
        approve(signed(followed(request, *keys, double), signer_of(request.authority.ma_id, double.private)), mine)


@pytest.mark.parametrize("public", [b"no key", vault().public], ids=["garbage", "tpm"])
def test_a_tls_key_that_cannot_be_read_is_named(public):
    mine = PAIRS[Mode.SOFTWARE][0]
    with pytest.raises(RequestInvalid, match="TLSPublic"):
        approve(signed(with_part(mine, tls_public=public)), mine)


@pytest.mark.parametrize("address", ["http://ma.example", "https://x:y@ma.example", "https://*.example", "ma.example"])
@modes
def test_an_address_that_no_certificate_may_name_is_refused(mode, address):
    mine, _ = PAIRS[mode]
    with pytest.raises(RequestInvalid, match="Address"):
        approve(signed(with_part(mine, addresses=(*mine.authority.addresses, address))), mine)


def test_a_vault_that_cannot_be_read_is_refused():
    mine = PAIRS[Mode.SOFTWARE][0]
    with pytest.raises(MalformedStructure):
        approve(signed(with_part(mine, vault=b"no key")), mine)


def test_a_request_is_read_as_what_it_is():
    platform = sign(ENROLMENT_REQUEST.write(platform_request()), make_platform().self_issued)
    with pytest.raises(WrongDocument):
        read_authority_enrolment(platform)
    with pytest.raises(WrongDocument):
        read_platform_enrolment(signed(PAIRS[Mode.TPM][0]))
    assert read_platform_enrolment(platform).born
    assert uuid("ma") == read_authority_enrolment(signed(PAIRS[Mode.TPM][0])).authority.ma_id
