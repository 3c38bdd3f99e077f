"""A peer that is known may still be slow, endless, elsewhere or somebody's web page."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from hashlib import sha256
from itertools import count

import pytest

from lms.errors import AuthorityBusy, AuthorityFailed, AuthoritySlow, AuthorityUnreachable
from lms.model.authorities import Kind, Receipt
from lms.wire.document import MIB
from lms.wire.service_v1 import DownloadAnswer, ReceiptAnswer
from tests.adapters.authority.conftest import GOOD_ANSWER, INFORMATION, ticking
from tests.support.documents import NOW
from tests.support.hostile import answer, http, say

HEAD, _, BODY = GOOD_ANSWER.partition(b"\r\n\r\n")
HEAD += b"\r\n\r\n"


def fails(desk, script, **options):
    """The error of a call that is made once."""
    server = desk.server(script)
    with pytest.raises((AuthorityBusy, AuthorityFailed, AuthorityUnreachable)) as caught:
        desk.client(server, **options).information()
    return type(caught.value), str(caught.value), server.accepted


def test_silence_ends_with_the_deadline(desk):
    kind, words, connections = fails(desk, lambda line: line.wait(), deadline_s=0.2)
    assert (kind, connections) == (AuthoritySlow, 1)
    assert "no answer in time" in words


@pytest.mark.parametrize("start", [b"", HEAD], ids=["headers", "body"])
def test_a_dripping_answer_ends_with_the_deadline(desk, start):
    """Each byte comes at once, and each takes a second of the client's clock: no single one is ever late."""

    def drip(line):
        line.send(start)
        line.drip(GOOD_ANSWER[len(start) :])

    kind, words, connections = fails(desk, drip, deadline_s=60.0, clock=ticking())
    assert (kind, connections) == (AuthoritySlow, 1)
    assert "no answer in time" in words
    assert desk.client(desk.server(drip), deadline_s=10_000.0, clock=ticking()).information() == INFORMATION


def test_endless_promises_end_with_the_deadline(desk):
    """Neither headers nor body are ever too long, and every byte is fast."""
    promise = b"HTTP/1.1 100 Continue\r\nX: " + b"x" * 16000 + b"\r\n\r\n"
    kind, words, _ = fails(desk, flood(b"", promise), deadline_s=60.0, clock=ticking())
    assert kind is AuthoritySlow
    assert "no answer in time" in words


def test_a_large_document_on_a_slow_line_takes_its_time(desk):
    """Each step takes a second; what the bytes take at 64 KiB a second comes on top."""
    document = bytes(8 * 1024 * 1024)
    server = desk.server(say(answer("Upload", ReceiptAnswer(Receipt("x", sha256(document).digest(), NOW, True)))))
    assert desk.client(server, deadline_s=20.0, clock=ticking()).upload(b"", document).changed


def test_who_drips_just_fast_enough_does_not_hold_the_caller_for_ever(desk):
    """16 KiB in each eighth of a second are twice what a slow line has: the deadline is put off with each of them."""
    whole = answer("Download", DownloadAnswer(bytes(4 * MIB)))

    def download(**options):
        def drip(line):
            with suppress(OSError):  # the client leaves
                for start in range(0, len(whole), 16384):
                    line.send(whole[start : start + 16384])

        eighths = count()
        client = desk.client(desk.server(drip), deadline_s=20.0, clock=lambda: next(eighths) / 8, **options)
        return client.download(b"", Kind.PACKAGE, "")

    with pytest.raises(AuthoritySlow, match="no answer in time"):
        download(transfer_s=10.0)
    assert download() == bytes(4 * MIB)


def test_a_document_that_is_longer_than_what_was_asked_for_is_not_read(desk):
    document = bytes(MIB)
    server = desk.server(say(answer("Download", DownloadAnswer(document))))
    assert desk.client(server).download(b"", Kind.PACKAGE, "", len(document)) == document
    with pytest.raises(AuthorityFailed, match="at most"):
        desk.client(server).download(b"", Kind.PACKAGE, "", len(document) // 2)


def test_a_handshake_that_never_ends_ends_with_the_deadline(desk):
    server = desk.server(lambda line: line.wait(), None)
    with pytest.raises(AuthoritySlow, match="no answer in time"):
        desk.client(server, deadline_s=0.2).information()


def test_a_name_that_is_never_resolved_ends_with_the_deadline(desk, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait() and [])
    try:
        with pytest.raises(AuthoritySlow, match="no answer in time"):
            desk.client("https://ma.example:8443", deadline_s=0.2).information()
    finally:
        over.set()


def test_an_unknown_name_is_unreachable(desk, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(AuthorityUnreachable, match="not known"):
        desk.client("https://ma.example:8443").information()


def test_another_address_of_the_host_is_tried(desk, monkeypatch):
    gone, server = (desk.server(say(GOOD_ANSWER)) for _ in range(2))
    gone.close()
    ports = [int(s.address.rpartition(":")[2]) for s in (gone, server)]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert desk.client("https://ma.example:8443").information() == INFORMATION
    assert server.accepted == 1


def test_nobody_there_is_unreachable(desk):
    server = desk.server(say(GOOD_ANSWER))
    server.close()
    with pytest.raises(AuthorityUnreachable, match="refused"):
        desk.client(server).information()


def test_an_answer_that_breaks_off_is_not_asked_for_again(desk):
    kind, words, connections = fails(desk, lambda line: (line.send(GOOD_ANSWER[:-9]), line.connection.unwrap()))
    assert (kind, connections) == (AuthorityUnreachable, 1)
    assert "broke off" in words


ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\n\r\n"
CHUNKED = ENDLESS[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"


def flood(start, chunk):
    def script(line):
        line.send(start)
        while not line.over:
            line.send(chunk)

    return script


@pytest.mark.parametrize(
    ("start", "chunk"),
    [(ENDLESS, b" " * 16384), (CHUNKED, b"4000\r\n" + b" " * 16384 + b"\r\n")],
    ids=["until the end", "chunked"],
)
def test_an_endless_body_is_cut(desk, start, chunk):
    kind, words, _ = fails(desk, flood(start, chunk))
    assert kind is AuthorityFailed
    assert "more than 65536 bytes" in words


@pytest.mark.parametrize("line", [b"X" * 70000, b"X: y\r\n" * 200], ids=["one line", "many lines"])
def test_endless_headers_are_cut(desk, line):
    kind, words, _ = fails(desk, flood(b"HTTP/1.1 200 OK\r\n", line))
    assert kind is AuthorityFailed
    assert "cannot use" in words


def test_a_huge_answer_is_refused_unread(desk):
    kind, words, _ = fails(desk, say(HEAD.replace(b"Content-Length: ", b"Content-Length: 9999")))
    assert kind is AuthorityFailed
    assert "at most 65536" in words


ANSWERS = {
    "a redirect": (http(b"", "307 X", "text/html", "Location: https://127.0.0.1:1/"), AuthorityFailed, "elsewhere"),
    "a permanent redirect": (http(BODY, "301 X", "application/soap+xml", "Location: /"), AuthorityFailed, "elsewhere"),
    "not found": (http(b"<html/>", "404 X", "text/html"), AuthorityFailed, "404"),
    "a proxy's login": (http(b"<html/>", "200 OK", "text/html"), AuthorityFailed, "no SOAP"),
    "soap 1.1": (http(BODY, "200 OK", "text/xml"), AuthorityFailed, "no SOAP"),
    "attachments": (http(BODY, "200 OK", "multipart/related"), AuthorityFailed, "no SOAP"),
    "authentication": (http(BODY, "401 X"), AuthorityFailed, "401"),
    "no content": (http(b"", "204 X"), AuthorityFailed, "204"),
    "compressed": (http(BODY, "200 OK", "application/soap+xml", "Content-Encoding: gzip"), AuthorityFailed, "compr"),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n", AuthorityFailed, "BadStatusLine"),
    "bad gateway": (http(b"<html/>", "502 X", "text/html"), AuthorityFailed, "502"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_another_answer_is_refused(desk, case):
    sent, kind, words = ANSWERS[case]
    found, text, connections = fails(desk, say(sent))
    assert (found, connections, desk.pauses) == (kind, 1, [])
    assert words in text


def test_environment_has_no_say_and_nothing_else_is_fetched(desk, monkeypatch):
    proxy = desk.server(say(GOOD_ANSWER))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.address.replace("https", "http"))
    server = desk.server(say(GOOD_ANSWER))
    asked, resolve = [], socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: asked.append(host) or resolve(host, *a, **k))
    assert desk.client(server).information() == INFORMATION
    assert (proxy.accepted, server.accepted, asked) == (0, 1, ["127.0.0.1"])
