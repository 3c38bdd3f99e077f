"""A client that believes any server, byte by byte: what a peer of a Migration Authority can do on the wire."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from tempfile import NamedTemporaryFile

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lms.wire.envelope import write_envelope
from lms.wire.service_v1 import OPERATIONS, InformationRequest, QueryRequest
from tests.support.keeping import STATION_KEY

SOAP = {"Content-Type": "application/soap+xml; charset=utf-8"}
INFORMATION = write_envelope(OPERATIONS["GetMAServiceInformation"].write_request(InformationRequest()))
QUERY = write_envelope(OPERATIONS["Query"].write_request(QueryRequest(None)))
# A deadline of the tests themselves, for a server that fails them; no good test waits for it.
PATIENCE_S = 30


def client_context(shows: bytes | None = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """TLS of a client; `shows` is a certificate (DER) of the station's key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if shows is not None:
        with NamedTemporaryFile() as file:
            file.write(ssl.DER_cert_to_PEM_cert(shows).encode())
            file.write(STATION_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            context.load_cert_chain(file.name)
    return context


@contextmanager
def plain(port: int, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A connection without TLS."""
    with socket.create_connection((host, port), timeout=PATIENCE_S) as connection:
        yield connection


@contextmanager
def secured(port: int, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[ssl.SSLSocket]:
    """A connection after its handshake."""
    with plain(port, host) as raw, (context or client_context()).wrap_socket(raw) as connection:
        yield connection


def post(
    body: bytes = INFORMATION,
    *,
    path: str = "/",
    method: str = "POST",
    headers: Mapping[str, str] = SOAP,
    length: object = None,
) -> bytes:
    """A request; `length` is what it announces, False for nothing."""
    lines = [f"{method} {path} HTTP/1.1", "Host: ma"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if length is not False:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def exchange(connection: socket.socket, request: bytes) -> tuple[int, Mapping[str, str | None], bytes]:
    """Status, headers and body of what the server says to raw bytes."""
    connection.sendall(request)
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.headers, response.read()


def is_closed(connection: socket.socket) -> bool:
    """Whether the server ends the connection without another word."""
    try:
        return connection.recv(1) == b""
    except (ConnectionError, ssl.SSLError):
        return True


def wait_until(holds: Callable[[], object]) -> None:
    """Return as soon as it holds."""
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until
        os.sched_yield()
