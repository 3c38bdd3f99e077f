"""`enroll msa`: a machine with a TPM asks, the owner grants, and the machine takes what answers it alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lms.errors import (
    DigitsDiffer,
    EkUntrusted,
    GrantMismatch,
    InnerKeyMismatch,
    NotCanonical,
    OwnerMismatch,
    PolicyMismatch,
    RegisterStale,
    SignatureInvalid,
    SignerWithdrawn,
    TakeOver,
    TrustListConflict,
    UntrustedSigner,
)
from lms.model.keys import digits
from lms.model.release import EnrolmentOrder
from lms.model.trust import Identity, Role, Withdrawal
from lms.service.enrolment import accept_grant, request_enrolment
from lms.service.granting import grant
from lms.service.setting import NO_SECRET
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.certificates import for_attestation, identity_of, issued_by_owner
from lms.wire.exchange_v1 import ENROLMENT_GRANT, TRUST_LIST
from lms.wire.package_v1 import read_package
from lms.wire.signature import sign
from lms.wire.token_v1 import read_sheet, write_sheet
from lms.wire.tpm.public import ec_public_key, read_public
from lms.wire.trust_list import newer, read_trust_list
from tests.support.documents import make_owner, uuid
from tests.support.platform import NOW, Platform, Token

WORLD, STRANGER = make_owner(), make_owner("stranger")
OWNER = Token(b"", WORLD.owner, b"")
PLATFORM_ID = uuid("a machine that is enrolled")


def make_machine(directory, **parts):
    """A machine of the owner whose keys the test has, switched off."""
    with Platform(directory, **parts) as platform:
        platform.now = NOW
        platform.provision(OWNER, new_platform_id=PLATFORM_ID)
        platform.enroll()
    return directory


@pytest.fixture(scope="module")
def owned_machine(tmp_path_factory):
    return make_machine(tmp_path_factory.mktemp("owned"))


@pytest.fixture(scope="module")
def pretender_machine(tmp_path_factory):
    """Another chip under the same PlatformID."""
    return make_machine(tmp_path_factory.mktemp("pretender"))


@pytest.fixture
def machine(machines, owned_machine):
    return machines(disk_of=owned_machine, tpm_of=owned_machine)


@pytest.fixture
def pretender(machines, pretender_machine):
    return machines(disk_of=pretender_machine, tpm_of=pretender_machine)


def order_of(platform, **changes) -> EnrolmentOrder:
    """What an approver orders who sees the machine's digits and answers for its TPM."""
    request, request_id = request_enrolment(platform.setting)
    return replace(EnrolmentOrder(request, digits(request_id), (), True, None, NOW), **changes)


def granted(platform, world=WORLD, **changes):
    return grant(order_of(platform, **changes), world.owner, world.keys)


def take(platform, document):
    return accept_grant(platform.setting, document, NO_SECRET)


def altered(answer, signer=WORLD.signer, **changes) -> bytes:
    """Another grant under a good signature."""
    value, _ = ENROLMENT_GRANT.read(answer.grant)
    return sign(ENROLMENT_GRANT.write(replace(value, **changes)), signer)


def listed(document, signer=WORLD.signer, **changes) -> bytes:
    """Another trust list under a good signature."""
    value, _ = TRUST_LIST.read(document)
    return sign(TRUST_LIST.write(replace(value, **changes)), signer)


def assert_certified(der, public, *, attestation) -> None:
    certificate = x509.load_der_x509_certificate(der)
    assert certificate.public_key() == ec_public_key(read_public(public))
    assert issued_by_owner(certificate, WORLD.owner)
    assert identity_of(certificate) == Identity(Role.PLATFORM, PLATFORM_ID)
    assert for_attestation(certificate) is attestation


def test_a_granted_machine_makes_approved_packages(machine):
    answer = granted(machine)
    state = take(machine, answer.grant)
    assert state == machine.state
    assert_certified(state.signing_key.certificate, state.signing_key.key.public, attestation=False)
    ak_certificate = state.enrolment.ak_certificate
    assert_certified(ak_certificate, machine.tpm.attestation_key(), attestation=True)
    assert state.drsk.birth.certificate == ak_certificate
    assert state.trust_list == answer.trust_list
    assert state.request_nonce is None
    machine.archive()
    (package,) = (path.read_bytes() for path in machine.packages)
    read = read_package(package)
    assert read.content.migrating_keys[0].certification.certificate == ak_certificate
    assert read.signed.certificates == (state.signing_key.certificate, ak_certificate)
    trust = PackageTrust(WORLD.owner, NOW, PLATFORM_ID, trust_list=read_trust_list(answer.trust_list, WORLD.owner))
    assert accept_package(package, trust).approved


def test_before_the_grant_a_package_is_unapproved(machine):
    machine.archive()
    (package,) = (path.read_bytes() for path in machine.packages)
    assert read_package(package).content.migrating_keys[0].certification is None
    with pytest.raises(UntrustedSigner):
        accept_package(package, PackageTrust(WORLD.owner, NOW, PLATFORM_ID))


def test_the_same_request_is_made_until_it_is_granted(machine):
    (_, once), (_, twice) = request_enrolment(machine.setting), request_enrolment(machine.setting)
    assert once == twice
    answer = granted(machine)
    take(machine, answer.grant)
    assert request_enrolment(machine.setting)[1] != once


def test_a_grant_answers_one_request_alone(machine):
    answer = granted(machine)
    before = take(machine, answer.grant)
    assert take(machine, answer.grant) == before == machine.state  # it is so already
    request_enrolment(machine.setting)
    before = machine.state
    with pytest.raises(GrantMismatch):
        take(machine, answer.grant)
    assert machine.state == before
    assert take(machine, granted(machine, trust_list=answer.trust_list).grant).request_nonce is None


@pytest.mark.parametrize("changes", [{"request_id": bytes(32)}, {"sheet": None}], ids=["request", "sheet"])
def test_a_grant_that_does_not_answer_is_refused(machine, changes):
    answer = granted(machine)
    with pytest.raises(GrantMismatch):
        take(machine, altered(answer, **changes))
    assert machine.state.enrolment is None
    assert take(machine, altered(answer)).enrolment is not None


def test_a_grant_with_the_sheet_of_another_platform_is_refused(machine):
    answer = granted(machine)
    sheet = replace(read_sheet(answer.sheet)[0], platform_id=uuid("another"))
    with pytest.raises(GrantMismatch, match="another platform's"):
        take(machine, altered(answer, sheet=sign(write_sheet(sheet), WORLD.signer)))
    assert machine.state.enrolment is None
    assert take(machine, altered(answer)).enrolment is not None


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (b"<Combined>no<", b"<Combined>yes<", SignatureInvalid),
        (b"<Combined>", b"<Combined >", NotCanonical),
    ],
)
def test_an_altered_grant_is_refused(machine, old, new, error):
    document = granted(machine).grant
    assert document.count(old) == 1
    with pytest.raises(error):
        take(machine, document.replace(old, new))
    assert machine.state.enrolment is None
    assert take(machine, document).enrolment is not None


def test_a_grant_by_a_stranger_is_refused(machine):
    answer = granted(machine)
    for signer in (STRANGER.signer, STRANGER.signer_of(Role.SIGNER, "signer")):
        with pytest.raises(UntrustedSigner):
            take(machine, altered(answer, signer))
    assert machine.state.enrolment is None
    assert take(machine, altered(answer, WORLD.signer_of(Role.SIGNER, "signer"))).enrolment is not None


def test_what_was_granted_to_another_chip_is_of_no_use(machine, pretender):
    mine, other = granted(machine), granted(pretender)
    with pytest.raises(GrantMismatch):
        take(machine, other.grant)
    certificates = ENROLMENT_GRANT.read(other.grant)[0].certificates
    with pytest.raises(InnerKeyMismatch):
        take(machine, altered(mine, certificates=certificates))
    assert machine.state.enrolment is None
    assert take(machine, mine.grant).enrolment is not None
    assert take(pretender, other.grant).enrolment is not None


def test_a_withdrawn_signer_grants_nothing_by_an_old_trust_list(machine):
    """The list in hand counts, not the one that the grant brings."""
    first = granted(machine)
    take(machine, first.grant)
    answer = granted(machine, trust_list=first.trust_list)
    signer = WORLD.signer_of(Role.SIGNER, "signer")
    withdrawn = (Withdrawal(Identity(Role.SIGNER, uuid("signer")), NOW - timedelta(days=1)),)
    known = listed(first.trust_list, number=2, withdrawn=withdrawn)
    machine.store.save(replace(machine.state, trust_list=known))
    with pytest.raises(SignerWithdrawn):
        take(machine, altered(answer, signer))
    assert take(machine, answer.grant).trust_list == known


def test_nothing_is_granted_from_an_old_register(machine):
    """The next number was given out already: other bytes under it would be a conflict everywhere."""
    first = granted(machine)
    state = take(machine, first.grant)
    known = listed(first.trust_list, number=2)
    machine.store.save(replace(state, trust_list=known))
    for old in (first.trust_list, None):
        with pytest.raises(RegisterStale):
            granted(machine, trust_list=old)
    assert granted(machine, trust_list=known).trust_list == known


def test_digits_that_were_not_shown_are_refused(machine):
    with pytest.raises(DigitsDiffer):
        granted(machine, digits="AAAA-AAAA-AAAA-AAAA")
    assert granted(machine).grant


def test_a_tpm_without_a_word_for_it_is_refused(machine):
    with pytest.raises(EkUntrusted):
        granted(machine, vouch=False)
    answer = granted(machine)
    assert granted(machine, vouch=False, trust_list=answer.trust_list).trust_list == answer.trust_list


def test_a_tpm_is_granted_by_its_makers_roots(machines, tmp_path):
    maker = Platform(tmp_path / "made")
    ca = maker.machine.manufacture(tmp_path / "ca")
    maker.machine.remove()
    made = make_machine(tmp_path / "machine", tpm_of=tmp_path / "made")
    platform = machines(disk_of=made, tpm_of=made)
    chain = [*x509.load_pem_x509_certificates(ca.root.read_bytes() + ca.issuer.read_bytes())]
    roots = tuple(c.public_bytes(Encoding.DER) for c in chain)
    now = max(c.not_valid_before_utc for c in chain).replace(microsecond=0) + timedelta(days=1)
    for too_few in ((), roots[:1], roots[1:]):
        with pytest.raises(EkUntrusted):
            granted(platform, vouch=False, ek_roots=too_few, now=now)
    answer = granted(platform, vouch=False, ek_roots=roots, now=now)
    assert read_trust_list(answer.trust_list, WORLD.owner).vouched_eks == ()
    assert take(platform, answer.grant).enrolment is not None


def test_a_known_platform_on_another_chip_is_a_take_over(machine, pretender):
    known = granted(machine).trust_list
    with pytest.raises(TakeOver):
        granted(pretender, trust_list=known)
    both = granted(pretender, trust_list=known, replacement=True).trust_list
    assert len(read_trust_list(both, WORLD.owner).platforms[0].pairs) == 2
    assert granted(machine, trust_list=known).trust_list == known


def test_the_number_grows_by_one_and_never_for_nothing(machine):
    first = granted(machine)
    assert read_trust_list(first.trust_list, WORLD.owner).number == 1
    assert granted(machine, trust_list=first.trust_list).trust_list == first.trust_list
    before = listed(first.trust_list, number=7, platforms=())
    after = read_trust_list(granted(machine, trust_list=before).trust_list, WORLD.owner)
    assert after.number == 8
    assert [p.platform_id for p in after.platforms] == [PLATFORM_ID]


def test_the_clock_of_the_approver_never_goes_back(machine):
    before = listed(granted(machine).trust_list, platforms=())
    with pytest.raises(TrustListConflict):
        granted(machine, trust_list=before, now=NOW - timedelta(seconds=1))
    assert granted(machine, trust_list=before).trust_list != before


def test_another_owners_trust_list_is_refused(machine):
    good = granted(machine)
    by_stranger = listed(good.trust_list, STRANGER.signer_of(Role.SIGNER, "signer"))
    for_stranger = listed(good.trust_list, owner=STRANGER.owner.fingerprint)
    for document, error in ((by_stranger, UntrustedSigner), (for_stranger, OwnerMismatch)):
        with pytest.raises(error):
            granted(machine, trust_list=document)
        with pytest.raises(error):
            take(machine, altered(good, trust_list=document))
    assert take(machine, good.grant).trust_list == good.trust_list


def test_of_two_trust_lists_the_higher_number_counts(machine):
    old = granted(machine).trust_list
    new, other = listed(old, number=2), listed(old, vouched_eks=())
    assert newer(None, old, WORLD.owner) == newer(old, old, WORLD.owner) == old
    assert newer(old, new, WORLD.owner) == newer(new, old, WORLD.owner) == new
    with pytest.raises(TrustListConflict):
        newer(old, other, WORLD.owner)


def test_a_key_of_another_owners_policy_is_refused(machine):
    with pytest.raises(PolicyMismatch):
        granted(machine, STRANGER)
    assert granted(machine).grant


def test_a_withdrawn_signer_cannot_take_its_withdrawal_back(machine):
    first = granted(machine).trust_list
    signer = WORLD.signer_of(Role.SIGNER, "signer")
    withdrawn = (Withdrawal(Identity(Role.SIGNER, uuid("signer")), NOW - timedelta(days=1)),)
    known = listed(first, number=2, withdrawn=withdrawn)
    with pytest.raises(SignerWithdrawn):
        newer(known, listed(first, signer, number=3), WORLD.owner)
    with pytest.raises(TrustListConflict):
        newer(known, listed(first, number=3), WORLD.owner)
    good = listed(known, number=3)
    assert newer(known, good, WORLD.owner) == good


def test_another_platforms_key_is_not_granted(machine, pretender):
    mine, known = granted(machine), read_trust_list(granted(machine).trust_list, WORLD.owner)
    other = replace(known.platforms[0], platform_id=uuid("another platform"))
    with pytest.raises(TakeOver):
        granted(machine, trust_list=listed(mine.trust_list, platforms=(other,)))
    assert granted(machine, trust_list=listed(mine.trust_list, platforms=())).grant
