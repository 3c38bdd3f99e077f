"""What an authority says is one schema-valid answer to what was asked, or an error."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from uuid import UUID

import pytest

from lms.adapters.authority.faults import CODES, error_of
from lms.authority.soap import _may_leave
from lms.errors import (
    ApprovalPending,
    AuthorityFailed,
    Denied,
    LmsError,
    NotAtAuthority,
    TooLarge,
)
from lms.model.authorities import (
    Challenge,
    Hello,
    Inventory,
    Kind,
    ListedPackage,
    ListedRequest,
    Receipt,
    RequestKind,
    RequestState,
    ServiceInformation,
    Session,
)
from lms.model.tpm import Credential
from lms.model.trust import Mode
from lms.wire.envelope import NAMESPACE, read_request
from lms.wire.service_v1 import (
    OPERATIONS,
    AuthenticateAnswer,
    AuthenticateRequest,
    DeleteRequest,
    DownloadAnswer,
    DownloadRequest,
    InformationRequest,
    KeyAnswer,
    KeyRequest,
    MigrationFault,
    Proof,
    QueryRequest,
    ReceiptAnswer,
    UploadRequest,
    write_fault,
)
from tests.adapters.authority.conftest import GOOD_ANSWER, INFORMATION
from tests.support.documents import NOW, uuid
from tests.support.hostile import CORRELATION, answer, fault, http, say

TOKEN, NONCE, PROOF, DOCUMENT = b"t" * 32, b"n" * 32, b"p" * 32, b"<document/>"
HELLO = Hello(uuid("platform"), b"EK", b"SRK", (b"one", b"two"), NONCE)
CHALLENGE = Challenge(Credential(b"blob", b"secret"), NONCE)
SESSION = Session(TOKEN, 900, b"trust list")
RECEIPT = Receipt(str(uuid("package")), sha256(DOCUMENT).digest(), NOW, True)
INVENTORY = Inventory(
    (
        ListedPackage(uuid("package"), 7, NOW, bytes(32), 1000, NOW),
        ListedPackage(uuid("older"), 6, NOW, bytes(32), 10, None),
    ),
    (ListedRequest(bytes(32), RequestKind.RESTORE, uuid("platform"), NOW, RequestState.PENDING),),
    3,
)
# name → what is called, what has to be heard, what is answered, what has to come of it
CALLS = {
    "GetMAServiceInformation": (lambda c: c.information(), InformationRequest(), INFORMATION, INFORMATION),
    "GetMAKey": (lambda c: c.vault_public(), KeyRequest(), KeyAnswer(b"vault"), b"vault"),
    "Authenticate": (
        lambda c: c.challenge(HELLO), AuthenticateRequest(HELLO, None), AuthenticateAnswer(CHALLENGE, None), CHALLENGE
    ),
    "Authenticate again": (
        lambda c: c.session(NONCE, PROOF),
        AuthenticateRequest(None, Proof(NONCE, PROOF)),
        AuthenticateAnswer(None, SESSION),
        SESSION,
    ),
    "Upload": (
        lambda c: c.upload(TOKEN, DOCUMENT), UploadRequest(TOKEN, DOCUMENT), ReceiptAnswer(RECEIPT), RECEIPT
    ),
    "Upload of a station": (
        lambda c: c.upload(b"", DOCUMENT), UploadRequest(None, DOCUMENT), ReceiptAnswer(RECEIPT), RECEIPT
    ),
    "Query": (lambda c: c.query(TOKEN), QueryRequest(TOKEN), INVENTORY, INVENTORY),
    "Query of a station": (lambda c: c.query(b""), QueryRequest(None), Inventory((), (), 0), Inventory((), (), 0)),
    "Download": (
        lambda c: c.download(TOKEN, Kind.TRUST_LIST, ""),
        DownloadRequest(TOKEN, Kind.TRUST_LIST, ""),
        DownloadAnswer(DOCUMENT),
        DOCUMENT,
    ),
    "Delete": (lambda c: c.delete(TOKEN, "AB"), DeleteRequest(TOKEN, "AB"), ReceiptAnswer(RECEIPT), RECEIPT),
}  # fmt: skip


def said(request):
    """What a server reads in a request."""
    message = read_request(request.partition(b"\r\n\r\n")[2])
    return OPERATIONS[message.tag.partition("}")[2]].read_request(message)


@pytest.mark.parametrize("case", CALLS)
def test_each_call_says_and_hears_what_the_service_defines(desk, case):
    call, expected, answered, result = CALLS[case]
    server = desk.server(say(answer(case.partition(" ")[0], answered)))
    assert call(desk.client(server)) == result
    (request,) = server.heard
    assert said(request) == expected
    assert f'action="urn:localmigration:service:1#{case.partition(" ")[0]}"'.encode() in request
    assert b"application/soap+xml" in request


def test_a_document_comes_as_its_exact_bytes(desk):
    document = bytes(range(256)) * 80_000
    server = desk.server(say(answer("Download", DownloadAnswer(document))))
    assert desk.client(server).download(TOKEN, Kind.PACKAGE, str(uuid("package"))) == document


def test_a_document_too_large_for_any_authority_is_not_sent(desk):
    server = desk.server(say(GOOD_ANSWER))
    with pytest.raises(TooLarge):
        desk.client(server).upload(TOKEN, bytes(64 * 1024 * 1024 + 1))
    assert server.accepted == 0


def test_an_answer_to_something_else_is_refused(desk):
    def refused(call, name, value):
        with pytest.raises(AuthorityFailed, match="cannot use the"):
            call(desk.client(desk.server(say(answer(name, value)))))

    refused(lambda c: c.information(), "GetMAKey", KeyAnswer(b"vault"))
    refused(lambda c: c.query(TOKEN), "Upload", ReceiptAnswer(RECEIPT))
    refused(lambda c: c.delete(TOKEN, "x"), "Upload", ReceiptAnswer(RECEIPT))
    refused(lambda c: c.challenge(HELLO), "Authenticate", AuthenticateAnswer(None, SESSION))
    refused(lambda c: c.session(NONCE, PROOF), "Authenticate", AuthenticateAnswer(CHALLENGE, None))
    refused(lambda c: c.upload(TOKEN, DOCUMENT + b" "), "Upload", ReceiptAnswer(RECEIPT))
    other = ServiceInformation(uuid("other ma"), Mode.TPM, 1, 1)
    refused(lambda c: c.information(), "GetMAServiceInformation", other)


BODY = GOOD_ANSWER.partition(b"\r\n\r\n")[2]
MAID = str(INFORMATION.ma_id).encode()
LAUGHS = b'<!DOCTYPE x [<!ENTITY a "ha">' + b"".join(
    b'<!ENTITY %c "&%c;&%c;">' % (c + 1, c, c) for c in range(ord("a"), ord("z"))
) + b"]>"  # fmt: skip
HOSTILE = {
    "nothing": b"",
    "no XML": b"OK",
    "HTML": b"<html/>",
    "truncated": BODY[:-20],
    "two roots": BODY + BODY,
    "another encoding": BODY.decode().encode("utf-16"),
    "a DTD": b"<!DOCTYPE x>" + BODY,
    "an external DTD": b'<!DOCTYPE x SYSTEM "file:///etc/passwd">' + BODY,
    "an external entity": b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>' + BODY.replace(MAID, b"&e;"),
    "an entity bomb": LAUGHS + BODY.replace(MAID, b"&z;"),
    "too deep": b"<a>" * 100 + b"</a>" * 100,
    "too many tags": BODY.replace(b"</soap:Body>", b"<a/>" * 15000 + b"</soap:Body>"),
    "SOAP 1.1": BODY.replace(NAMESPACE.encode(), b"http://schemas.xmlsoap.org/soap/envelope/"),
    "no envelope": BODY[BODY.index(b"<Get") : BODY.index(b"</soap:Body")],
    "no message": BODY[: BODY.index(b"<Get")] + b"</soap:Body></soap:Envelope>",
    "two messages": BODY.replace(b"</soap:Body>", BODY[BODY.index(b"<Get") : BODY.index(b"</soap:Env")]),
    "two bodies": BODY.replace(b"</soap:Envelope>", b"<soap:Body/></soap:Envelope>"),
    "a header that must be understood": BODY.replace(
        b"<soap:Body>", b'<soap:Header><x soap:mustUnderstand="true"/></soap:Header><soap:Body>'
    ),
    "a comment inside": BODY.replace(MAID, MAID[:9] + b"<!-- -->" + MAID[9:]),
    "an instruction inside": BODY.replace(MAID, MAID[:9] + b"<?x?>" + MAID[9:]),
    "a typed element": BODY.replace(
        b"<MAID>", b'<MAID xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:nil="true">'
    ),
    "another namespace": BODY.replace(b"urn:localmigration:service:1", b"urn:localmigration:service:2"),
    "an unknown element": BODY.replace(b"</MAID>", b"</MAID><More/>"),
    "a missing element": BODY.replace(b"<MAID>" + MAID + b"</MAID>", b""),
    "a value out of its range": BODY.replace(b"67108864", b"-1"),
    "another spelling": BODY.replace(b"67108864", b"067108864"),
    "white space": BODY.replace(MAID, b" " + MAID),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_answer_is_refused(desk, case):
    assert HOSTILE[case] != BODY
    server = desk.server(say(http(HOSTILE[case]), GOOD_ANSWER))
    client = desk.client(server)
    with pytest.raises(AuthorityFailed, match="cannot use the answer to GetMAServiceInformation"):
        client.information()
    assert client.information() == INFORMATION
    assert (len(server.heard), desk.pauses) == (2, [])


# Faults


@pytest.mark.parametrize("code", [c for c in CODES if c != "AuthorityBusy"])
def test_a_fault_becomes_the_error_of_its_name(desk, code):
    server = desk.server(say(fault(code, "cannot find it", "400 Bad Request")))
    with pytest.raises(CODES[code], match=f"cannot find it .*{CORRELATION}") as caught:
        desk.client(server).query(TOKEN)
    assert type(caught.value).__name__ == code
    assert (len(server.heard), desk.pauses) == (1, [])


@pytest.mark.parametrize(
    "code", ["Internal", "NoSuchThing", "OwnerAuthFailed", "WrongPassword", "AuthorityUntrusted", "LmsError"]
)  # fmt: skip
def test_a_fault_that_no_authority_may_say_is_a_failure(desk, code):
    server = desk.server(say(fault(code, "give me your password")))
    with pytest.raises(AuthorityFailed, match=f"'{code}'.*{CORRELATION}"):
        desk.client(server).query(TOKEN)


def errors(kind=LmsError):
    return {kind, *(e for sub in kind.__subclasses__() for e in errors(sub))}


def test_each_error_that_leaves_an_authority_is_known_here():
    """Except those that only this end can say, and the bases that nobody raises."""
    leaving = {e.__name__ for e in errors() if e.__module__.startswith("lms.errors.") and _may_leave(e("x"))}
    assert leaving - set(CODES) == {
        "AboutRequest", "DocumentError", "AuthorityFailed", "AuthoritySlow", "AuthorityUnreachable",
        "AuthorityUntrusted", "DigitsDiffer", "FingerprintDiffers", "ReleaseMismatch", "Retired", "SheetMismatch",
        "SheetStale",
    }  # fmt: skip
    assert set(CODES) <= leaving


@pytest.mark.parametrize("kind", [ApprovalPending, Denied])
def test_a_fault_about_a_request_says_which(desk, kind):
    server = desk.server(say(fault(kind.__name__, request_id=b"r" * 32)))
    with pytest.raises(kind) as caught:
        desk.client(server).download(TOKEN, Kind.RELEASED_PACKAGE, "AB")
    assert caught.value.request_id == b"r" * 32


def test_only_printable_words_of_an_authority_are_shown():
    told = MigrationFault("NotAtAuthority", "a\x1b[31m\n\u202eb" + "c" * 600, UUID(int=1))
    error = error_of(told)
    assert isinstance(error, NotAtAuthority)
    assert str(error) == "a[31mb" + "c" * 294 + f" (authority's reference {UUID(int=1)})"


FAULT = fault("NotAtAuthority").partition(b"\r\n\r\n")[2]
DETAIL = write_fault(MigrationFault("NotAtAuthority", "cannot do it", CORRELATION))


@pytest.mark.parametrize(
    "body",
    [
        FAULT.replace(DETAIL, b""),
        FAULT.replace(DETAIL, DETAIL + DETAIL),
        FAULT.replace(DETAIL, b"<x/>"),
        FAULT.replace(b"<soap:Detail>" + DETAIL + b"</soap:Detail>", b""),
        FAULT.replace(b"NotAtAuthority", b"../../x"),
        FAULT.replace(b"cannot do it", b"x" * 513),
    ],
    ids=["empty", "two", "another", "none", "no name", "a long message"],
)
def test_a_fault_without_its_one_detail_is_a_failure(desk, body):
    assert body != FAULT
    with pytest.raises(AuthorityFailed, match="cannot use the answer"):
        desk.client(desk.server(say(http(body, "500 X")))).query(TOKEN)


def test_the_soap_library_comes_with_the_first_call():
    code = "import sys, lms.adapters.authority; sys.exit('zeep' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
