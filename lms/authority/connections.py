"""How much of a Migration Authority strangers may take: connections, bytes and time (PROTOCOL §7).

Counted before anything is said, so that a peer without a handshake counts as much as one with.
"""

from __future__ import annotations

import io
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from threading import Condition, Lock
from typing import Any, Final

_CHUNK: Final = 64 * 1024
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds; `body_bytes` for all requests and answers on their way together, `rate` bytes a second."""

    connections: int = 256
    connections_per_network: int = 16
    body_bytes: int = 256 * _MIB
    handshake_s: float = 10
    header_s: float = 30
    body_s: float = 30
    rate: int = 64 * 1024
    stop_s: float = 20

    def transfer_s(self, size: int) -> float:
        """How long so many bytes may take."""
        return self.body_s + size / self.rate


def network_of(address: str) -> str:
    """Who is counted as one: an IPv4 address, or the /64 of an IPv6 address, all of which one subscriber has."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Network((parsed, 64), strict=False))
    return str(parsed)


class Gate:
    """Who is inside: sockets by network, until each is let out."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._changed = Condition()
        self._inside: dict[socket.socket, str] = {}
        self._networks: Counter[str] = Counter()

    def enter(self, connection: socket.socket, address: str) -> bool:
        """Whether there is room; if so, `connection` is inside."""
        network = network_of(address)
        with self._changed:
            full = len(self._inside) >= self._limits.connections
            if full or self._networks[network] >= self._limits.connections_per_network:
                return False
            self._inside[connection] = network
            self._networks[network] += 1
            return True

    def leave(self, connection: socket.socket) -> None:
        """Let a connection out; once more is harmless."""
        with self._changed:
            network = self._inside.pop(connection, None)
            if network is None:
                return
            self._networks[network] -= 1
            self._networks += Counter()  # forgets who has none left
            self._changed.notify_all()

    def end_reading(self) -> None:
        """Who is inside can say nothing more; what was said already is still answered."""
        with self._changed:
            for connection in self._inside:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)

    def wait_empty(self, timeout_s: float) -> bool:
        """Whether all were out within this time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._inside, timeout_s)


class Room:
    """Bytes of requests and answers on their way, all together."""

    def __init__(self, size: int) -> None:
        self.left = size
        self._lock = Lock()

    @contextmanager
    def taken(self, size: int) -> Iterator[bool]:
        """Whether there was room for so many bytes, for as long as they are needed."""
        with self._lock:
            granted = size <= self.left
            self.left -= size if granted else 0
        try:
            yield granted
        finally:
            with self._lock:
                self.left += size if granted else 0


class Timed(io.RawIOBase):
    """A socket's bytes, each read and write within what is left until one deadline for all of them.

    A time limit of the socket alone would begin anew with each byte that is dripped.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._until = 0.0

    def allow(self, seconds: float) -> None:
        """So long from now."""
        self._until = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._wait()
        return self._connection.recv_into(buffer)

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            self._wait()
            left = left[self._connection.send(left[:_CHUNK]) :]
        return size

    def _wait(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
