"""Hostile XML is refused before anything in it is believed (PROTOCOL §6, acceptance order)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from lms.errors import (
    DoctypeForbidden,
    MalformedXml,
    NotCanonical,
    SchemaViolation,
    SignatureInvalid,
    TooLarge,
    WrongDocument,
)
from lms.wire import document
from lms.wire.document import DocumentKind, claimed_root, read_document, root_name
from lms.wire.exchange_v1 import CertificateBundle, read_bundle, write_bundle
from lms.wire.package_v1 import KIND, NAMESPACE, read_package
from lms.wire.token_v1 import read_owner_document, read_sheet
from tests.support.documents import make_owner, make_platform, small_package

XSI = b'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


@pytest.fixture(scope="module")
def good():
    return make_platform().signed(small_package())


def refused(document, error):
    with pytest.raises(error) as caught:
        read_package(document)
    assert type(caught.value) is error


def replaced(document, old, new):
    assert document.count(old) >= 1
    return document.replace(old, new, 1)


def test_the_untouched_package_is_read(good):
    assert read_package(good).content == small_package()


def test_size_cap_comes_before_parsing():
    refused(b"<" * (KIND.max_bytes + 1), TooLarge)
    with pytest.raises(TooLarge):
        read_sheet(bytes(8 * 1024))


def test_size_cap_is_inclusive(good):
    exact = DocumentKind(KIND.namespace, KIND.root, KIND.schema, len(good))
    assert read_document(good, exact).tag == KIND.tag
    with pytest.raises(TooLarge):
        read_document(good, DocumentKind(KIND.namespace, KIND.root, KIND.schema, len(good) - 1))


LAUGHS = b"<!DOCTYPE l [<!ENTITY a 'ha'>" + b"".join(
    b"<!ENTITY %c '%s'>" % (c, b"&%c;" % (c - 1) * 10) for c in range(ord("b"), ord("n"))
)


@pytest.mark.parametrize(
    "doctype",
    [
        b"<!DOCTYPE MigrationPackage>",
        LAUGHS + b"]>",
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd">',
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
        b'<!DOCTYPE x [<!ENTITY % e SYSTEM "http://192.0.2.1/x"> %e;]>',
        b'<!DOCTYPE x [<!ATTLIST MigrationPackage Version CDATA "1">]>',
        b"<!-- before --><!DOCTYPE x>",
    ],
    ids=["bare", "billion-laughs", "external-subset", "external-entity", "parameter-entity", "default", "hidden"],
)
def test_doctype_is_refused(good, doctype):
    refused(doctype + good, DoctypeForbidden)
    refused(b'<?xml version="1.0"?>' + doctype + good, DoctypeForbidden)
    with pytest.raises(DoctypeForbidden):
        root_name(doctype + good)


def test_doctype_hidden_from_the_first_parser_by_an_encoding_is_refused(good):
    # Read as UTF-7 the comment ends, and a DOCTYPE follows.
    hidden = b'<?xml version="1.0" encoding="UTF-7"?><!--+AC0ALQA+-+ADwAIQ-DOCTYPE x+AD4-+ADwAIQAtAC0- -->'
    refused(hidden + good, NotCanonical)


@pytest.mark.parametrize("encoding", ["foo", "UTF-7", "UTF-16", "ISO-8859-1", "utf-8", "x" * 5000])
def test_any_declared_encoding_is_refused(good, encoding):
    refused(b'<?xml version="1.0" encoding="%s"?>' % encoding.encode() + good, NotCanonical)


def test_declaration_is_refused(good):
    refused(b'<?xml version="1.0"?>' + good, NotCanonical)
    refused(b'<?xml version="1.1"?>' + good, NotCanonical)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp037"])
def test_other_encodings_are_refused(good, encoding):
    refused(good.decode().encode(encoding), MalformedXml)


def test_byte_order_mark_is_refused(good):
    refused(b"\xef\xbb\xbf" + good, NotCanonical)


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\x00", b"\x1b", b"&#0;", b"&#xFFFE;", b"&e;"])
def test_text_that_is_no_utf8_or_no_xml_is_refused(good, bad):
    refused(replaced(good, b"host.example", b"host" + bad), MalformedXml)


@pytest.mark.parametrize("truncated", [b"", b" ", b"<", b"<a", b"<a>", b"<!-- -->", b"text", b"<a/><b/>"])
def test_no_document_at_all_is_refused(truncated):
    refused(truncated, MalformedXml)
    with pytest.raises(MalformedXml):
        root_name(truncated)


def test_truncated_document_is_refused(good):
    for end in range(0, len(good), 97):
        refused(good[:end], MalformedXml)


@pytest.mark.parametrize("depth", [17, 300, 100_000])
def test_deep_nesting_is_refused(depth):
    refused(b'<MigrationPackage xmlns="%s">' % NAMESPACE.encode() + b"<a>" * depth + b"</a>" * depth, MalformedXml)
    nested = b"<a>" * depth + b"</a>" * depth
    refused(nested, MalformedXml)


@pytest.mark.parametrize("markup", [b"<a></a>", b"<a b=''></a>", b'<a b=""></a>'])
def test_tree_far_larger_than_its_bytes_is_refused_unread(markup):
    several = 3_000_000 // 2
    refused(b"<a>" + markup * several + b"</a>", MalformedXml)
    with pytest.raises(MalformedXml):
        root_name(b"<a>" + markup * several + b"</a>")


def test_claimed_root_is_the_first_element_whatever_follows(good):
    assert claimed_root(good) == "MigrationPackage"
    assert claimed_root(b"<p:a><") == "a"
    for bad in (b"", b"text", b"<!-- -->", b"<"):
        with pytest.raises(MalformedXml):
            claimed_root(bad)
    with pytest.raises(DoctypeForbidden):
        claimed_root(b"<!DOCTYPE a>" + good)


def test_depth_is_counted_to_the_element():
    with pytest.raises(WrongDocument):
        read_package(b"<a>" * 16 + b"</a>" * 16)


def test_another_root_is_refused(good):
    with pytest.raises(WrongDocument):
        read_owner_document(good)
    with pytest.raises(WrongDocument):
        read_package(make_owner().owner.document)
    with pytest.raises(WrongDocument):
        read_package(good.replace(b"urn:localmigration:package:1", b"urn:localmigration:package:2"))
    assert root_name(good) == "MigrationPackage"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<Flow>", b"<Flow >"),
        (b"<Flow>archive</Flow>", b"<Flow>archive</Flow >"),
        (b"<Flow>", b"\n<Flow>"),
        (b"<Flow>", b"<!-- x --><Flow>"),
        (b"<Flow>", b"<Flow><!-- x -->"),
        (b"<Flow>archive", b"<Flow><![CDATA[archive]]>"),
        (b"<Flow>archive", b"<Flow>&#97;rchive"),
        (b"host.example", b"host\r.example"),
        (b"host.example", b"host>example"),
        (b' Version="1"', b" Version='1'"),
        (b' Version="1"', b'  Version="1"'),
        (b' Version="1"', b' Version="&#49;"'),
        (b'Kind="RecoveryToken"', b'Kind="RecoveryToken" '),
        (b"<Header>", b'<Header xmlns="urn:localmigration:package:1">'),
        (b"<Header>", b'<Header xmlns:unused="urn:x">'),
        (b"<MigrationPackage ", b'<MigrationPackage xmlns:ds="http://www.w3.org/2000/09/xmldsig#" '),
        (b"<ds:KeyInfo>", b"<ds:KeyInfo><!-- x -->"),
        (b"<ds:KeyInfo>", b"<ds:KeyInfo\n>"),
        (b'#"></ds:CanonicalizationMethod>', b'#" ></ds:CanonicalizationMethod>'),
    ],
)
def test_other_spelling_is_refused(good, old, new):
    with pytest.raises((NotCanonical, SchemaViolation, SignatureInvalid)):
        read_package(replaced(good, old, new))


def test_attribute_order_is_refused(good):
    old = good[good.index(b" Id=") : good.index(b"><Header>")]
    identity, version = old.split()
    refused(good.replace(old, b" " + version + b" " + identity), NotCanonical)


@pytest.mark.parametrize("where", [b"", b"\n"])
@pytest.mark.parametrize("what", [b"\n", b" ", b"<!-- x -->", b"<?x y?>"])
def test_anything_outside_the_root_is_refused(good, what, where):
    refused(what + where + good, NotCanonical)
    refused(good + where + what, NotCanonical)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"<Flow>", b"<?x y?><Flow>"), (b"<KeyID>000B", b"<KeyID>00<?x y?>0B"), (b"<ds:KeyInfo>", b"<ds:KeyInfo><?x y?>")],
    ids=["between", "splits-a-text", "in-the-signature"],
)
def test_processing_instruction_is_refused(good, old, new):
    refused(replaced(good, old, new), SchemaViolation)


@pytest.mark.parametrize(
    "attribute",
    [
        XSI + b' xsi:schemaLocation="urn:x http://192.0.2.1/x.xsd"',
        XSI + b' xsi:noNamespaceSchemaLocation="/etc/passwd"',
        XSI + b' xsi:type="Header"',
        b'xml:lang="de"',
    ],
)
def test_attributes_that_every_schema_allows_are_refused(good, attribute):
    refused(replaced(good, b"<Flow>", b"<Flow " + attribute + b">"), SchemaViolation)


@pytest.mark.parametrize("text", [b"\n%s", b"%s\n", b"%s \t"])
@pytest.mark.parametrize("element", [b"DigestValue", b"SignatureValue", b"X509Certificate"])
def test_white_space_inside_the_signature_is_refused(good, element, text):
    start = good.index(b"<ds:" + element + b">") + len(element) + 5
    end = good.index(b"<", start)
    refused(good[:start] + text % good[start:end] + good[end:], SchemaViolation)


@pytest.mark.parametrize("tag", [b"<ds:SignedInfo>", b"<ds:Reference ", b"<ds:SignatureValue>", b"</ds:Signature>"])
def test_white_space_between_elements_of_the_signature_is_refused(good, tag):
    refused(replaced(good, tag, b"\n  " + tag), SignatureInvalid)


def test_other_prefix_of_the_signature_is_refused(good):
    renamed = good.replace(b"<ds:", b"<dsig:").replace(b"</ds:", b"</dsig:").replace(b"xmlns:ds=", b"xmlns:dsig=")
    refused(renamed, SignatureInvalid)


def test_package_under_a_prefix_is_refused(good):
    body = good[: good.index(b"<ds:Signature")].replace(b"</", b"</p:").replace(b"xmlns=", b"xmlns:p=")
    prefixed = body.replace(b"<", b"<p:").replace(b"<p:/p:", b"</p:")
    signature = good[good.index(b"<ds:Signature") : good.rindex(b"</")]
    with pytest.raises(SignatureInvalid):
        read_package(prefixed + signature + b"</p:MigrationPackage>")


def test_non_strict_base64_is_refused(good):
    start = good.index(b"<ds:SignatureValue>") + 19
    end = good.index(b"=", start)
    # The last character before the padding carries bits that no byte takes.
    twin = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    at = twin.index(good[end - 1 : end])
    refused(good[: end - 1] + twin[at ^ 1 : (at ^ 1) + 1] + good[end:], SignatureInvalid)


def test_unsigned_documents_are_refused_by_the_schema(good):
    start, end = good.index(b"<ds:Signature"), good.index(b"</ds:Signature>") + 15
    refused(good[:start] + good[end:], SchemaViolation)


def test_documents_that_are_read_at_once_are_judged_each_by_itself(good):
    """Strangers of an authority send what no schema allows while others send what is good."""
    bad = good.replace(b"HostName>", b"HostNome>")

    def judge(number: int) -> list[bool]:
        judged = []
        for turn in range(50):
            try:
                read_package(bad if (number + turn) % 2 else good)
            except SchemaViolation as error:
                judged.append("HostNome" not in str(error))
            else:
                judged.append(True)
        return judged

    with ThreadPoolExecutor(4) as threads:
        for number, judged in enumerate(threads.map(judge, range(4))):
            assert judged == [(number + turn) % 2 == 0 for turn in range(50)]


def test_schemas_are_built_while_other_threads_build_theirs():
    """lxml has one loader of imports for all threads: an import was asked of another thread's."""

    def build(turns: int) -> None:
        for _ in range(turns):
            document._schema(KIND.schema)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(build, [100] * 4)) == [None] * 4


def test_certificate_bundle_round_trip():
    bundle = CertificateBundle((b"one", b"two"))
    assert read_bundle(write_bundle(bundle)) == bundle
    assert read_bundle(write_bundle(CertificateBundle(()))) == CertificateBundle(())


def test_root_name_has_a_cap_too():
    with pytest.raises(TooLarge):
        root_name(bytes(256 * 1024 * 1024 + 1))
