"""The server stands: hostile peers get nothing and hold nobody up (PROTOCOL §5 TLS, §7)."""

from __future__ import annotations

import http.client
import logging
import ssl
from threading import Event, Thread

import pytest

from lms.authority.connections import Limits, network_of
from lms.authority.server import AuthorityServer
from lms.authority.tls import server_context
from lms.errors import BadConfiguration
from lms.model.authorities import Kind
from lms.model.secret import Secret
from lms.model.trust import Identity, Role
from lms.wire.envelope import MAX_REQUEST, write_envelope
from lms.wire.service_v1 import OPERATIONS, DownloadRequest, UploadRequest
from tests.support.documents import make_owner, private_key, uuid
from tests.support.endpoint import Endpoint
from tests.support.keeping import STATION, STATION_KEY, station_certificate
from tests.support.tls import MA, pkcs8, tls_certificate
from tests.support.tls_client import (
    INFORMATION,
    PATIENCE_S,
    QUERY,
    SOAP,
    client_context,
    exchange,
    is_closed,
    plain,
    post,
    secured,
    wait_until,
)

SOON_S = 0.2


def serves(server, context=None, host="127.0.0.1"):
    with secured(server.port, context, host) as connection:
        status, headers, body = exchange(connection, post())
    return (
        status == 200 and headers["Content-Type"].startswith("application/soap+xml") and str(MA.uuid).encode() in body
    )


# What is served


def test_request_is_answered_and_the_connection_kept(serving):
    server = serving()
    with secured(server.port) as connection:
        for _ in range(3):
            status, headers, body = exchange(connection, post())
            assert (status, headers["Cache-Control"], headers["Connection"]) == (200, "no-store", None)
            assert str(MA.uuid).encode() in body


def test_fault_has_its_status(serving):
    with secured(serving().port) as connection:
        status, _, body = exchange(connection, post(QUERY))
        assert status == 400
        assert b"<Code>NotAuthorised</Code>" in body
        assert exchange(connection, post(b"junk"))[0] == 400
        assert exchange(connection, post(b"<a/>"))[0] == 500
        assert exchange(connection, post())[0] == 200


@pytest.mark.parametrize(
    ("listen", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1"), ("", "127.0.0.1")]
)
def test_it_listens_on_both_families(serving, listen, host):
    assert serves(serving(listen=(listen, 0)), host=host)


def test_large_documents_pass(serving):
    document = bytes(range(256)) * (4096 * 8)
    endpoint = Endpoint(document=document)
    with secured(serving(lambda peer: endpoint).port) as connection:
        upload = OPERATIONS["Upload"].write_request(UploadRequest(None, document))
        assert exchange(connection, post(write_envelope(upload)))[0] == 200
        download = OPERATIONS["Download"].write_request(DownloadRequest(None, Kind.PACKAGE, "x"))
        status, _, body = exchange(connection, post(write_envelope(download)))
    assert status == 200
    assert len(body) > len(document)
    assert endpoint.calls[0] == ("upload", b"", document)


def test_client_that_asks_before_it_sends_is_told_to_go_on(serving):
    with secured(serving().port) as connection:
        connection.sendall(post(b"", headers=SOAP | {"Expect": "100-continue"}, length=len(INFORMATION)))
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        assert exchange(connection, INFORMATION)[0] == 200
    with secured(serving().port) as connection:
        request = post(b"", headers=SOAP | {"Expect": "100-continue"}, length=MAX_REQUEST + 1)
        assert exchange(connection, request)[0] == 413


# What is not served


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(b"", method="GET"), 405),
        (post(b"", method="GET", path="/?wsdl"), 405),
        (post(b"", method="HEAD"), 405),
        (post(b"", method="PUT"), 405),
        (post(b"", method="PURGE"), 405),
        (b"GET /\r\n\r\n", 405),
        (post(path="/other"), 404),
        (post(path="/?wsdl"), 404),
        (post(headers={}), 415),
        (post(headers={"Content-Type": "text/xml; charset=utf-8"}), 415),
        (post(headers={"Content-Type": "application/soap+xml; charset=utf-16"}), 415),
        (post(length=False), 411),
        (post(headers=SOAP | {"Transfer-Encoding": "chunked"}, length=False), 411),
        (post(headers=SOAP | {"Transfer-Encoding": "chunked"}), 411),
        (post(headers=SOAP | {"Content-Length": "0"}), 400),
        (post(length="-1"), 400),
        (post(length="+5"), 400),
        (post(length="0x10"), 400),
        (post(length="²"), 400),
        (post(b"", length=MAX_REQUEST + 1), 413),
        (post(b"", length="9" * 5000), 413),
        (b"POST / HTTP/2.0\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\na: " + b"b" * 70000 + b"\r\n\r\n", 431),
        (b"POST /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"junk\r\n\r\n", 400),
    ],
)
def test_anything_but_the_post_of_an_envelope_is_refused(serving, request_, status):
    server = serving()
    with secured(server.port) as connection:
        got, headers, body = exchange(connection, request_)
        assert (got, body) == (status, b"")
        assert headers["Server"] is None
        assert headers["Allow"] == ("POST" if status == 405 else None)
        assert is_closed(connection)
    assert serves(server)


def test_what_a_peer_sends_is_not_written_down(serving, caplog):
    with caplog.at_level(logging.DEBUG):
        server = serving()
        with secured(server.port) as connection:
            exchange(connection, post(path="/secret\x1b"))
        with secured(server.port) as connection:
            exchange(connection, post(b"<secret/>"))
        assert serves(server)
        server.stop()
    assert "secret" not in caplog.text
    assert "GetMAServiceInformation: done" in caplog.text


# Who is at the other end


def test_certificate_of_a_station_is_handed_on(serving):
    peers = []

    def application(peer):
        peers.append(peer)
        return Endpoint()

    server = serving(application)
    station = station_certificate()
    for shown in (None, station):
        with secured(server.port, client_context(shown)) as connection:
            assert exchange(connection, post())[0] == 200
    assert [(p.address, p.certificate) for p in peers] == [("127.0.0.1", None), ("127.0.0.1", station)]


def test_station_is_known_by_its_certificate(serving):
    with secured(serving().port, client_context(station_certificate())) as connection:
        status, _, body = exchange(connection, post(QUERY))
    assert (status, b"<TrustListNumber>3<" in body) == (200, True)


def test_stations_of_every_owner_are_known_though_their_cas_have_one_name(serving, authority):
    owners = [make_owner(label) for label in ("owner", "second", "third")]
    ours = server_context(authority.leaf, authority.tls_key, [world.owner.ca_certificate for world in owners])
    server = serving(contexts=lambda: ours)
    for world in owners:
        assert serves(server, client_context(world.certificate(STATION, STATION_KEY)))


def test_platform_certificate_is_no_stations(serving):
    platform = station_certificate(identity=Identity(Role.PLATFORM, uuid("platform")))
    with secured(serving().port, client_context(platform)) as connection:
        assert b"<Code>NotAuthorised<" in exchange(connection, post(QUERY))[2]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_certificate_by_a_stranger_ends_the_handshake(serving, version):
    server = serving()
    assert serves(server, client_context(station_certificate(), version))
    stranger = client_context(station_certificate(make_owner("stranger")), version)
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.BadStatusLine)):
        serves(server, stranger)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_older_tls_is_refused(serving):
    server = serving()
    assert serves(server, client_context(version=ssl.TLSVersion.TLSv1_2))
    old = client_context()
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        serves(server, old)


def test_certificate_is_replaced_while_it_serves(serving, authority):
    first, second = authority.leaf, tls_certificate(make_owner("other"), MA, key=private_key("other"))
    contexts = [
        server_context(first, authority.tls_key, []),
        server_context(second, Secret(pkcs8(private_key("other"))), []),
    ]
    server = serving(contexts=lambda: contexts[0])
    with secured(server.port) as before:
        assert before.getpeercert(binary_form=True) == first
        del contexts[0]
        with secured(server.port) as after:
            assert after.getpeercert(binary_form=True) == second
        assert exchange(before, post())[0] == 200


# Who is slow, or many


WITHOUT_HANDSHAKE = pytest.mark.parametrize(
    "said",
    [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 999],
    ids=["nothing", "one-byte", "half-hello", "no-tls", "junk"],
)
HALF_A_REQUEST = pytest.mark.parametrize(
    "said",
    [b"", b"P", b"POST / HTTP/1.1\r\n", post()[:-1], post(b"", length=MAX_REQUEST)],
    ids=["nothing", "one-byte", "half-headers", "half-body", "no-body"],
)


@WITHOUT_HANDSHAKE
def test_peer_without_a_handshake_holds_nobody_up(serving, said):
    server = serving()
    with plain(server.port) as silent:
        silent.sendall(said)
        assert serves(server)


@WITHOUT_HANDSHAKE
def test_peer_without_a_handshake_is_let_go(serving, said):
    with plain(serving(handshake_s=SOON_S).port) as silent:
        silent.sendall(said)
        while silent.recv(4096):
            pass  # an alert, then the end


@HALF_A_REQUEST
def test_half_a_request_holds_nobody_up(serving, said):
    server = serving()
    with secured(server.port) as slow:
        slow.sendall(said)
        assert serves(server)


@HALF_A_REQUEST
def test_half_a_request_is_let_go(serving, said):
    with secured(serving(header_s=SOON_S, body_s=SOON_S, rate=2**40).port) as slow:
        slow.sendall(said)
        assert is_closed(slow)


def test_bytes_that_drip_do_not_extend_the_deadline(serving):
    with secured(serving(header_s=SOON_S).port) as slow:
        slow.settimeout(SOON_S / 10)
        wait_until(lambda: ended_or_dripped(slow))


def ended_or_dripped(connection):
    try:
        return is_closed(connection)
    except TimeoutError:
        connection.sendall(b"P")
        return False


def test_peer_that_does_not_read_is_let_go(serving):
    endpoint = Endpoint(document=bytes(32 * 1024 * 1024))
    server = serving(lambda peer: endpoint, body_s=SOON_S, rate=2**40)
    download = write_envelope(OPERATIONS["Download"].write_request(DownloadRequest(None, Kind.PACKAGE, "x")))
    with secured(server.port) as deaf:
        deaf.sendall(post(download))
        wait_until(lambda: endpoint.calls)
        server.stop()  # waits until it was let go
    assert server.stopping.is_set()


def test_connections_of_one_network_are_limited(serving):
    server = serving(connections_per_network=3)
    with secured(server.port), secured(server.port), secured(server.port) as third:
        with plain(server.port) as fourth:
            assert is_closed(fourth)
        assert exchange(third, post())[0] == 200


def test_connections_are_limited_in_total(serving):
    server = serving(connections=2, connections_per_network=9)
    with secured(server.port), secured(server.port) as second:
        with plain(server.port) as third:
            assert is_closed(third)
        assert exchange(second, post())[0] == 200


def test_connections_that_ended_count_no_more(serving):
    server = serving(connections=2, connections_per_network=2)
    for _ in range(10):
        with secured(server.port) as connection:
            assert exchange(connection, post(headers=SOAP | {"Connection": "close"}))[0] == 200
            assert is_closed(connection)


def test_addresses_are_counted_by_network():
    assert network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2::5%eth0") == "2001:db8:1:2::/64"
    assert network_of("2001:db8:1:3::4") != network_of("2001:db8:1:2::4")


def test_bytes_on_their_way_are_limited_together(serving):
    server = serving(body_bytes=4096)
    with secured(server.port) as slow, secured(server.port) as other:
        slow.sendall(post(b"", headers=SOAP | {"Expect": "100-continue"}, length=4095))
        assert slow.recv(4096).startswith(b"HTTP/1.1 100 ")
        wait_until(lambda: server.room.left == 1)
        status, headers, body = exchange(other, post())
        assert (status, headers["Connection"]) == (500, "close")
        assert b"<Code>AuthorityBusy</Code>" in body
        slow.close()
    wait_until(lambda: server.room.left == 4096)
    assert serves(server)


def test_answers_on_their_way_count_too(serving):
    endpoint = Endpoint(document=bytes(64 * 1024))
    download = write_envelope(OPERATIONS["Download"].write_request(DownloadRequest(None, Kind.PACKAGE, "x")))
    for room, code in ((64 * 1024, 500), (128 * 1024, 200)):
        with secured(serving(lambda peer: endpoint, body_bytes=room).port) as connection:
            status, _, body = exchange(connection, post(download))
            assert (status, b"<Code>AuthorityBusy</Code>" in body) == (code, code == 500)


# The end


class Gated(Endpoint):
    """An endpoint in the middle of a call until it is let go on."""

    def __init__(self):
        super().__init__()
        self.entered, self.released = Event(), Event()

    def information(self):
        self.entered.set()
        assert self.released.wait(PATIENCE_S)
        return super().information()


def test_stopping_answers_what_was_asked_and_ends_who_is_idle(serving):
    endpoint = Gated()
    server = serving(lambda peer: endpoint)
    with secured(server.port) as asking, secured(server.port) as idle:
        asking.sendall(post())
        assert endpoint.entered.wait(PATIENCE_S)
        stopping = Thread(target=server.stop)
        stopping.start()
        assert is_closed(idle)
        with pytest.raises(ConnectionError), plain(server.port):
            pass
        endpoint.released.set()
        status, headers, _ = exchange(asking, b"")
        assert (status, headers["Connection"]) == (200, "close")
        stopping.join()


def test_who_is_not_done_when_time_is_up_is_cut_off(serving):
    endpoint = Gated()
    server = serving(lambda peer: endpoint, stop_s=0)
    with secured(server.port) as asking:
        asking.sendall(post())
        assert endpoint.entered.wait(PATIENCE_S)
        server.stop()
        endpoint.released.set()


def test_port_that_is_taken_is_named(serving):
    server = serving()
    with pytest.raises(BadConfiguration, match=str(server.port)):
        AuthorityServer(("127.0.0.1", server.port), ssl.SSLContext, Endpoint, Limits())
