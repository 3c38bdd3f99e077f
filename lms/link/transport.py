"""One socket to a bus: authentication, messages in, messages out. Ends once, and then says so once.

Only unix sockets: secrets pass by descriptor. A message that cannot be understood is dropped, not answered by the end
of the connection.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import unquote

from dbus_next import Message, Variant
from dbus_next._private.unmarshaller import Unmarshaller

from lms.errors import BadConfiguration, BusAbsent, BusUnavailable
from lms.link.writer import Writer

_SYSTEM: Final = "unix:path=/run/dbus/system_bus_socket"
_MESSAGES_AT_ONCE: Final = 64  # then other work has its turn
_MAX_MESSAGE: Final = 16 * 1024 * 1024  # a bus disconnects who sends 32 MiB
_MAX_LINE: Final = 1024
_HEADER: Final = 16


def bus_address(bus: str) -> str:
    """The address of `system`, `session`, or of the bus at an address."""
    known = {
        "system": os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", _SYSTEM),
        "session": os.environ.get(
            "DBUS_SESSION_BUS_ADDRESS", f"unix:path={os.environ.get('XDG_RUNTIME_DIR', '/nowhere')}/bus"
        ),
    }
    return known.get(bus, bus)


def _socket_names(address: str) -> Iterator[str]:
    for one in filter(None, address.split(";")):
        kind, _, text = one.partition(":")
        options = {k: unquote(v) for k, _, v in (pair.partition("=") for pair in text.split(","))}
        if kind != "unix" or not options.keys() & {"path", "abstract"}:
            raise BadConfiguration(f"cannot use the bus address '{one}': expected unix:path=… or unix:abstract=…")
        yield options.get("path") or f"\0{options['abstract']}"


def _connected(address: str) -> socket.socket:
    reason: object = "the address is empty"
    kind: type[BusUnavailable] = BusAbsent
    for name in _socket_names(address):
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            made.connect(name)
        except OSError as error:
            made.close()
            reason = (error.strerror or str(error)).lower()
            if not isinstance(error, FileNotFoundError | ConnectionRefusedError):
                kind = BusUnavailable
        else:
            return made
    raise kind(f"cannot reach the bus at '{address}': {reason}")


async def _say(to: socket.socket, line: bytes, answer: bytes) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(to, line + b"\r\n")
    said = b""
    while not said.endswith(b"\r\n"):
        if len(said) > _MAX_LINE or not (byte := await loop.sock_recv(to, 1)):
            raise BusUnavailable("cannot use the bus: it ended the conversation")
        said += byte
    if said.split()[0] != answer:
        raise BusUnavailable("cannot use the bus: it refuses this user")


async def _authenticate(to: socket.socket) -> None:
    """SASL EXTERNAL, and descriptors agreed."""
    try:
        await _say(to, b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode(), b"OK")
        await _say(to, b"NEGOTIATE_UNIX_FD", b"AGREE_UNIX_FD")
        await asyncio.get_running_loop().sock_sendall(to, b"BEGIN\r\n")
    except OSError as error:
        raise BusUnavailable(f"cannot use the bus: {(error.strerror or str(error)).lower()}") from None


def _is_whole(frame: bytearray) -> bool:
    """Whether a message that was not understood was at least read to its end."""
    if len(frame) < _HEADER:
        return False
    body, _, fields = struct.unpack_from("<III" if frame[:1] == b"l" else ">III", frame, 4)
    return len(frame) == int(_HEADER + fields + (-fields & 7) + body)


def _sendable(value: Any) -> Any:
    """A value without what no text of the bus may have, NUL and lone surrogates: a bus disconnects who sends them."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Variant):
        return Variant(value.signature, _sendable(value.value))
    if isinstance(value, dict):
        return {_sendable(key): _sendable(item) for key, item in value.items()}
    return [_sendable(item) for item in value] if isinstance(value, list | tuple) else value


class Transport:
    """A connected, authenticated socket; `received` gets messages, `lost` is called when it ends."""

    def __init__(self, made: socket.socket, received: Callable[[Message], None], lost: Callable[[], None]) -> None:
        self._socket = made
        self._received = received
        self._lost = lost
        self._open = True
        self._unmarshaller = Unmarshaller(None, made)
        self._writer = Writer(made, lambda _: self.close())
        asyncio.get_running_loop().add_reader(made, self._read)

    @classmethod
    async def connect(
        cls, bus: str, received: Callable[[Message], None], lost: Callable[[], None], deadline_s: float
    ) -> Transport:
        """Connect to `system`, `session` or an address. Raises BusAbsent, BusUnavailable, BadConfiguration."""
        made = _connected(bus_address(bus))
        try:
            async with asyncio.timeout(deadline_s):
                await _authenticate(made)
        except TimeoutError:
            made.close()
            raise BusUnavailable("cannot use the bus: it does not answer") from None
        except BaseException:
            made.close()
            raise
        return cls(made, received, lost)

    def send(self, message: Message) -> None:
        """Send a message; its descriptors stay the caller's. Raises BusUnavailable, ValueError for a bad body."""
        if not self._open:
            raise BusUnavailable("cannot send: the bus went away")
        message.body = _sendable(message.body)
        frame = bytes(message._marshall(negotiate_unix_fd=True))
        if len(frame) > _MAX_MESSAGE:
            raise ValueError(f"cannot send {len(frame)} bytes in one message")
        self._writer.enqueue(frame, message.unix_fds or ())

    def close(self) -> None:
        """End the connection; a second time does nothing."""
        if not self._open:
            return
        self._open = False
        asyncio.get_running_loop().remove_reader(self._socket)
        self._writer.close()
        self._drop()
        self._socket.close()
        self._lost()

    def _read(self) -> None:
        try:
            for _ in range(_MESSAGES_AT_ONCE):
                if not self._open or not self._read_one():
                    return
        except (OSError, EOFError):
            self.close()

    def _read_one(self) -> bool:
        """Read one message and hand it on; False where it is not there yet. Raises EOFError, OSError."""
        try:
            message = self._unmarshaller.unmarshall()
        except (OSError, EOFError):
            raise
        except Exception:  # noqa: BLE001 - the library has no one kind of error for what it cannot understand
            if not _is_whole(self._unmarshaller.buf):
                raise EOFError from None
            self._drop()
        else:
            if message is None:
                return False
            self._unmarshaller = Unmarshaller(None, self._socket)
            self._received(message)
        return True

    def _drop(self) -> None:
        """Forget a message that was begun, and close its descriptors."""
        for descriptor in self._unmarshaller.unix_fds:
            os.close(descriptor)
        self._unmarshaller = Unmarshaller(None, self._socket)
