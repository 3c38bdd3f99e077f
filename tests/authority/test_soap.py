"""The service as bytes to bytes: what is no request is refused, and a fault says no more than it may (PROTOCOL §7)."""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib.resources import files

import pytest
import requests
from lxml import etree
from zeep import Client, Settings, Transport
from zeep.exceptions import Fault as ZeepFault

from lms import errors
from lms.authority.soap import CALLS, answer, busy
from lms.errors import ApprovalPending, AuthorityBusy, BlobRefused, Denied, LmsError, NotAtAuthority, VaultFailed
from lms.model.authorities import Kind, Peer
from lms.wire.document import MAX_DEPTH
from lms.wire.envelope import MAX_REQUEST, write_envelope
from lms.wire.service_v1 import (
    FAULT_TAG,
    NAMESPACE,
    OPERATIONS,
    WSDL,
    AuthenticateRequest,
    DeleteRequest,
    DownloadRequest,
    InformationRequest,
    KeyAnswer,
    KeyRequest,
    Proof,
    QueryRequest,
    UploadRequest,
    check_message,
    read_fault,
)
from tests.support.endpoint import (
    CHALLENGE,
    CONVERSATIONS,
    HELLO,
    RECEIPT,
    SESSION,
    TOKEN,
    WHEN,
    Endpoint,
)

SOAP = "http://www.w3.org/2003/05/soap-envelope"
WSDL_PATH = str(files("lms.wire") / "schemas" / WSDL)
STRANGER = Peer("192.0.2.7", None)


def envelope(operation="GetMAKey", request=None):
    return write_envelope(OPERATIONS[operation].write_request(request or KeyRequest()))


def message_of(reply):
    (message,) = etree.fromstring(reply.envelope).find(f"{{{SOAP}}}Body")
    return message


def fault_of(reply):
    """SOAP's code and our typed fault, which is schema-valid."""
    message = message_of(reply)
    assert message.tag == f"{{{SOAP}}}Fault"
    (detail,) = message.find(f"{{{SOAP}}}Detail")
    assert detail.tag == FAULT_TAG
    check_message(detail)
    fault = read_fault(detail)
    assert (fault.code, fault.correlation_id) == (reply.outcome, reply.correlation_id)
    assert (message.find(f"{{{SOAP}}}Reason/{{{SOAP}}}Text").text or "") == fault.message
    return message.find(f"{{{SOAP}}}Code/{{{SOAP}}}Value").text.removeprefix("soap:"), fault


def refused(request, code, soap_code="Sender", status=400):
    """The request is refused with this code, and nothing arrives at the port; the good one does."""
    endpoint = Endpoint()
    reply = answer(request, endpoint)
    assert fault_of(reply)[0] == soap_code
    assert (reply.outcome, reply.status, endpoint.calls) == (code, status, [])
    assert answer(envelope(), endpoint).outcome == "done"
    return fault_of(reply)[1]


def test_each_operation_has_a_call():
    assert CALLS.keys() == OPERATIONS.keys() == {operation for operation, *_ in CONVERSATIONS}


@pytest.mark.parametrize(("operation", "request_", "call", "expected"), CONVERSATIONS)
def test_request_arrives_and_its_answer_is_schema_valid(operation, request_, call, expected):
    endpoint = Endpoint()
    reply = answer(envelope(operation, request_), endpoint)
    assert endpoint.calls == [call]
    assert (reply.status, reply.operation, reply.outcome) == (200, operation, "done")
    message = message_of(reply)
    check_message(message)
    assert OPERATIONS[operation].read_answer(message) == expected


# What is no request


@pytest.mark.parametrize(
    "hostile",
    [b"", b" ", b"<", b"<a>", b"\xff", b"POST", b"<a/><b/>", b"\x00" * 99, envelope()[:-1], b"<?x y?>" + envelope()],
)
def test_what_is_no_xml_is_refused(hostile):
    refused(hostile, "MalformedXml")


def test_envelope_of_another_version_is_refused():
    older = envelope().replace(SOAP.encode(), b"http://schemas.xmlsoap.org/soap/envelope/")
    refused(older, "WrongDocument", "VersionMismatch", 500)
    refused(b"<a/>", "WrongDocument", "VersionMismatch", 500)


@pytest.mark.parametrize(
    "doctype", [b"<!DOCTYPE a>", b'<!DOCTYPE a SYSTEM "file:///etc/passwd">', b"<!DOCTYPE a [<!ENTITY b 'c'>]>"]
)
def test_doctype_is_refused(doctype):
    refused(doctype + envelope(), "DoctypeForbidden")


def test_size_is_capped_before_parsing():
    refused(b"<" * (MAX_REQUEST + 1), "TooLarge")


def test_tree_larger_than_its_bytes_is_refused_before_parsing():
    refused(envelope().replace(b"</soap:Body>", b"<a/>" * 600 + b"</soap:Body>"), "MalformedXml")
    attributes = b" ".join(b'a%d="1"' % n for n in range(600))
    refused(envelope().replace(b"<soap:Body>", b"<soap:Body " + attributes + b">"), "MalformedXml")
    refused(envelope().replace(b"<soap:Body>", b"<soap:Body " + attributes.replace(b'"', b"'") + b">"), "MalformedXml")


@pytest.mark.parametrize("depth", [MAX_DEPTH, 200])
def test_deep_nesting_is_refused(depth):
    refused(write_envelope(b"<a>" * depth + b"</a>" * depth), "MalformedXml")


@pytest.mark.parametrize("intruder", [b"<!-- x -->", b"<?x y?>"])
@pytest.mark.parametrize("place", [b"</soap:Body>", b"</ID>", b"<soap:Body>"])
def test_comment_or_instruction_that_could_split_a_text_is_refused(intruder, place):
    request = envelope("Delete", DeleteRequest(None, "abc"))
    refused(request.replace(place, intruder + place), "MalformedXml")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<soap:Body></soap:Body><soap:Body></soap:Body>",
        b"<soap:Body></soap:Body><soap:Header></soap:Header>",
        b"<soap:Header></soap:Header>",
        b"<soap:Body></soap:Body><a></a>",
        b"<Body></Body>",
        b"<soap:Body></soap:Body>",
        b"<soap:Body>text</soap:Body>",
    ],
)
def test_envelope_without_exactly_one_body_and_message_is_refused(body):
    refused(f'<soap:Envelope xmlns:soap="{SOAP}">'.encode() + body + b"</soap:Envelope>", "SchemaViolation")


def test_two_messages_are_refused():
    twice = OPERATIONS["GetMAKey"].write_request(KeyRequest()) * 2
    refused(write_envelope(twice), "SchemaViolation")


@pytest.mark.parametrize("said", ["1", "true", " true ", "TRUE"])
def test_header_that_must_be_understood_is_refused(said):
    header = f'<soap:Header><a xmlns="urn:a" soap:mustUnderstand="{said}"/></soap:Header>'.encode()
    refused(envelope().replace(b"<soap:Body>", header + b"<soap:Body>"), "UnsupportedVersion", "MustUnderstand", 500)


@pytest.mark.parametrize("said", ['soap:mustUnderstand="0"', 'soap:mustUnderstand="false"', ""])
def test_header_that_need_not_be_understood_is_passed_over(said):
    header = f'<soap:Header><a xmlns="urn:a" {said}/></soap:Header>'.encode()
    assert answer(envelope().replace(b"<soap:Body>", header + b"<soap:Body>"), Endpoint()).outcome == "done"


@pytest.mark.parametrize(
    "message",
    [
        b'<GetMAKey xmlns="urn:localmigration:service:2"/>',
        b"<GetMAKey/>",
        f'<Purge xmlns="{NAMESPACE}"/>'.encode(),
        OPERATIONS["GetMAKey"].write_answer(KeyAnswer(b"vault")),
        f'<GetMAKey xmlns="{NAMESPACE}">text</GetMAKey>'.encode(),
        f'<GetMAKey xmlns="{NAMESPACE}" a="b"/>'.encode(),
        f'<GetMAKey xmlns="{NAMESPACE}" xmlns:x="http://www.w3.org/2001/XMLSchema-instance" x:nil="1"/>'.encode(),
        f'<Authenticate xmlns="{NAMESPACE}"/>'.encode(),
        f'<Upload xmlns="{NAMESPACE}"/>'.encode(),
    ],
)
def test_message_that_is_no_request_is_refused(message):
    refused(write_envelope(message), "SchemaViolation")


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("Upload", UploadRequest(b"t" * 31, b"document")),
        ("Upload", UploadRequest(b"t" * 33, b"document")),
        ("Upload", UploadRequest(None, b"")),
        ("Delete", DeleteRequest(None, "../x")),
        ("Delete", DeleteRequest(None, "a" * 65)),
        ("Download", DownloadRequest(None, Kind.PACKAGE, "x y")),
        ("Authenticate", AuthenticateRequest(HELLO, Proof(bytes(32), bytes(32)))),
        ("Authenticate", AuthenticateRequest(replace(HELLO, client_nonce=bytes(31)), None)),
        ("Authenticate", AuthenticateRequest(replace(HELLO, ek=bytes(1025)), None)),
        ("Authenticate", AuthenticateRequest(replace(HELLO, ek_certificates=(b"c",) * 17), None)),
        ("Authenticate", AuthenticateRequest(None, Proof(bytes(32), bytes(31)))),
    ],
)
def test_value_that_the_schema_does_not_allow_is_refused(operation, request_):
    refused(envelope(operation, request_), "SchemaViolation")


@pytest.mark.parametrize("spelling", ["ZG9j\nZG9j", " ZG9j", "ZG9", "ZG9=", "ZG9jZ===", "ZG9k====", "Zh=="])
def test_base64_in_another_spelling_is_refused(spelling):
    request = envelope("Upload", UploadRequest(None, b"doc")).replace(b"ZG9j", spelling.encode())
    refused(request, "SchemaViolation")


# What goes wrong behind the port


def answered(error):
    return answer(envelope(), Endpoint(error))


def test_error_that_may_leave_is_a_typed_fault_of_its_name():
    code, fault = fault_of(answered(NotAtAuthority("cannot find <it>: 'nothing' & more")))
    assert (code, fault.code, fault.message) == ("Sender", "NotAtAuthority", "cannot find <it>: 'nothing' & more")
    assert (fault.retry_after_s, fault.request_id) == (None, None)
    assert fault_of(answered(BlobRefused("cannot open")))[1].code == "BlobRefused"


@pytest.mark.parametrize("kind", [ApprovalPending, Denied])
def test_fault_about_a_request_carries_its_id(kind):
    assert fault_of(answered(kind("cannot go on", b"r" * 32)))[1].request_id == b"r" * 32
    assert fault_of(answered(kind("cannot go on")))[1].request_id is None


def test_fault_says_when_to_come_again():
    code, fault = fault_of(answered(AuthorityBusy("cannot answer now")))
    assert (code, answered(AuthorityBusy("x")).status) == ("Receiver", 500)
    assert fault.retry_after_s is not None
    assert fault_of(answered(ApprovalPending("cannot go on")))[1].retry_after_s is not None
    assert fault_of(busy())[1].code == "AuthorityBusy"


@pytest.mark.parametrize("text", ["x" * 9999, "zero \x00, bell \a, line\n", "Grüße \ud800 \U000e0001 \u20ac", ""])
def test_any_text_makes_a_schema_valid_fault(text):
    assert fault_of(answered(NotAtAuthority(text)))[1].code == "NotAtAuthority"


STAY = ["FileProblem", "WrongPassword", "TpmFailed", "BadConfiguration", "VaultFailed", "LmsError", "ClockUnset"]


@pytest.mark.parametrize("name", STAY)
def test_error_of_the_authority_itself_stays_there(name, caplog):
    with caplog.at_level(logging.ERROR):
        reply = answered(getattr(errors, name)("cannot open '/var/lib/lms/place'"))
    code, fault = fault_of(reply)
    assert (code, fault.code, reply.status) == ("Receiver", "Internal", 500)
    assert b"place" not in reply.envelope
    assert name.encode() not in reply.envelope
    assert str(reply.correlation_id) in caplog.text
    assert "place" in caplog.text


@pytest.mark.parametrize(
    "error", [KeyError("secret"), RecursionError("secret"), ZeroDivisionError, MemoryError("secret")]
)
def test_unexpected_exception_shows_neither_its_text_nor_a_traceback(error, caplog):
    with caplog.at_level(logging.DEBUG):
        reply = answered(error)
    assert fault_of(reply)[1].code == "Internal"
    assert b"secret" not in reply.envelope
    assert b"rror:" not in reply.envelope
    (record,) = caplog.records
    assert record.exc_info is None
    assert "secret" not in caplog.text
    assert str(reply.correlation_id) in caplog.text
    assert "endpoint.py:" in caplog.text


def test_every_error_class_leaves_or_stays_by_rule():
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, LmsError)]
    for kind in classes:
        code = answered(kind("cannot")).outcome
        assert code in (kind.__name__, "Internal")
        if kind.blame in (errors.Blame.US, errors.Blame.CALLER, errors.Blame.AUTHORISATION):
            assert code == "Internal"
    assert answered(VaultFailed("cannot")).outcome == "Internal"


# The authority itself, to strangers


@pytest.mark.parametrize(
    ("operation", "request_", "code"),
    [
        ("Query", QueryRequest(None), "NotAuthorised"),
        ("Query", QueryRequest(TOKEN), "SessionExpired"),
        ("Delete", DeleteRequest(None, RECEIPT.id), "NotAuthorised"),
        ("Delete", DeleteRequest(TOKEN, RECEIPT.id), "SessionExpired"),
        ("Download", DownloadRequest(None, Kind.TRUST_LIST, ""), "NotAuthorised"),
        ("Download", DownloadRequest(TOKEN, Kind.PACKAGE, RECEIPT.id), "SessionExpired"),
        ("Upload", UploadRequest(TOKEN, b"<MigrationPackage/>"), "SessionExpired"),
        ("Upload", UploadRequest(None, b"<EnrolmentRequest/>"), "NotAuthorised"),
        ("Upload", UploadRequest(None, b"not looked at"), "NotAuthorised"),
        ("Authenticate", AuthenticateRequest(None, Proof(bytes(32), bytes(32))), "NotAuthenticated"),
        ("Authenticate", AuthenticateRequest(replace(HELLO, ek=b"junk"), None), "MalformedStructure"),
        ("Authenticate", AuthenticateRequest(replace(HELLO, srk=HELLO.ek), None), "BadAttributes"),
    ],
)
def test_stranger_is_refused_by_name(authority, operation, request_, code):
    assert fault_of(answer(envelope(operation, request_), authority.keeper.at(STRANGER)))[1].code == code


def test_stranger_is_told_who_the_authority_is_and_may_authenticate(authority):
    for operation, request_ in [
        ("GetMAServiceInformation", InformationRequest()),
        ("GetMAKey", KeyRequest()),
        ("Authenticate", AuthenticateRequest(HELLO, None)),
    ]:
        reply = answer(envelope(operation, request_), authority.keeper.at(STRANGER))
        check_message(message_of(reply))
        assert reply.outcome == "done"


# An independent reading of the WSDL


class InProcess(Transport):
    """zeep's requests, answered without a network."""

    def __init__(self, endpoint):
        super().__init__()
        self.endpoint = endpoint

    def post(self, address, message, headers):
        assert headers["Content-Type"].startswith("application/soap+xml")
        reply = answer(message, self.endpoint)
        response = requests.Response()
        response.status_code = reply.status
        response.headers["Content-Type"] = "application/soap+xml; charset=utf-8"
        response._content = reply.envelope
        return response


def zeep_to(endpoint):
    settings = Settings(strict=True, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    return Client(WSDL_PATH, transport=InProcess(endpoint), settings=settings)


def test_zeep_understands_every_answer():
    endpoint = Endpoint()
    service = zeep_to(endpoint).service
    hello = {"PlatformID": str(HELLO.platform_id), "EK": HELLO.ek, "SRK": HELLO.srk, "ClientNonce": bytes(32)}
    challenge = service.Authenticate(Hello=hello | {"EKCertificate": [b"certificate"]}).Challenge
    assert (challenge.CredentialBlob, challenge.ServerNonce) == (b"blob", CHALLENGE.server_nonce)
    session = service.Authenticate(Proof={"ServerNonce": b"n" * 32, "Proof": b"p" * 32}).Session
    assert (session.Token, session.Lifetime, session.TrustList) == (SESSION.token, 900, b"<trust/>")
    receipt = service.Upload(Session=TOKEN, Document=b"<a/>")
    assert (receipt.ID, receipt.Stored, receipt.Changed) == (RECEIPT.id, WHEN, True)
    assert service.Download(Session=TOKEN, Kind="TrustList", ID="") == b"document"
    inventory = service.Query()
    assert [(p.Sequence, p.Marked) for p in inventory.Package] == [(8, None), (7, WHEN)]
    assert (inventory.Request[0].State, inventory.TrustListNumber) == ("pending", 3)
    assert service.Delete(ID=RECEIPT.id).Digest == RECEIPT.digest.hex().upper()
    assert service.GetMAServiceInformation().Mode == "software"
    assert service.GetMAKey() == b"vault"
    by_table = [
        call for operation, _, call, _ in CONVERSATIONS if call not in (("upload", b"", b"<a/>"), ("query", TOKEN))
    ]
    by_table[by_table.index(("delete", TOKEN, RECEIPT.id))] = ("delete", b"", RECEIPT.id)
    assert endpoint.calls == by_table


def test_zeep_understands_our_fault():
    client = zeep_to(Endpoint(ApprovalPending("cannot go on", b"r" * 32)))
    with pytest.raises(ZeepFault) as caught:
        client.service.Query()
    assert (caught.value.message, caught.value.code) == ("cannot go on", "soap:Sender")
    (detail,) = caught.value.detail
    fault = client.get_element(FAULT_TAG).parse(detail, client.wsdl.types)
    assert (fault.Code, fault.Message, fault.RequestID) == (
        "ApprovalPending",
        "cannot go on",
        (b"r" * 32).hex().upper(),
    )
