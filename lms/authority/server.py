"""HTTP over TLS before a Migration Authority: POST of one envelope to `/`, and nothing else (PROTOCOL §7).

One thread a connection, the handshake in it too, so that nobody who is slow holds another up. What the bytes of
an envelope mean is `lms.authority.soap`'s; who a certificate speaks for is the authority's.
"""

from __future__ import annotations

import io
import logging
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from threading import Event, Thread
from types import TracebackType
from typing import Any, Final, Self, cast

from lms.authority.connections import Gate, Limits, Room, Timed, network_of
from lms.authority.soap import Reply, answer, busy
from lms.errors import BadConfiguration
from lms.journal import fields
from lms.model.authorities import Peer
from lms.ports import MigrationAuthority
from lms.wire.envelope import MAX_REQUEST, MEDIA_TYPE

_LOG: Final = logging.getLogger(__name__)
_CHARSETS: Final = (None, "utf-8")
_BACKLOG: Final = 128

Contexts = Callable[[], ssl.SSLContext]
Application = Callable[[Peer], MigrationAuthority]


class _Refused(Exception):
    """A request that is no POST of an envelope; the status says why."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


def _length(headers: Message) -> int:
    """How many bytes a request announces. Raises _Refused."""
    announced = headers.get_all("Content-Length", [])
    # Chunks have no end in sight; both at once is how a request is smuggled past somebody in between.
    if not announced or "Transfer-Encoding" in headers:
        raise _Refused(HTTPStatus.LENGTH_REQUIRED)
    if len(announced) > 1 or not (announced[0].isascii() and announced[0].isdigit()):
        raise _Refused(HTTPStatus.BAD_REQUEST)
    if len(announced[0]) > len(str(MAX_REQUEST)) or int(announced[0]) > MAX_REQUEST:
        raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(announced[0])


def _judge(path: str, headers: Message) -> int:
    """How many bytes of an envelope follow. Raises _Refused."""
    if path != "/":
        raise _Refused(HTTPStatus.NOT_FOUND)
    if headers.get_content_type() != MEDIA_TYPE or headers.get_content_charset() not in _CHARSETS:
        raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    return _length(headers)


class _Handler(BaseHTTPRequestHandler):
    """The requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # what cannot be read is refused with a status, too
    server: AuthorityServer
    connection: ssl.SSLSocket

    def setup(self) -> None:
        self.connection = self.request
        self._timed = Timed(self.connection)
        self.rfile = io.BufferedReader(self._timed)
        self.wfile = cast(Any, self._timed)
        certificate = self.connection.getpeercert(binary_form=True) or None
        self._authority = self.server.application(Peer(network_of(self.client_address[0]), certificate))

    def finish(self) -> None:
        """Nothing is buffered for writing."""

    def handle_one_request(self) -> None:
        self._timed.allow(self.server.limits.header_s)
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True  # gone, or too slow
        if self.server.stopping.is_set():
            self.close_connection = True

    def do_POST(self) -> None:
        """An envelope for an envelope."""
        try:
            length = _judge(self.path, self.headers)
        except _Refused as refused:
            self.send_error(refused.status)
            return
        with self.server.room.taken(length) as granted:
            reply = self._answer(length) if granted else self._turn_away()
        # Who does not read holds an answer in memory as who does not write holds a request.
        with self.server.room.taken(len(reply.envelope)) as granted:
            self._reply(reply if granted else self._turn_away())

    def _answer(self, length: int) -> Reply:
        self._timed.allow(self.server.limits.transfer_s(length))
        envelope = self.rfile.read(length)
        if len(envelope) < length:
            raise ConnectionAbortedError
        return answer(envelope, self._authority)

    def _turn_away(self) -> Reply:
        self.close_connection = True  # a body may be unread
        return busy()

    def _reply(self, reply: Reply) -> None:
        address, correlation = self.client_address[0], reply.correlation_id
        told = fields(address=address, correlation=correlation, operation=reply.operation, outcome=reply.outcome)
        _LOG.info("%s %s %s: %s", address, correlation, reply.operation, reply.outcome, extra=told)
        self._timed.allow(self.server.limits.transfer_s(len(reply.envelope)))
        self._send(HTTPStatus(reply.status), reply.envelope, {"Content-Type": f"{MEDIA_TYPE}; charset=utf-8"})

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A status without a page: what was sent is not shown to anybody."""
        self.close_connection = True
        # The base class has this for methods that there is no function for: all but one.
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        _LOG.info("%s - -: HTTP %d", self.client_address[0], status)
        self._send(status, b"", {"Allow": "POST"} if status == HTTPStatus.METHOD_NOT_ALLOWED else {})

    def _send(self, status: HTTPStatus, body: bytes, headers: dict[str, str]) -> None:
        if self.server.stopping.is_set():
            self.close_connection = True
        self.send_response_only(status)
        fixed = {"Content-Length": str(len(body)), "Cache-Control": "no-store"}
        closing = {"Connection": "close"} if self.close_connection else {}
        for name, value in (fixed | headers | closing).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing of what a peer sent is written down."""

    def handle_expect_100(self) -> bool:
        """A client that asks first is told to go on only where its request would be read."""
        try:
            _judge(self.path, self.headers)
        except _Refused as refused:
            self.send_error(refused.status)
            return False
        return super().handle_expect_100()


class AuthorityServer(ThreadingMixIn, TCPServer):
    """Serves from `start` to `stop`, or as a context manager.

    `contexts` is asked for each new connection, so that a certificate can be replaced meanwhile; `application`
    gives the authority as it is to one peer.
    """

    daemon_threads = True  # else a peer could hold up the end of the process; `stop` waits for them
    allow_reuse_address = True
    request_queue_size = _BACKLOG

    def __init__(
        self, listen: tuple[str, int], contexts: Contexts, application: Application, limits: Limits | None = None
    ) -> None:
        self.limits = limits or Limits()
        self.contexts = contexts
        self.application = application
        self.room = Room(self.limits.body_bytes)
        self.stopping = Event()
        self._gate = Gate(self.limits)
        self._thread = Thread(target=self.serve_forever, name="accept", kwargs={"poll_interval": 0.1})
        host, port = listen
        try:
            self.address_family = socket.getaddrinfo(host or None, port, flags=socket.AI_PASSIVE)[0][0]
            super().__init__(listen, cast(Any, _Handler))
        except OSError as error:
            raise BadConfiguration(f"cannot listen on '{host}', port {port}: {error.strerror}") from None

    def server_bind(self) -> None:
        """Listen on IPv4 too where any IPv6 address is meant."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    @property
    def port(self) -> int:
        """Where it listens; the one that was free if 0 was asked for."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Begin to accept connections, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Accept no more, answer what was asked, close."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        self._gate.end_reading()
        if not self._gate.wait_empty(self.limits.stop_s):
            _LOG.warning("requests were cut off at the end")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def process_request(self, request: Any, client_address: Any) -> None:
        """In the accepting thread: count, and give the connection a thread."""
        if not self._gate.enter(request, client_address[0]):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._gate.leave(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """In the connection's thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._gate.leave(request)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Handshake, requests, farewell."""
        request.settimeout(self.limits.handshake_s)  # of the whole handshake
        # Else the body of each answer waits until its head is acknowledged, which a peer puts off for 40 ms.
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = self.contexts()
        secured = context.wrap_socket(request.dup(), server_side=True, do_handshake_on_connect=False)
        try:
            secured.do_handshake()
            _Handler(secured, client_address, self)
            # Our half of the farewell; the peer's is not waited for.
            secured.settimeout(0)
            with suppress(OSError, ValueError):
                secured.unwrap()
        finally:
            secured.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is its peer's doing; anything else is ours. No traceback: it may quote a secret."""
        error = sys.exception()
        level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
        _LOG.log(level, "%s - -: %s in a connection", client_address[0], type(error).__name__)
