"""HTTP over TLS to one Migration Authority (PROTOCOL §5 TLS, §7).

Who answers is judged between the handshake and the first byte of HTTP. There are no proxies, environment
variables, redirects, cookies, compression or repetitions here; what the bytes mean is read elsewhere.
"""

from __future__ import annotations

import http.client
import select
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from lms.adapters.authority.deadline import Attempt, TimedSocket, connect
from lms.errors import (
    AuthorityBusy,
    AuthorityFailed,
    AuthoritySlow,
    AuthorityUnreachable,
    AuthorityUntrusted,
    BadRequest,
    LmsError,
)
from lms.model.addresses import endpoint_of
from lms.model.secret import Secret
from lms.process import in_memory
from lms.wire.private_keys import tls_identity

_CHUNK: Final = 1024 * 1024
_SOAP: Final = "application/soap+xml"
# SOAP 1.2 Part 2, 7.5; a proxy that stands before the authority says the busy ones, and says them in HTML.
_BUSY: Final = frozenset({429, 503})
_ANSWERS: Final = frozenset({200, 400, 500}) | _BUSY


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What a station shows in the handshake: DER, and the key as PKCS#8 DER."""

    certificate: bytes
    key: Secret


class _Pinned(http.client.HTTPConnection):
    """A connection whose peer was judged before anything can be sent on it."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext, judge: Callable[[bytes], None]) -> None:
        super().__init__(host, port)
        self._tls = tls
        self._judge = judge
        self.attempt: Attempt | None = None
        self.leaf = b""

    def connect(self) -> None:
        assert self.attempt is not None
        plain = connect(self.host, self.port, self.attempt.deadline)
        try:
            plain.settimeout(self.attempt.deadline.remaining())
            secured = self._tls.wrap_socket(plain, server_hostname=self.host, suppress_ragged_eofs=False)
        except BaseException:
            plain.close()
            raise
        try:
            leaf = secured.getpeercert(binary_form=True) or b""
            self._judge(leaf)
        except BaseException:
            secured.close()
            raise
        self.leaf = leaf
        self.sock = secured

    def begin(self, attempt: Attempt) -> None:
        """Make ready for a request: on the present connection where it is still good, else on a new one."""
        self.attempt = attempt
        # Unasked bytes are the peer's farewell, or something that must not pass for the next answer.
        if isinstance(self.sock, TimedSocket) and _has_input(self.sock):
            self.close()
        if self.sock is None:
            self.connect()
        assert isinstance(self.sock, TimedSocket)
        self.sock.attempt = attempt


def _has_input(connection: TimedSocket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0)) or connection.pending() > 0


def _tls(station: ClientCertificate | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # no public CA has a say here: `judge` decides
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION  # else another could take over, judged never
    context.sslsocket_class = TimedSocket
    if station is not None:
        with in_memory(tls_identity(station.certificate, station.key).reveal()) as path:
            context.load_cert_chain(path)
    return context


def _judged_at(address: str, judge: Callable[[bytes], None], leaf: bytes) -> None:
    """An authority may have several addresses: whoever is refused is named by his."""
    try:
        judge(leaf)
    except AuthorityUntrusted as error:
        raise AuthorityUntrusted(f"cannot use '{address}': {error}") from None


class Channel:
    """The way to one address; at most one connection, kept between calls. Not for several threads at once."""

    def __init__(self, address: str, judge: Callable[[bytes], None], station: ClientCertificate | None = None) -> None:
        """`address` is https://HOST:PORT; `judge` raises for a certificate that is not it."""
        try:
            host, port = endpoint_of(address)
        except ValueError:
            raise BadRequest(f"cannot use '{address}' as an address: expected https://HOST:PORT") from None
        self._address = address
        self._connection = _Pinned(host, port, _tls(station), partial(_judged_at, address, judge))

    @property
    def leaf(self) -> bytes:
        """DER of the certificate seen on the newest connection; empty before there was one."""
        return self._connection.leaf

    def close(self) -> None:
        """Close the connection; the next call makes a new one."""
        self._connection.close()

    def post(self, message: bytes, headers: Mapping[str, str], limit: int, attempt: Attempt) -> bytes:
        """The SOAP answer to a message, at most `limit` bytes; nothing in it is believed.

        Raises AuthorityUntrusted before anything was sent, AuthorityUnreachable, AuthoritySlow, AuthorityBusy,
        AuthorityFailed.
        """
        attempt.expected = len(message) + limit
        try:
            self._connection.begin(attempt)
            self._connection.request("POST", "/", message, dict(headers))
            with self._connection.getresponse() as response:
                _check(response, limit)
                return _body(response, limit)
        except LmsError:
            self.close()
            raise
        except (OSError, http.client.IncompleteRead) as error:
            self.close()
            kind = AuthoritySlow if isinstance(error, TimeoutError) else AuthorityUnreachable
            raise kind(f"cannot talk to '{self._address}': {_reason(error)}") from None
        except http.client.HTTPException as error:
            self.close()
            raise AuthorityFailed(f"cannot use the answer of '{self._address}': {type(error).__name__}") from None


def _reason(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "no answer in time"
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "HTTP_REQUEST" | "RECORD_LAYER_FAILURE"):
            return "what answers there does not speak TLS"
        case http.client.IncompleteRead() | ssl.SSLEOFError() | ConnectionError():
            return "the connection was refused or broke off"
        case ssl.SSLError(reason=str(reason)):
            return f"TLS failed ({reason.lower().replace('_', ' ')})"
    return str(error.args[-1] if error.args else error)


def _check(response: http.client.HTTPResponse, limit: int) -> None:
    status = response.status
    if 300 <= status < 400:
        raise AuthorityFailed(f"cannot follow the authority elsewhere: it answers with HTTP status {status}")
    if status not in _ANSWERS or response.headers.get_content_type() != _SOAP:
        kind = AuthorityBusy if status in _BUSY else AuthorityFailed
        raise kind(f"cannot use the answer: it is no SOAP 1.2 message and has HTTP status {status}")
    if response.headers.get("Content-Encoding"):
        raise AuthorityFailed("cannot use the answer: it is compressed, which nobody asked for")
    if response.length is not None and response.length > limit:
        raise AuthorityFailed(f"cannot take an answer of {response.length} bytes: at most {limit}")


def _body(response: http.client.HTTPResponse, limit: int) -> bytes:
    body = bytearray()
    while chunk := response.read(min(_CHUNK, limit + 1 - len(body))):
        body += chunk
        if len(body) > limit:
            raise AuthorityFailed(f"cannot take an answer of more than {limit} bytes")
    if response.length:
        raise http.client.IncompleteRead(bytes(0), response.length)
    return bytes(body)
