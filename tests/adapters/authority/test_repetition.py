"""What is asked again, how often, and what never is."""

from __future__ import annotations

import socket
import threading
from hashlib import sha256

import pytest

from lms.adapters.authority import AuthorityClient
from lms.errors import AuthorityBusy, AuthorityFailed, AuthorityUnreachable
from lms.model.authorities import Hello, Inventory, Kind, Receipt
from lms.wire.service_v1 import DownloadAnswer, KeyAnswer, ReceiptAnswer
from tests.adapters.authority.conftest import GOOD_ANSWER, INFORMATION
from tests.support.documents import NOW, make_owner, uuid
from tests.support.hostile import answer, fault, http, say
from tests.support.tls import MA

BUSY = fault("AuthorityBusy")
RECEIPT = ReceiptAnswer(Receipt("x", sha256(b"document").digest(), NOW, False))
REPEATABLE = {
    "GetMAServiceInformation": (lambda c: c.information(), INFORMATION),
    "GetMAKey": (lambda c: c.vault_public(), KeyAnswer(b"vault")),
    "Query": (lambda c: c.query(b""), Inventory((), (), 0)),
    "Download": (lambda c: c.download(b"", Kind.TRUST_LIST, ""), DownloadAnswer(b"x")),
    "Upload": (lambda c: c.upload(b"", b"document"), RECEIPT),
}
ONCE = {
    "Authenticate": lambda c: c.challenge(Hello(uuid("platform"), b"EK", b"SRK", (), bytes(32))),
    "Authenticate again": lambda c: c.session(bytes(32), bytes(32)),
    "Delete": lambda c: c.delete(b"", "x"),
}


def hang_up(line):
    line.connection.unwrap()
    line.connection.close()


def in_turn(*scripts):
    left = list(scripts)
    return lambda line: (left.pop(0) if len(left) > 1 else left[0])(line)


@pytest.mark.parametrize("operation", REPEATABLE)
def test_a_busy_authority_is_asked_three_times(desk, operation):
    call, value = REPEATABLE[operation]
    server = desk.server(say(BUSY, http(b"", "503 X", "text/html"), answer(operation, value)))
    call(desk.client(server))
    assert desk.pauses == [0.5, 2.0]
    assert len({request.partition(b"\r\n\r\n")[2] for request in server.heard}) == 1
    assert len(server.heard) == 3


@pytest.mark.parametrize("operation", REPEATABLE)
def test_a_connection_that_ends_before_the_answer_is_made_again(desk, operation):
    call, value = REPEATABLE[operation]
    server = desk.server(in_turn(hang_up, hang_up, say(answer(operation, value))))
    call(desk.client(server))
    assert (server.accepted, len(server.heard), desk.pauses) == (3, 3, [0.5, 2.0])


@pytest.mark.parametrize("operation", REPEATABLE)
def test_three_times_is_enough(desk, operation):
    call, _ = REPEATABLE[operation]
    for script, error in ((say(BUSY), AuthorityBusy), (hang_up, AuthorityUnreachable)):
        server = desk.server(script)
        with pytest.raises(error):
            call(desk.client(server))
        assert len(server.heard) == 3


@pytest.mark.parametrize("operation", ONCE)
def test_what_is_good_for_once_is_asked_once(desk, operation):
    for script, error in ((say(BUSY), AuthorityBusy), (hang_up, AuthorityUnreachable)):
        server = desk.server(script)
        with pytest.raises(error):
            ONCE[operation](desk.client(server))
        assert (len(server.heard), desk.pauses) == (1, [])


def test_an_answer_that_began_is_not_asked_for_again(desk):
    def begin(line):
        line.send(b"H")
        hang_up(line)

    server = desk.server(in_turn(begin, say(GOOD_ANSWER)))
    with pytest.raises(AuthorityFailed):
        desk.client(server).information()
    assert (len(server.heard), desk.pauses) == (1, [])


def test_the_authority_says_when_to_come_again(desk):
    server = desk.server(say(fault("AuthorityBusy", retry_after_s=30), GOOD_ANSWER))
    assert desk.client(server).information() == INFORMATION
    assert desk.pauses == [30]


def test_nobody_waits_beyond_the_deadline(desk):
    server = desk.server(say(fault("AuthorityBusy", retry_after_s=61), GOOD_ANSWER))
    with pytest.raises(AuthorityBusy):
        desk.client(server).information()
    assert (len(server.heard), desk.pauses) == (1, [])


def test_a_connection_serves_many_calls(desk):
    server = desk.server(say(GOOD_ANSWER))
    client = desk.client(server)
    for _ in range(3):
        client.information()
    assert (server.accepted, len(server.heard)) == (1, 3)
    client.close()
    client.information()
    assert (server.accepted, len(server.heard)) == (2, 4)


def test_a_client_that_nobody_has_any_more_ends_its_connection(desk):
    server = desk.server(say(GOOD_ANSWER))
    client = AuthorityClient(server.address, MA.uuid, make_owner().owner, None)
    assert client.information() == INFORMATION
    del client
    assert server.ended.wait(60)


def test_a_connection_that_ended_meanwhile_costs_no_attempt(desk):
    """Also what is asked only once goes through, and what came unasked is no answer to it."""
    ended = threading.Event()

    def end(line):
        line.send(GOOD_ANSWER)
        line.send(answer("Delete", ReceiptAnswer(Receipt("forged", bytes(32), NOW, True))))
        line.connection.shutdown(socket.SHUT_RDWR)
        ended.set()

    server = desk.server(in_turn(end, say(answer("Delete", RECEIPT))))
    client = desk.client(server)
    client.information()
    assert ended.wait(60)
    assert client.delete(b"", "x") == RECEIPT.receipt
    assert (server.accepted, len(server.heard), desk.pauses) == (2, 2, [])


def test_a_server_that_ends_each_connection_is_served(desk):
    server = desk.server(say(GOOD_ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)))
    client = desk.client(server)
    assert [client.information(), client.information()] == [INFORMATION] * 2
    assert (server.accepted, desk.pauses) == (2, [])
