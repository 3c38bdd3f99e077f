"""A TLS server on this machine that answers as it is told to, and counts what it was told.

Nothing here sleeps: who wants to stay silent waits until the test is over.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lms.wire.envelope import MEDIA_TYPE, Fault, write_envelope, write_fault_envelope
from lms.wire.service_v1 import OPERATIONS, MigrationFault
from tests.support.documents import uuid
from tests.support.tls import MA_KEY

CORRELATION = uuid("correlation")


def http(body: bytes, status: str = "200 OK", media_type: str = MEDIA_TYPE, *more: str) -> bytes:
    """An HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {media_type}; charset=utf-8", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer(operation: str, value: object) -> bytes:
    """A genuine answer."""
    return http(write_envelope(OPERATIONS[operation].write_answer(value)))


def fault(code: str, message: str = "cannot do it", status: str = "500 X", **more) -> bytes:
    """A fault, in its envelope."""
    return http(write_fault_envelope(Fault.SENDER, MigrationFault(code, message, CORRELATION, **more)), status)


class Line:
    """One connection, after the handshake."""

    def __init__(self, server: HostileServer, connection: socket.socket) -> None:
        self._server = server
        self.connection = connection

    def request(self) -> bytes:
        """Head and body of the next request; empty at the end."""
        heard = b""
        while b"\r\n\r\n" not in heard:
            more = self.connection.recv(65536)
            if not more:
                return b""
            heard += more
        head, _, body = heard.partition(b"\r\n\r\n")
        size = next(int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:"))
        while len(body) < size:
            body += self.connection.recv(65536)
        return head + b"\r\n\r\n" + body

    @property
    def last(self) -> bytes:
        """The request that is to be answered."""
        return self._server.heard[-1]

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def drip(self, data: bytes) -> None:
        """Each byte in a TLS record of its own."""
        for position in range(len(data)):
            self.connection.sendall(data[position : position + 1])

    @property
    def over(self) -> bool:
        """Whether the test is over."""
        return self._server.over.is_set()

    def wait(self) -> None:
        """Say nothing more until the test is over."""
        self._server.over.wait()


Script = Callable[[Line], None]


def say(*answers: bytes) -> Script:
    """One answer after the other, then the last for ever."""
    left = list(answers)

    def script(line: Line) -> None:
        line.send(left.pop(0) if len(left) > 1 else left[0])

    return script


class HostileServer:
    """`script` runs once for each request; `heard` are the requests, `accepted` counts TCP connections.

    `ended` is set once a client has ended its connection by itself.
    """

    def __init__(
        self,
        script: Script,
        certificate: bytes | None,
        *,
        key: ec.EllipticCurvePrivateKey = MA_KEY,
        version: ssl.TLSVersion | None = None,
        clients: bytes | None = None,
        port: int = 0,
    ) -> None:
        """Without `certificate` (DER) it speaks plain text; `clients` is the CA (DER) of the clients it wants."""
        self._script = script
        self._tls = None if certificate is None else _tls(certificate, key, version, clients)
        self._listener = socket.create_server(("127.0.0.1", port))
        self.address = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted = 0
        self.heard: list[bytes] = []
        self.shown: list[bytes | None] = []
        self.over = threading.Event()
        self.ended = threading.Event()
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> HostileServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all connections; nothing is counted afterwards."""
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for connection in self._connections:
            # What came before is still read.
            with connection, contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        self._connections.clear()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._connections.append(plain.dup())
            thread = threading.Thread(target=self._serve, args=(plain,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        with plain, contextlib.suppress(OSError):
            if self._tls is None:
                self._script(Line(self, plain))
                return
            with self._tls.wrap_socket(plain, server_side=True) as secured:
                line = Line(self, secured)
                while request := line.request():
                    self.heard.append(request)
                    self.shown.append(secured.getpeercert(binary_form=True))
                    self._script(line)
                self.ended.set()


def _tls(
    certificate: bytes, key: ec.EllipticCurvePrivateKey, version: ssl.TLSVersion | None, clients: bytes | None
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if version is not None:
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients)
    with tempfile.NamedTemporaryFile() as file:
        file.write(x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM))
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        context.load_cert_chain(file.name)
    return context
