"""The way to the TPM and back, with a deadline for each command (TCG TSS 2.0 TCTI Specification).

The TCTIs of libtss2 wait for ever where a TPM does not answer. It is also the one place where all bytes pass:
tests listen and break things here. Neither libtss2 nor a library is needed for it: a look at boot takes nothing else.
"""

from __future__ import annotations

import os
import select
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from lms.errors import BadConfiguration

if TYPE_CHECKING:
    import socket

Observer = Callable[[bytes, bytes], None]
"""Called with (command, b"") before a command is sent and with (command, response) after its answer.

An OSError that it raises is a failure of the transport at this point.
"""

RESPONSE_MAX: Final = 4096
_HEADER_SIZE: Final = 10
_IO_ERROR: Final = 0xA000A  # TSS2_TCTI_RC_IO_ERROR
_RC_INITIALIZE: Final = 0x100
_STARTUP_CLEAR: Final = bytes.fromhex("80010000000c000001440000")


class Refused(Exception):
    """A command failed: `rc` is the TPM's response code, or that of the transport."""

    def __init__(self, rc: int) -> None:
        super().__init__(f"{rc:#x}")
        self.rc = rc


class Endpoint(Protocol):
    """Where commands go: one command, then its response. Any failure is an OSError."""

    def send(self, command: bytes, expires: float) -> None: ...

    def receive(self, expires: float) -> bytes: ...

    def close(self) -> None: ...


def _left(expires: float) -> float:
    """Seconds until `expires` on the monotonic clock; TimeoutError where there are none."""
    left = expires - time.monotonic()
    if left <= 0:
        raise TimeoutError("the TPM did not answer in time")
    return left


def _timeval(seconds: float) -> bytes:
    """struct timeval; zero would mean for ever."""
    whole, fraction = divmod(max(int(seconds * 1_000_000), 1), 1_000_000)
    return struct.pack("@ll", whole, fraction)


def _complete(response: bytes) -> bool:
    return len(response) >= _HEADER_SIZE and len(response) >= int.from_bytes(response[2:6], "big")


class SocketEndpoint:
    """swtpm: a connection per command, so that neither a restart nor another client gets in the way."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def send(self, command: bytes, expires: float) -> None:
        import socket  # a look at boot, at a device, takes none

        self.close()
        self._socket = socket.socket(socket.AF_UNIX if isinstance(self._address, str) else socket.AF_INET)
        # a unix socket with a full backlog refuses who does not block, so the kernel keeps the time here
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(_left(expires)))
        self._socket.connect(self._address)
        self._socket.settimeout(_left(expires))
        self._socket.sendall(command)

    def receive(self, expires: float) -> bytes:
        if self._socket is None:
            raise OSError("no command was sent")
        response = b""
        while not _complete(response):
            self._socket.settimeout(_left(expires))
            part = self._socket.recv(RESPONSE_MAX)
            if not part:
                raise OSError("the TPM closed the connection")
            response += part
        self.close()
        return response

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class DeviceEndpoint:
    """A character device of the kernel, /dev/tpmrm0; opened with the first command."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._pending = False

    def send(self, command: bytes, expires: float) -> None:
        if self._descriptor is None:
            # without O_NONBLOCK the kernel executes the command inside write(), out of reach of any deadline
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        self._pending = True
        if os.write(self._descriptor, command) != len(command):
            raise OSError("the TPM device took a part of the command")

    def receive(self, expires: float) -> bytes:
        if self._descriptor is None:
            raise OSError("no command was sent")
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        response = b""
        while not _complete(response):
            if not poll.poll(_left(expires) * 1000):
                continue
            part = os.read(self._descriptor, RESPONSE_MAX)
            if not part:
                raise OSError("the TPM device ended its answer early")
            response += part
        self._pending = False
        return response

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if self._pending:  # the kernel may hold close() until the command ends
            threading.Thread(target=os.close, args=(descriptor,), daemon=True).start()
        else:
            os.close(descriptor)
        self._pending = False


class Channel:
    """Answers, or fails with TSS2_TCTI_RC_IO_ERROR, within `deadline_s` seconds; failures are Refused.

    A TPM that was not started is started (TPM2_Startup, CLEAR), and the command sent once more. `trouble` is what
    the transport said when it failed last.
    """

    def __init__(self, endpoint: Endpoint, deadline_s: float, observe: Observer | None = None) -> None:
        self._endpoint = endpoint
        self._observe = observe
        self._command = b""
        self._expires = 0.0
        self.deadline_s = deadline_s
        self.trouble = ""

    def transmit(self, command: bytes) -> None:
        """Send a command."""
        self._expires = time.monotonic() + self.deadline_s
        self._command = command
        try:
            if self._observe is not None:
                self._observe(command, b"")
            self._endpoint.send(command, self._expires)
        except OSError as error:
            raise self._failure(error) from error

    def receive(self) -> bytes:
        """The response, whatever its code."""
        try:
            response = self._endpoint.receive(self._expires)
            if response_code(response) == _RC_INITIALIZE and self._command != _STARTUP_CLEAR:
                for command in (_STARTUP_CLEAR, self._command):
                    self._endpoint.send(command, self._expires)
                    response = self._endpoint.receive(self._expires)
            if self._observe is not None:
                self._observe(self._command, response)
        except OSError as error:
            raise self._failure(error) from error
        return response

    def execute(self, command: bytes) -> bytes:
        """One command without sessions, past ESAPI; the response's parameters. Refused for any other code than 0."""
        self.transmit(command)
        response = self.receive()
        if response_code(response):
            raise Refused(response_code(response))
        return response[_HEADER_SIZE:]

    def shut(self) -> None:
        """Let go of the TPM."""
        with suppress(OSError):
            self._endpoint.close()

    def _failure(self, error: OSError) -> Refused:
        self.trouble = (error.strerror or str(error)).lower()  # libtss2 passes on the code alone
        self.shut()
        return Refused(_IO_ERROR)


def response_code(response: bytes) -> int:
    """TPM_RC of a response."""
    return int.from_bytes(response[6:_HEADER_SIZE], "big")


def command(code: int, *fields: int) -> bytes:
    """A command without sessions whose handles and parameters are all UINT32."""
    return struct.pack(f">HII{len(fields)}I", 0x8001, _HEADER_SIZE + 4 * len(fields), code, *fields)


def _swtpm(settings: str) -> Endpoint:
    match dict(part.partition("=")[::2] for part in settings.split(",")):
        case {"path": path, **rest} if path and not rest:
            return SocketEndpoint(path)
        case {"host": host, "port": port, **rest} if host and port.isdecimal() and not rest:
            return SocketEndpoint((host, int(port)))
    raise BadConfiguration(f"cannot use the TCTI 'swtpm:{settings}': give path=FILE, or host=HOST,port=PORT")


def endpoint_for(tcti: str) -> Endpoint:
    """The endpoint that a TCTI configuration names; BadConfiguration for one that we do not know."""
    kind, _, settings = tcti.partition(":")
    if kind == "swtpm":
        return _swtpm(settings)
    if kind == "device" and (settings.startswith("/") or not settings):
        return DeviceEndpoint(settings or "/dev/tpmrm0")
    raise BadConfiguration(f"cannot use the TCTI '{tcti}': give device:/dev/tpmrm0 or swtpm:path=FILE")
