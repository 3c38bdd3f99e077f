"""What is no container of ours is refused with a reason, and nothing is written, registered or lost."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509.oid import NameOID

from lms.apps.csp.adding import Wanted, add
from lms.apps.csp.certificates import read_certificates
from lms.apps.csp.exporting import export
from lms.apps.csp.listing import listed
from lms.apps.csp.pkcs12 import read_pkcs12
from lms.errors import (
    AnotherKey,
    BadRequest,
    BlobRefused,
    Busy,
    CertificateDiffers,
    FileExists,
    FileProblem,
    KeyUnsupported,
    LmsError,
    NotAContainer,
    NotMigratable,
    NotProvisioned,
    NotRegistered,
    Pkcs12Refused,
)
from lms.files import locked
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, ApplicationAlgorithm
from lms.model.secret import Secret
from lms.wire.tpm.application import application_public_key, application_template
from lms.wire.tpm.key_file import read_tss2_pem, tss2_pem, tss2_private_key
from lms.wire.tpm.public import signing_template
from tests.support.containers import PASSWORD, Serving, certify, make_pkcs12, openssl, signs
from tests.support.platform import NO_SECRET

P256, P384 = Wanted(ApplicationAlgorithm.ECC_P256), Wanted(ApplicationAlgorithm.ECC_P384)


@pytest.fixture
def acts(archived):
    return Serving(archived)


@pytest.fixture
def key(tmp_path):
    """Where a key could be."""
    return tmp_path / "a.pem"


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "apps"


@pytest.fixture
def refused(acts, key, directory, archived):
    """Asks for a key that cannot be had; nothing has changed then."""

    def ask(kind: type[LmsError], words: str, wanted: Wanted = P256) -> None:
        files = {path: path.read_bytes() for path in key.parent.iterdir() if path.is_file()}
        entries = archived.state.registry.entries
        with pytest.raises(kind, match=words):
            add(acts, key, directory, wanted)
        assert {path: path.read_bytes() for path in key.parent.iterdir() if path.is_file()} == files
        assert archived.state.registry.entries == entries

    return ask


def made(archived, template: bytes | None = None, parent: int = DRSK_HANDLE):
    """A key that another program made."""
    template = application_template(ApplicationAlgorithm.ECC_P256) if template is None else template
    return archived.tpm.create(parent, template, auth=NO_SECRET, data=NO_SECRET)


def pem(key, handle: int = DRSK_HANDLE, **how) -> bytes:
    return tss2_pem(tss2_private_key(key.public, key.private, handle, **how))


def test_a_file_that_is_no_container_stays_as_it_is(archived, key, refused):
    good = made(archived)
    for content, words in {
        b"": "there is none",
        b"-----BEGIN TSS2 PRIVATE KEY-----": "there is none",
        pem(good).replace(b"\n", b""): "there is none",
        pem(good) * 2: "base64 text is damaged",
        pem(good).replace(b"\nM", b"\n*", 1): "base64 text is damaged",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n": "there is none",
        pem(good, sealed=True): "of a kind",
        pem(good, empty_auth=False): "password of its own",
        pem(good, SRK_HANDLE): "not below 0x81000004",
        tss2_pem(b"\x30\x00"): "ends too early",
        tss2_pem(b"\x30\x05\x06"): "ends too early",
    }.items():
        key.write_bytes(content)
        refused(NotAContainer, words)
    key.unlink()
    key.mkdir()
    refused(FileProblem, "is a directory")


def test_a_key_that_dies_with_the_tpm_or_does_not_load_is_not_taken_over(archived, key, refused, acts, directory):
    archived.tpm.trust_salt(archived.state.srk_name)
    key.write_bytes(pem(made(archived, signing_template(), SRK_HANDLE)))
    refused(NotMigratable, "fixedTPM")
    good = made(archived)
    key.write_bytes(pem(type(good)(good.public, good.private[:-1] + bytes((good.private[-1] ^ 1,)))))
    refused(BlobRefused, "altered")
    key.write_bytes(pem(good))
    assert add(acts, key, directory, P256)["changed"]


def test_no_key_takes_the_place_of_another(archived, key, refused, acts, directory, tmp_path):
    add(acts, key, directory, P256)
    refused(AnotherKey, "another one is in it", P384)
    brought = read_pkcs12(make_pkcs12(tmp_path).read_bytes(), Secret(PASSWORD), tmp_path)
    refused(AnotherKey, "another one is in it", Wanted(brought=brought))
    before = key.read_bytes()
    key.write_bytes(pem(made(archived)))
    refused(AnotherKey, "another key is in it", Wanted())
    assert [row["file"] for row in listed(acts)] == ["changed"]
    with pytest.raises(FileExists):
        export(acts, key, None, {})
    key.unlink()
    refused(AnotherKey, "another one is registered for it", P384)
    assert export(acts, key, None, {})["changed"]
    assert key.read_bytes() == before


def test_a_file_that_was_altered_is_told(archived, key, acts, directory):
    add(acts, key, directory, P256)
    before = key.read_bytes()
    for content in (b"", before[:-80], before.replace(b"BEGIN", b"begin"), re.sub(rb"..==|.=", b"AA==", before)):
        key.write_bytes(content)
        assert [row["file"] for row in listed(acts)] == ["changed"], content
    (entry,) = archived.state.registry.keys
    private = entry.key.private[:-1] + bytes((entry.key.private[-1] ^ 1,))
    key.write_bytes(pem(type(entry.key)(entry.key.public, private)))
    assert [row["file"] for row in listed(acts)] == ["changed"]
    key.write_bytes(before)
    assert [row["file"] for row in listed(acts)] == ["present"]
    assert signs(archived, key)


def test_a_key_that_got_a_password_takes_no_place(archived, key, refused, acts, directory, tmp_path):
    """Whoever may use a key may have the TPM give it a password; its file says what he likes."""
    add(acts, key, directory, P256)
    good = read_tss2_pem(key.read_bytes()).key
    archived.let_go()
    tpm = ("-T", archived.machine.tcti)
    public, private, context = tmp_path / "public", tmp_path / "private", tmp_path / "context"
    public.write_bytes(good.public)
    private.write_bytes(good.private)
    for words in (
        ("tpm2_load", *tpm, "-C", f"{DRSK_HANDLE:#x}", "-u", public, "-r", private, "-c", context),
        ("tpm2_changeauth", *tpm, "-C", f"{DRSK_HANDLE:#x}", "-c", context, "-r", private, "a password"),
        ("tpm2_flushcontext", *tpm, "-t"),
    ):
        subprocess.run(list(map(str, words)), check=True, capture_output=True)
    key.write_bytes(pem(type(good)(good.public, private.read_bytes())))
    assert not signs(archived, key)
    refused(AnotherKey, "the key was altered in it", Wanted())
    assert [row["file"] for row in listed(acts)] == ["changed"]
    key.unlink()
    assert add(acts, key, directory, Wanted())["changed"]
    assert signs(archived, key)


def test_a_certificate_is_that_of_its_key(archived, key, refused, acts, directory, tmp_path):
    other = tmp_path / "other.pem"
    add(acts, other, directory, P256)
    theirs = certify(archived, other, tmp_path / "given.pem")
    wrong = Wanted(certificates=read_certificates(theirs.read_bytes(), theirs))
    refused(CertificateDiffers, "of another key", wrong)  # of a key that is not made yet there is none
    beside = tmp_path / "a.pem.crt"
    beside.write_bytes(theirs.read_bytes())
    refused(CertificateDiffers, "of another key")
    beside.write_bytes(b"no certificate")
    refused(CertificateDiffers, "no certificate")
    beside.unlink()
    add(acts, key, directory, P256)
    refused(CertificateDiffers, "of another key", wrong)
    beside.write_bytes(theirs.read_bytes())
    ours = certify(archived, key, tmp_path / "ours.pem")
    right = Wanted(certificates=read_certificates(ours.read_bytes(), ours))
    refused(CertificateDiffers, "of another key", right)  # what lies there is somebody's
    beside.unlink()
    assert add(acts, key, directory, right)["changed"]


def signed(public: object, subject: str) -> bytes:
    """A certificate in DER, of a key and a subject that somebody likes."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    begins = datetime(2025, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, public, 5, begins, begins.replace(year=2035))
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_certificate_that_a_program_wrote_is_shown_where_it_is_of_the_key_and_as_text(key, acts, directory):
    add(acts, key, directory, P256)
    ours = application_public_key(read_tss2_pem(key.read_bytes()).key.public)
    beside = key.with_name("a.pem.crt")
    beside.write_bytes(signed(ours, "\x1b]0;owned\x07\x1b[2J"))
    assert [row["certificate"] for row in listed(acts)] == [r"CN=\x1b]0\;owned\x07\x1b[2J"]
    beside.write_bytes(signed(ours, "AAAA").replace(b"AAAA", b"\xff\xfe\xfd\xfc"))
    assert ["certificate" in row for row in listed(acts)] == [False]
    with pytest.raises(CertificateDiffers, match="malformed"):
        add(acts, key, directory, P256)
    beside.write_bytes(signed(ec.generate_private_key(ec.SECP256R1()).public_key(), "host.example"))
    assert ["certificate" in row for row in listed(acts)] == [False]
    beside.write_bytes(signed(ours, "host.example"))
    key.unlink()
    assert [(row["file"], row["certificate"]) for row in listed(acts)] == [("missing", "CN=host.example")]


def test_a_pkcs12_file_opens_by_its_password_and_has_one_key_of_a_tpm(tmp_path):
    content = make_pkcs12(tmp_path).read_bytes()
    for other, password in ((content, b"a guess"), (content, b""), (content[:-9], PASSWORD), (b"", PASSWORD)):
        with pytest.raises(Pkcs12Refused, match="the password is wrong, or"):
            read_pkcs12(other, Secret(password), tmp_path)
    (certificate,) = read_certificates((tmp_path / "soft.crt").read_bytes(), tmp_path).chain

    def file(key, cert=None, others=None) -> bytes:
        return serialize_key_and_certificates(None, key, cert, others, BestAvailableEncryption(PASSWORD))

    with pytest.raises(KeyUnsupported):
        read_pkcs12(file(ec.generate_private_key(ec.SECP521R1())), Secret(PASSWORD), tmp_path)
    with pytest.raises(Pkcs12Refused, match="no private key"):
        read_pkcs12(file(None, None, [certificate]), Secret(PASSWORD), tmp_path)
    with pytest.raises(CertificateDiffers):
        read_pkcs12(file(ec.generate_private_key(ec.SECP256R1()), None, [certificate]), Secret(PASSWORD), tmp_path)
    plain = serialize_key_and_certificates(None, ec.generate_private_key(ec.SECP256R1()), None, None, NoEncryption())
    assert read_pkcs12(plain, Secret(b""), tmp_path).certificates is None


@pytest.mark.parametrize("how", [(), ("-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1")])
def test_a_pkcs12_file_that_would_be_opened_for_hours_is_refused(tmp_path, how):
    """Each of its derivations: of the key, of the certificates, of the MAC."""
    make_pkcs12(tmp_path)
    made = ("pkcs12", "-export", "-inkey", tmp_path / "soft.key", "-in", tmp_path / "soft.crt", "-iter", 0x20202)
    openssl(*made, *how, "-passout", f"file:{tmp_path}/p12-password", "-out", tmp_path / "slow.p12")
    content, rounds = (tmp_path / "slow.p12").read_bytes(), bytes.fromhex("0203020202")
    assert read_pkcs12(content, Secret(PASSWORD), tmp_path).certificates
    parts = content.split(rounds)
    assert len(parts) == 4  # that is three derivations
    for n in range(1, len(parts)):
        absurd = rounds.join(parts[:n]) + bytes.fromhex("02037fffff") + rounds.join(parts[n:])
        with pytest.raises(Pkcs12Refused, match="rounds"):
            read_pkcs12(absurd, Secret(PASSWORD), tmp_path)


def test_what_cannot_be_done_is_told_before_anything_is(key, acts, directory, platform, tmp_path):
    with pytest.raises(BadRequest, match="this suffix"):
        add(acts, tmp_path / "a.crt", directory, P256)
    with pytest.raises(FileProblem, match="no such directory"):
        add(acts, tmp_path / "none" / "a.pem", directory, P256)
    with pytest.raises(NotRegistered):
        export(acts, key, None, {})
    with pytest.raises(NotProvisioned):
        add(Serving(platform), key, directory, P256)
    with pytest.raises(NotProvisioned):
        listed(Serving(platform))
    with locked(directory / "csp"), pytest.raises(Busy):
        add(acts, key, directory, P256)
    assert listed(acts) == []
    assert not key.exists()
    assert add(acts, key, directory, P256)["changed"]


def test_a_link_is_the_file_that_it_leads_to(key, acts, directory, tmp_path):
    add(acts, key, directory, P256)
    (tmp_path / "link.pem").symlink_to(key)
    assert not add(acts, tmp_path / "link.pem", directory, P256)["changed"]
    assert [row["path"] for row in listed(acts)] == [str(key)]
