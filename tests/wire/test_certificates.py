"""Certificates and roles: one SAN, one role; a key that lives in a TPM signs and does nothing else (PROTOCOL §5)."""

from __future__ import annotations

import copy
import pickle
import ssl
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from lms.errors import CertificationInvalid, UntrustedSigner, WrongRole
from lms.model.keys import Name, digits, same_digits
from lms.model.secret import Secret
from lms.model.trust import Identity, Role
from lms.wire.certificates import (
    SignerRule,
    TpmBackedKey,
    identity_of,
    issue,
    issued_by_owner,
    judge_signer,
    self_issue,
)
from lms.wire.exchange_v1 import TRUST_LIST
from lms.wire.signature import sign
from lms.wire.tpm.signature import sign_digest
from tests.support.documents import NOW, SoftwareSigner, make_owner, make_platform, private_key, uuid
from tests.support.exchange import trust_list

WORLD, STRANGER = make_owner(), make_owner("stranger")
SIGNERS = SignerRule(frozenset({Role.OWNER, Role.SIGNER}))


def judge(signer, rule=SIGNERS):
    _, signed = TRUST_LIST.read(sign(TRUST_LIST.write(trust_list()), signer))
    return judge_signer(signed, rule, WORLD.owner, None, NOW)


def test_trust_list_is_signed_by_owner_or_signer():
    assert judge(WORLD.signer) == (Identity(Role.OWNER, None), True)
    assert judge(WORLD.signer_of(Role.SIGNER, "s")) == (Identity(Role.SIGNER, uuid("s")), True)


@pytest.mark.parametrize("role", [Role.PLATFORM, Role.STATION, Role.MIGRATION_AUTHORITY, Role.RESET])
def test_trust_list_by_another_role_is_refused(role):
    with pytest.raises(WrongRole):
        judge(WORLD.signer_of(role, "s"))


def test_trust_list_by_a_stranger_is_refused():
    with pytest.raises(UntrustedSigner):
        judge(STRANGER.signer_of(Role.SIGNER, "s"))
    with pytest.raises(UntrustedSigner):
        judge(make_platform().self_issued)


def certificate_with(*extensions):
    key = private_key("odd")
    name = x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())


def san(*names):
    return x509.SubjectAlternativeName(list(names))


URI = x509.UniformResourceIdentifier
ONE, TWO = (URI(Identity(Role.PLATFORM, uuid(n)).urn) for n in "ab")


@pytest.mark.parametrize(
    "extensions",
    [
        (),
        (san(x509.DNSName("example")),),
        (san(ONE, TWO),),
        (san(URI("urn:localmigration:owner:" + str(uuid("a")))),),
        (san(URI("urn:localmigration:platform:" + str(uuid("a")).upper())),),
        (san(URI("urn:localmigration:nobody:" + str(uuid("a")))),),
        (san(URI("xurn:localmigration:platform:" + str(uuid("a")))),),
        (san(URI("urn:localmigration:platform:")),),
        (san(URI("")),),
    ],
)
def test_certificate_without_exactly_one_role_speaks_for_nobody(extensions):
    with pytest.raises(WrongRole):
        identity_of(certificate_with(*extensions))
    assert identity_of(certificate_with(san(ONE, x509.DNSName("a")))) == Identity(Role.PLATFORM, uuid("a"))


def test_owner_has_no_urn():
    with pytest.raises(ValueError, match="CA"):
        _ = Identity(Role.OWNER, None).urn


def test_certificate_without_basic_constraints_is_nobodys():
    assert not issued_by_owner(certificate_with(san(ONE)), WORLD.owner)


def test_ca_is_no_end_entity():
    assert not issued_by_owner(x509.load_der_x509_certificate(WORLD.owner.ca_certificate), WORLD.owner)


def test_signing_key_cannot_pose_as_the_attestation_key(desk):
    """Same role, same UUID, same CA: the mark of an AK's certificate alone tells them apart."""
    (key,) = desk.package.migrating_keys
    signing, attesting = desk.platform.signer.certificates
    assert desk.judge(desk.with_key(certification=replace(key.certification, certificate=attesting))).approved
    with pytest.raises(CertificationInvalid, match="not this platform's"):
        desk.judge(desk.with_key(certification=replace(key.certification, certificate=signing)))
    ak = desk.platform.ak.private
    unmarked = desk.world.certificate(desk.platform.identity, ak)
    with pytest.raises(CertificationInvalid, match="not this platform's"):
        desk.judge(desk.with_key(certification=replace(key.certification, certificate=unmarked)))


def test_attestation_key_signs_no_package(desk):
    ak = desk.platform.ak.private
    marked, unmarked = (desk.world.certificate(desk.platform.identity, ak, attestation=mark) for mark in (True, False))
    with pytest.raises(WrongRole, match="attestation key"):
        desk.judge(signer=SoftwareSigner(ak, (marked,)))
    assert desk.judge(signer=SoftwareSigner(ak, (unmarked,))).approved


@pytest.fixture
def backed():
    key = private_key("in a TPM")
    return TpmBackedKey(key.public_key(), lambda digest: sign_digest(key, digest))


def test_key_in_a_tpm_signs_its_own_certificate(backed):
    certificate = x509.load_der_x509_certificate(self_issue(Identity(Role.PLATFORM, uuid("a")), backed, NOW))
    certificate.verify_directly_issued_by(certificate)
    assert certificate.not_valid_after_utc.year == 9999
    assert (backed.key_size, backed.curve.name) == (256, "secp256r1")
    backed.public_key().verify(backed.sign(b"x", ec.ECDSA(hashes.SHA256())), b"x", ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        backed.public_key().verify(backed.sign(b"x", ec.ECDSA(hashes.SHA256())), b"y", ec.ECDSA(hashes.SHA256()))


def test_key_in_a_tpm_never_leaves_it(backed):
    for act in (
        lambda: backed.exchange(ec.ECDH(), backed.public_key()),
        backed.private_numbers,
        lambda: backed.private_bytes(Encoding.DER),
    ):
        with pytest.raises(TypeError):
            act()
    assert copy.copy(backed) is backed
    assert copy.deepcopy(backed) is backed


def test_secret_never_shows_itself():
    secret = Secret(b"hush")
    assert "hush" not in f"{secret} {secret!r} {[secret]}"
    assert (len(secret), bool(secret), bool(Secret(b""))) == (4, True, False)
    assert secret == Secret(b"hush")
    assert secret != b"hush"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        hash(secret)


def test_eighty_bits_are_compared_whatever_their_spelling():
    value = bytes(range(32))
    assert digits(value) == "AAAQ-EAYE-AUDA-OCAJ"
    assert same_digits(" aaaqeaye auda-ocaj\n", value)
    assert not same_digits("AAAQ-EAYE-AUDA-OCAK", value)
    assert not same_digits("", value)
    with pytest.raises(ValueError, match="80 bits"):
        digits(value[:9])


def test_name_shows_its_digest_for_people():
    name = Name(b"\0\x0b" + bytes(range(32)))
    assert name.digits == digits(bytes(range(32)))
    assert repr(name) == f"Name({name})"
    for wrong in (b"", b"\0\x0b", b"\0\x04" + bytes(20), b"\0\x0c" + bytes(32)):
        with pytest.raises(ValueError, match="Name"):
            Name(wrong)


HOSTS = ("ma.example", IPv4Address("192.0.2.1"))


def shakes_hands(directory, hosts, name) -> bool:
    """Whether a strict TLS client that trusts the owner's CA believes the server to be `name`."""
    key, pem = private_key("server"), directory / "server.pem"
    identity = Identity(Role.MIGRATION_AUTHORITY, uuid("ma"))
    leaf = issue(identity, key.public_key(), WORLD.owner.ca_certificate, WORLD.keys.ca, NOW, hosts=hosts)
    chain = ssl.DER_cert_to_PEM_cert(leaf).encode()
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(pem)
    client.load_verify_locations(cadata=WORLD.owner.ca_certificate)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(back, there, server_hostname=name), server.wrap_bio(there, back, server_side=True))
    for end in (*ends, *ends):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError:
            return False
    return True


@pytest.mark.parametrize("name", ["ma.example", "192.0.2.1"])
def test_a_tls_client_finds_the_host_in_the_certificate(tmp_path, name):
    assert shakes_hands(tmp_path, HOSTS, name)
    others = tuple(h for h in HOSTS if str(h) != name)
    assert not shakes_hands(tmp_path, others, name)


def test_only_a_certificate_with_hosts_is_a_servers():
    key, ca = private_key("server").public_key(), WORLD.owner.ca_certificate
    identity = Identity(Role.MIGRATION_AUTHORITY, uuid("ma"))
    server = x509.load_der_x509_certificate(issue(identity, key, ca, WORLD.keys.ca, NOW, hosts=(*HOSTS, *HOSTS)))
    other = x509.load_der_x509_certificate(issue(identity, key, ca, WORLD.keys.ca, NOW))
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert len(list(names)) == 1 + len(HOSTS)
    assert identity_of(server) == identity_of(other) == identity
    assert list(server.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    with pytest.raises(x509.ExtensionNotFound):
        other.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
