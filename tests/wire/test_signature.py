"""The one form of XMLDSig: every byte counts, nothing can be wrapped around it, others verify it too."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from signxml import DigestAlgorithm, SignatureConfiguration, SignatureMethod, XMLVerifier

from lms.errors import DocumentError, MalformedStructure, NotCanonical, SchemaViolation, SignatureInvalid
from lms.model.packages import Signed
from lms.model.trust import Identity, Role
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.certificates import self_issue
from lms.wire.document import canonical
from lms.wire.exchange_v1 import DOCUMENTS
from lms.wire.package_v1 import read_package, write_package
from lms.wire.signature import read_signature, sign, verify
from lms.wire.token_v1 import write_owner_document
from tests.support.documents import NOW, make_owner, make_package, make_platform, owner_document, small_package, uuid
from tests.support.exchange import examples


@pytest.fixture(scope="module")
def good():
    return make_platform().signed(small_package())


def accepted(document):
    platform = make_platform()
    try:
        accept_package(document, PackageTrust(platform.world.owner, NOW, platform.id))
    except DocumentError:
        return False
    return True


def test_the_untouched_package_is_verified(good):
    assert accepted(good)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # of a changed certificate
@pytest.mark.parametrize("bit", [0x01, 0x20])
def test_every_changed_byte_is_refused(good, bit):
    for at in range(len(good)):
        changed = good[:at] + bytes((good[at] ^ bit,)) + good[at + 1 :]
        assert not accepted(changed), (at, changed[at - 20 : at + 20])


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_every_dropped_or_doubled_byte_is_refused(good):
    for at in range(len(good)):
        assert not accepted(good[:at] + good[at + 1 :])
        assert not accepted(good[:at] + good[at : at + 1] + good[at:])


def _judged_by_signxml(document, certificate):
    pem = x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)
    config = SignatureConfiguration(
        location="./",
        expect_references=1,
        signature_methods=frozenset({SignatureMethod.ECDSA_SHA256}),
        digest_algorithms=frozenset({DigestAlgorithm.SHA256}),
    )
    return XMLVerifier().verify(document, x509_cert=pem.decode(), expect_config=config).signed_xml


def test_signxml_verifies_packages_and_owner_documents():
    platform = make_platform()
    package = platform.signed(make_package())
    assert canonical(_judged_by_signxml(package, platform.signer.certificates[0])) == write_package(make_package())
    owner = make_owner().owner
    seen = _judged_by_signxml(owner.document, owner.ca_certificate)
    assert seen.tag == "{urn:localmigration:token:1}OwnerDocument"


@pytest.mark.parametrize("label", examples())
def test_signxml_verifies_exchange_documents(label):
    root, value, signer = examples()[label]
    unsigned = DOCUMENTS[root].write(value)
    assert canonical(_judged_by_signxml(sign(unsigned, signer), signer.certificates[0])) == unsigned


def _signature(document):
    return document[document.index(b"<ds:Signature ") : document.index(b"</ds:Signature>") + 15]


def test_signature_of_another_package_is_refused(good):
    other = make_platform().signed(replace(small_package(), version="2"))
    assert not accepted(good.replace(_signature(good), _signature(other)))


@pytest.mark.parametrize("first", [True, False])
def test_two_signatures_are_refused(good, first):
    other = make_platform("other").signed(small_package())
    pair = (_signature(good), _signature(other)) if first else (_signature(other), _signature(good))
    with pytest.raises(SchemaViolation):
        read_package(good.replace(_signature(good), b"".join(pair)))


@pytest.mark.parametrize("place", [b"<Header>", b"<MigratingKey>", b"<MigrationBlob>"])
def test_signature_elsewhere_is_refused(good, place):
    moved = good.replace(_signature(good), b"").replace(place, _signature(good) + place, 1)
    with pytest.raises(SchemaViolation):
        read_package(moved)


@pytest.mark.parametrize("wrapper", ["Object", "inside", "around"])
def test_wrapped_package_is_refused(good, wrapper):
    """The signed package stays whole inside a forged one."""
    forged = write_package(replace(small_package(), version="evil"))
    signature, end = _signature(good), forged.rindex(b"</")
    inherited = good.replace(b' xmlns="urn:localmigration:package:1"', b"")
    if wrapper == "Object":
        inner = signature.replace(b"</ds:Signature>", b"<ds:Object>" + good + b"</ds:Object></ds:Signature>")
        document = forged[:end] + inner + forged[end:]
    elif wrapper == "inside":
        document = forged[:end] + inherited + signature + forged[end:]
    else:
        document = forged[:end].replace(b"<Header>", inherited + b"<Header>", 1) + signature + forged[end:]
    with pytest.raises((NotCanonical, SchemaViolation)):
        read_package(document)


@pytest.mark.parametrize("uri", [b"#_x", b"http://192.0.2.1/", b"#xpointer(/)"])
def test_reference_to_something_else_is_refused(good, uri):
    assert not accepted(good.replace(b'URI=""', b'URI="' + uri + b'"'))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"xmldsig-more#ecdsa-sha256", b"xmldsig-more#ecdsa-sha1"),
        (b"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", b"http://www.w3.org/2000/09/xmldsig#hmac-sha1"),
        (b"xmlenc#sha256", b"xmlenc#sha512"),
        (b"xmldsig#enveloped-signature", b"xmldsig#base64"),
        (b"http://www.w3.org/2001/10/xml-exc-c14n#", b"http://www.w3.org/TR/2001/REC-xml-c14n-20010315"),
        (b"xml-exc-c14n#", b"xml-exc-c14n#WithComments"),
        (b"http://www.w3.org/2001/10/xml-exc-c14n#", b"http://www.w3.org/TR/1999/REC-xslt-19991116"),
    ],
)
def test_other_algorithm_is_refused(good, old, new):
    with pytest.raises(SignatureInvalid):
        read_package(good.replace(old, new))


def test_signature_value_of_another_length_is_refused(good):
    start, end = good.index(b"<ds:SignatureValue>") + 19, good.index(b"</ds:SignatureValue>")
    for size in (0, 63, 65, 128):
        value = base64.b64encode(bytes(size)) or b"AA=="
        with pytest.raises(SignatureInvalid):
            read_package(good[:start] + value + good[end:])


def test_tree_without_signature_is_refused():
    for document in (b"<a></a>", b"<a><b></b></a>"):
        with pytest.raises(SignatureInvalid):
            read_signature(document, etree.fromstring(document))


def test_null_signature_is_refused(good):
    signed = read_package(good).signed
    for value in (bytes(64), b"\xff" * 64, signed.value[32:] + signed.value[:32]):
        with pytest.raises(SignatureInvalid):
            verify(replace(signed, value=value))


def _certificate_of(key):
    return self_issue(Identity(Role.PLATFORM, uuid("platform")), key, NOW)


@pytest.mark.parametrize(
    "certificate",
    [b"", b"garbage", _certificate_of(ec.generate_private_key(ec.SECP384R1()))],
    ids=["empty", "garbage", "p384"],
)
def test_certificate_that_is_none_of_ours_is_refused(certificate):
    with pytest.raises(SignatureInvalid):
        verify(Signed(b"x", bytes(64), (certificate,)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030109")),
        (bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0299")),
        (bytes.fromhex("a003020102"), bytes.fromhex("a003020107")),
        (bytes.fromhex("0603551d0e"), bytes.fromhex("0603551d23")),
        (bytes.fromhex("862e75726e"), bytes.fromhex("832e75726e")),
    ],
    ids=["unknown-curve", "unknown-algorithm", "unknown-version", "doubled-extension", "unknown-general-name"],
)
def test_certificate_that_cryptography_does_not_know_is_refused_by_name(old, new):
    certificate = make_platform().self_issued.certificates[0]
    if old not in certificate:
        old, new = old[:1] + bytes((certificate[certificate.index(b"urn:") - 1],)) + old[2:], new
        new = new[:1] + old[1:2] + new[2:]
    assert old in certificate
    with pytest.raises(SignatureInvalid):
        verify(Signed(b"x", bytes(64), (certificate.replace(old, new, 1),)))


def test_signer_that_gives_no_signature_is_refused():
    class Broken:
        certificates = (b"x",)

        def sign(self, digest):
            return b""

    with pytest.raises(MalformedStructure):
        sign(write_owner_document(owner_document(make_owner().keys)), Broken())
