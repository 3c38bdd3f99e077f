"""An authority comes to be, asks, is granted, and serves each owner who granted it (PROTOCOL §8 "authority")."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from lms.adapters.vault import open_vault
from lms.errors import (
    BadRequest,
    DigitsDiffer,
    EkUntrusted,
    GrantMismatch,
    InnerKeyMismatch,
    PolicyRefused,
    RegisterStale,
    SignatureInvalid,
    SignerWithdrawn,
    TakeOver,
    TrustListConflict,
    UntrustedSigner,
)
from lms.model.exchange import AuthorityEnrolment, EnrolmentRequest, RequestBase
from lms.model.keys import VAULT_HANDLE, Algorithm, digits
from lms.model.policies import POLICY_REF
from lms.model.release import EnrolmentOrder
from lms.model.trust import Identity, Mode, Pair, Role, TrustedPlatform, Withdrawal
from lms.service.enroll import enroll_authority
from lms.service.enrolment import accept_grant, request_enrolment
from lms.service.granting import grant
from lms.service.judgement import encrypt_certificates
from lms.service.keeping.enrolment import (
    accept_authority_grant,
    authority_request_id,
    make_software_identity,
    moved,
    request_authority_enrolment,
    software_opener,
)
from lms.service.setting import NO_SECRET
from lms.wire.certificates import identity_of, issued_by_owner, self_issue
from lms.wire.content import decrypt
from lms.wire.enrolment import enrolment_id, read_authority_enrolment
from lms.wire.exchange_v1 import ENROLMENT_GRANT, ENROLMENT_REQUEST, TRUST_LIST, read_bundle
from lms.wire.signature import sign
from lms.wire.tls import judge_tls, tls_key
from lms.wire.token_v1 import read_sheet
from lms.wire.tpm.policy import approval_digest, duplication_select
from lms.wire.tpm.public import ec_public_key, name_of, read_public
from lms.wire.tpm.signature import verify_digest
from lms.wire.trust_list import read_trust_list
from tests.support.documents import SoftwareSigner, make_owner, make_platform, private_key, uuid
from tests.support.platform import NOW, OWNER_AUTH, Token

WORLD, STRANGER = make_owner(), make_owner("stranger")
ADDRESSES = ("https://ma.example:8443", "https://192.0.2.1:8443", "https://[2001:db8::1]")
MA = make_software_identity(uuid("ma"), ADDRESSES)
OTHER = make_software_identity(uuid("another ma"), ("https://other.example",))
ROLE = Identity(Role.MIGRATION_AUTHORITY, MA.ma_id)


def order_of(identity=MA, **changes) -> EnrolmentOrder:
    """What an approver orders who has the authority's digits."""
    request = request_authority_enrolment(identity, NOW)
    return replace(EnrolmentOrder(request, digits(authority_request_id(identity)), (), False, None, NOW), **changes)


def granted(identity=MA, world=WORLD, **changes):
    return grant(order_of(identity, **changes), world.owner, world.keys)


def list_of(answer, world=WORLD):
    return read_trust_list(answer.trust_list, world.owner)


def altered(answer, signer=WORLD.signer, **changes) -> bytes:
    """Another grant under a good signature."""
    value, _ = ENROLMENT_GRANT.read(answer.grant)
    return sign(ENROLMENT_GRANT.write(replace(value, **changes)), signer)


def listed(answer, signer=WORLD.signer, **changes) -> bytes:
    """Another trust list under a good signature."""
    value, _ = TRUST_LIST.read(answer.trust_list)
    return sign(TRUST_LIST.write(replace(value, **changes)), signer)


@pytest.fixture
def vault(tmp_path):
    opened = open_vault(f"sqlite:///{tmp_path / 'vault.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def take(vault):
    """Takes a grant into the vault."""

    def taking(document, identity=MA, world=WORLD, now=NOW):
        with vault.transaction() as transaction:
            return accept_authority_grant(identity, software_opener(identity), transaction, document, world.owner, now)

    return taking


@pytest.fixture
def owners(vault):
    """What is kept of owners."""

    def kept():
        with vault.transaction() as transaction:
            return transaction.owners()

    return kept


# The MSA


def test_the_vault_is_approved_for_all_keys_and_no_other_parent():
    entry, (approval,) = list_of(granted()).authorities[0], list_of(granted()).authorities[0].approvals
    assert (entry.ma_id, entry.addresses, entry.mode, entry.combined) == (MA.ma_id, ADDRESSES, Mode.SOFTWARE, False)
    assert (entry.vault, entry.tls_key) == (MA.vault, tls_key(public_key(MA)))
    assert approval.public == WORLD.owner.approval_root
    assert approval.policy_ref == POLICY_REF
    assert approval.approved_policy == duplication_select(name_of(MA.vault))
    root = ec_public_key(read_public(WORLD.owner.approval_root))
    verify_digest(root, approval_digest(approval.approved_policy), approval.signature)
    with pytest.raises(SignatureInvalid):
        verify_digest(root, approval_digest(duplication_select(name_of(OTHER.vault))), approval.signature)


def public_key(identity):
    return load_der_private_key(identity.tls_key.reveal(), None).public_key()


def test_the_grant_repeats_mode_and_approvals():
    value, _ = ENROLMENT_GRANT.read(granted(combined=True).grant)
    entry = read_trust_list(value.trust_list, WORLD.owner).authorities[0]
    assert (value.mode, value.combined, value.sheet) == (Mode.SOFTWARE, True, None)
    assert (entry.mode, entry.combined, entry.approvals) == (Mode.SOFTWARE, True, value.approvals)


def test_digits_that_were_not_shown_are_refused():
    with pytest.raises(DigitsDiffer):
        granted(digits=digits(authority_request_id(OTHER)))
    assert granted().grant


def test_vouching_makes_no_tpm_of_a_disk():
    answer = granted(vouch=True)
    assert list_of(answer).authorities[0].mode is Mode.SOFTWARE
    assert list_of(answer).vouched_eks == ()


def test_the_number_grows_by_one_and_never_for_nothing():
    first = granted()
    assert list_of(first).number == 1
    assert granted(trust_list=first.trust_list).trust_list == first.trust_list
    second = granted(OTHER, trust_list=first.trust_list)
    assert list_of(second).number == 2
    assert {a.ma_id for a in list_of(second).authorities} == {MA.ma_id, OTHER.ma_id}
    assert granted(trust_list=second.trust_list).trust_list == second.trust_list


def test_what_changes_openly_needs_no_second_word():
    """Addresses and whether it is combined: vault and TLS key are those that were approved."""
    first = granted()
    away = moved(MA, ("https://away.example",))
    assert authority_request_id(away) != authority_request_id(MA)
    (before,), (after,) = (list_of(a).authorities for a in (first, granted(away, trust_list=first.trust_list)))
    assert after == replace(before, addresses=("https://away.example",))
    (combined,) = list_of(granted(combined=True, trust_list=first.trust_list)).authorities
    assert combined == replace(before, combined=True)


@pytest.mark.parametrize("part", ["tls_key", "vault"])
def test_a_known_authority_with_another_key_is_a_take_over(part):
    first = granted()
    parts = ("vault", "vault_key") if part == "vault" else (part,)
    other = replace(MA, **{name: getattr(OTHER, name) for name in parts})
    with pytest.raises(TakeOver):
        granted(other, trust_list=first.trust_list)
    (entry,) = list_of(granted(other, trust_list=first.trust_list, replacement=True)).authorities
    assert (entry.vault, entry.tls_key) == (other.vault, tls_key(public_key(other)))
    assert entry.approvals[0].approved_policy == duplication_select(name_of(other.vault))


@pytest.mark.parametrize("part", ["tls_key", "vault"])
def test_the_key_of_another_authority_is_a_take_over_whatever_is_said(part):
    first = granted(OTHER)
    parts = ("vault", "vault_key") if part == "vault" else (part,)
    with pytest.raises(TakeOver):
        granted(
            replace(MA, **{name: getattr(OTHER, name) for name in parts}), trust_list=first.trust_list, replacement=True
        )
    assert granted(trust_list=first.trust_list).grant


def test_a_platforms_srk_is_no_vault_whatever_is_said():
    first = granted(OTHER)

    def register_with(srk):
        platform = TrustedPlatform(uuid("a platform"), (Pair(name_of(OTHER.vault), srk),), ())
        return listed(first, platforms=(platform,))

    with pytest.raises(TakeOver):
        granted(trust_list=register_with(name_of(MA.vault)), replacement=True)
    assert granted(trust_list=register_with(name_of(make_platform().srk.public))).grant


def test_a_withdrawn_authority_is_not_approved_again():
    first = granted()
    with pytest.raises(SignerWithdrawn):
        granted(trust_list=listed(first, withdrawn=(Withdrawal(ROLE, NOW),)))
    other = (Withdrawal(replace(ROLE, uuid=OTHER.ma_id), NOW),)
    assert granted(trust_list=listed(first, withdrawn=other)).grant


def test_a_register_that_is_behind_grants_nothing():
    first = granted()
    request = request_authority_enrolment(MA, NOW)
    value, _ = ENROLMENT_REQUEST.read(request)
    seen = replace(value, base=replace(value.base, trust_list_number=2))
    key = load_der_private_key(MA.tls_key.reveal(), None)
    document = sign(ENROLMENT_REQUEST.write(seen), SoftwareSigner(key, (self_issue(ROLE, key, NOW),)))
    with pytest.raises(RegisterStale):
        granted(request=document, trust_list=first.trust_list)
    with pytest.raises(TrustListConflict):
        granted(OTHER, trust_list=first.trust_list, now=NOW - timedelta(seconds=1))
    assert granted(OTHER, trust_list=first.trust_list).grant


# The authority


def test_an_owner_who_granted_is_served(take, owners):
    answer = granted()
    kept, changed = take(answer.grant)
    assert changed
    assert owners() == (kept,)
    assert (kept.fingerprint, kept.document) == (WORLD.owner.fingerprint, WORLD.owner.document)
    assert (kept.trust_list, kept.combined) == (answer.trust_list, False)
    assert take(answer.grant) == (kept, False)


def test_the_tls_certificate_speaks_for_the_authority_and_its_hosts(take):
    kept, _ = take(granted().grant)
    certificate = x509.load_der_x509_certificate(kept.tls_certificate)
    judge_tls(kept.tls_certificate, MA.ma_id, WORLD.owner, None)
    assert issued_by_owner(certificate, WORLD.owner)
    assert (identity_of(certificate), certificate.public_key()) == (ROLE, public_key(MA))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["ma.example"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.1", "2001:db8::1"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_one_authority_serves_several_owners(take, owners):
    first, _ = take(granted().grant)
    second, _ = take(granted(world=STRANGER).grant, world=STRANGER)
    assert set(owners()) == {first, second}
    assert first.tls_certificate != second.tls_certificate


def test_a_newer_grant_replaces_and_an_older_one_takes_nothing_back(take, owners):
    old = granted()
    new = granted(combined=True, trust_list=old.trust_list, now=NOW + timedelta(days=1))
    take(old.grant)
    kept, changed = take(new.grant)
    assert (changed, kept.trust_list, kept.combined) == (True, new.trust_list, True)
    assert take(old.grant) == (kept, False)
    assert owners() == (kept,)


def test_a_grant_for_other_addresses_brings_its_certificate_even_when_the_list_came_before(take, vault):
    first = granted()
    away = moved(MA, ("https://away.example",))
    kept, _ = take(first.grant)
    second = granted(away, trust_list=first.trust_list, now=NOW + timedelta(days=1))
    with vault.transaction() as transaction:
        transaction.keep_owner(replace(kept, trust_list=second.trust_list))
    after, changed = take(second.grant, away, now=NOW + timedelta(days=1))
    certificate = x509.load_der_x509_certificate(after.tls_certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert changed
    assert names.get_values_for_type(x509.DNSName) == ["away.example"]


def assert_refused(take, owners, error, document, *, good) -> None:
    with pytest.raises(error):
        take(document)
    assert owners() == ()
    assert take(good)[1]


def test_a_grant_that_answers_another_request_is_refused(take, owners):
    answer = granted()
    assert_refused(take, owners, GrantMismatch, altered(answer, request_id=bytes(32)), good=answer.grant)


def test_what_was_granted_to_another_authority_is_of_no_use(take, owners):
    mine = granted()
    other = granted(OTHER, trust_list=mine.trust_list)
    with pytest.raises(GrantMismatch):
        take(other.grant)
    certificates = ENROLMENT_GRANT.read(other.grant)[0].certificates
    assert_refused(take, owners, InnerKeyMismatch, altered(mine, certificates=certificates), good=mine.grant)


@pytest.mark.parametrize(
    "changes",
    [
        {"vault": OTHER.vault},
        {"ma_id": OTHER.ma_id},
        {"tls_key": bytes(32)},
        {"mode": Mode.TPM},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_trust_list_that_names_us_otherwise_is_refused(take, owners, changes):
    answer = granted()
    entry = replace(list_of(answer).authorities[0], **changes)
    assert_refused(
        take, owners, GrantMismatch, altered(answer, trust_list=listed(answer, authorities=(entry,))), good=answer.grant
    )


def test_a_withdrawn_authority_serves_nobody(take, owners):
    answer = granted()
    withdrawn = listed(answer, withdrawn=(Withdrawal(ROLE, NOW),))
    assert_refused(take, owners, SignerWithdrawn, altered(answer, trust_list=withdrawn), good=answer.grant)


def test_a_grant_by_a_stranger_is_refused(take, owners):
    answer = granted()
    with pytest.raises(UntrustedSigner):
        take(granted(world=STRANGER).grant)
    by_stranger = altered(answer, STRANGER.signer_of(Role.SIGNER, "signer"))
    assert_refused(take, owners, UntrustedSigner, by_stranger, good=altered(answer, WORLD.signer_of(Role.SIGNER, "s")))


def test_a_certificate_for_another_key_or_by_another_ca_is_refused(take, owners):
    """The grant's own signature is good: what it brings is judged nevertheless."""
    answer = granted()
    ours, attacker = load_der_private_key(MA.tls_key.reveal(), None), private_key("attacker")
    for world, key in ((WORLD, attacker), (STRANGER, ours)):
        certificate = world.certificate(ROLE, key)
        forged = replace_certificates(answer, certificate)
        with pytest.raises(UntrustedSigner):
            take(forged)
    assert owners() == ()
    assert take(answer.grant)[1]


def replace_certificates(answer, certificate) -> bytes:
    return altered(answer, certificates=encrypt_certificates((certificate,), MA.vault, name_of(MA.vault)))


@pytest.mark.parametrize("addresses", [(), ("http://ma.example",), ("https://ma.example", "https://*.example")])
def test_an_authority_has_addresses_that_a_certificate_may_name(addresses):
    with pytest.raises(BadRequest):
        make_software_identity(uuid("ma"), addresses)
    with pytest.raises(BadRequest):
        moved(MA, addresses)
    assert moved(MA, ADDRESSES).vault == MA.vault


# With TPMs


def tpm_request(machine):
    """The request of an MA whose vault lies in a TPM, and its RequestID."""
    tpm, tls = machine.tpm, private_key("ma TLS")
    ek = tpm.endorsement_keys()[0]
    tpm.trust_salt(name_of(ek.public))
    if not tpm.owner_auth_is_set():
        tpm.set_owner_auth(NO_SECRET, OWNER_AUTH)
    vault = tpm.ensure_srk(VAULT_HANDLE, Algorithm.ECC_P256, OWNER_AUTH)
    certify, ak = tpm.certify(VAULT_HANDLE, None, NO_SECRET), tpm.attestation_key()
    nonce = b"sixteen of bytes"
    names = (name_of(ek.public), name_of(vault), name_of(ak))
    request_id = enrolment_id(MA.ma_id, nonce, *names, tls.public_key())
    certificates = () if ek.certificate is None else (ek.certificate,)
    tls_public = tls.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    part = AuthorityEnrolment(MA.ma_id, ak, vault, certify, tls_public, ADDRESSES, Mode.TPM)
    value = EnrolmentRequest(RequestBase(request_id, nonce, ek.public, certificates, 0), None, part)
    return sign(ENROLMENT_REQUEST.write(value), SoftwareSigner(tls, (self_issue(ROLE, tls, NOW),))), request_id


def order_for(request, request_id, **changes) -> EnrolmentOrder:
    return replace(EnrolmentOrder(request, digits(request_id), (), False, None, NOW), **changes)


def test_a_vault_in_a_tpm_is_granted_as_one_when_its_tpm_is_vouched_for(platform):
    asked = tpm_request(platform)
    with pytest.raises(EkUntrusted):
        grant(order_for(*asked), WORLD.owner, WORLD.keys)
    answer = grant(order_for(*asked, vouch=True), WORLD.owner, WORLD.keys)
    trusted = list_of(answer)
    assert [a.mode for a in trusted.authorities] == [Mode.TPM]
    assert trusted.vouched_eks == (read_authority_enrolment(asked[0]).ek,)


def test_only_the_chip_that_asked_opens_its_certificate(platform, machines):
    other = machines()
    asked, _ = tpm_request(platform), tpm_request(other)
    answer = grant(order_for(*asked, vouch=True), WORLD.owner, WORLD.keys)
    sealed = ENROLMENT_GRANT.read(answer.grant)[0].certificates
    ek_name = read_authority_enrolment(asked[0]).ek_name
    with pytest.raises(InnerKeyMismatch):
        other.tpm.activate(name_of(other.tpm.endorsement_keys()[0].public), 0, sealed.credential, NO_SECRET)
    key = platform.tpm.activate(ek_name, 0, sealed.credential, NO_SECRET)
    (certificate,) = read_bundle(decrypt(key, sealed.ciphertext)).certificates
    judge_tls(certificate, MA.ma_id, WORLD.owner, None)


def enrolled_platform(platform, trust_list):
    """A machine that is provisioned and granted under the trust list that names the MA; its grant."""
    platform.now = NOW
    platform.provision(Token(b"", WORLD.owner, b""), offline_token=False)
    request, request_id = request_enrolment(platform.setting)
    answer = grant(order_for(request, request_id, vouch=True, trust_list=trust_list), WORLD.owner, WORLD.keys)
    accept_grant(platform.setting, answer.grant, NO_SECRET)
    return answer


def test_a_platform_that_is_granted_afterwards_is_told_of_the_authority(platform):
    authority = granted()
    answer = enrolled_platform(platform, authority.trust_list)
    value, _ = ENROLMENT_GRANT.read(answer.grant)
    (entry,) = list_of(answer).authorities
    assert value.approvals == entry.approvals
    named = read_sheet(value.sheet)[0].authorities
    assert [(n.ma_id, n.address, n.vault_name) for n in named] == [(MA.ma_id, a, name_of(MA.vault)) for a in ADDRESSES]
    assert read_trust_list(platform.state.trust_list, WORLD.owner).authorities == (entry,)


def test_a_tpm_duplicates_to_the_vault_under_its_approval_and_to_no_other(platform):
    answer = enrolled_platform(platform, granted().trust_list)
    state = platform.state
    entry = replace(list_of(answer).authorities[0], vault=OTHER.vault)
    platform.store.save(replace(state, trust_list=listed(answer, authorities=(entry,))))
    with pytest.raises(PolicyRefused):
        enroll_authority(platform.setting, None, OWNER_AUTH)
    platform.store.save(state)
    state, changed = enroll_authority(platform.setting, None, OWNER_AUTH)
    assert changed
    assert [d.identity for d in state.destinations] == [str(MA.ma_id)]
    assert state.destinations[0].parent == MA.vault
