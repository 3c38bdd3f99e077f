"""One deadline for everything that belongs to a call: names, connection, handshake, request and answer.

A time-out of a socket is one of each system call alone: who drips its answer byte by byte holds the caller for
ever. Here every step gets what is left of the whole; each byte that was moved adds what it takes on a slow line,
up to a bound that holds for whoever drips just fast enough.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

_SocketAddress = tuple[Any, ...]
_NODELAY: Final = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
_CHUNK: Final = 64 * 1024
# Bytes a second: a large package on a slow line takes its time, a peer that is slower than this does not.
_SLOWEST: Final = 64 * 1024


class Deadline:
    """A point in time, by a clock of seconds that never goes back; it can be put off by `more` seconds in all."""

    def __init__(self, seconds: float, more: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self._more = more

    def remaining(self) -> float:
        """Seconds left, more than 0. Raises TimeoutError afterwards."""
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left

    def extend(self, seconds: float) -> None:
        """Put the end off, by what there is left for that."""
        granted = min(seconds, self._more)
        self._more -= granted
        self._end += granted

    def allows(self, seconds: float) -> bool:
        """Whether anything would be left after this many seconds."""
        return self._clock() + seconds < self._end


@dataclass(slots=True)
class Attempt:
    """One try at a call: how long it may take, and whether a byte of an answer came.

    `expected` bytes may put the deadline off, so that a flood gains no time by its speed.
    """

    deadline: Deadline
    expected: int = 0
    answered: bool = False

    def moved(self, count: int) -> None:
        """Bytes went over the line, in whichever direction."""
        counted = min(count, self.expected)
        self.expected -= counted
        self.deadline.extend(counted / _SLOWEST)


class TimedSocket(ssl.SSLSocket):
    """A TLS connection on which each step takes no longer than what is left of the present attempt."""

    attempt: Attempt

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        self.settimeout(self.attempt.deadline.remaining())
        count = super().recv_into(buffer, nbytes, flags)
        self.attempt.answered |= count > 0
        self.attempt.moved(count)
        return count

    def send(self, data: Any, flags: int = 0) -> int:
        self.settimeout(self.attempt.deadline.remaining())
        count = super().send(memoryview(data)[:_CHUNK], flags)
        self.attempt.moved(count)
        return count


def connect(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A TCP connection to the first of the host's addresses that answers. Raises OSError."""
    failed = OSError("its host has no address")
    found = _resolve(host, port, deadline)
    for left, (family, address) in zip(range(len(found), 0, -1), found, strict=True):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            # A first address that swallows everything must leave time for the others.
            connection.settimeout(deadline.remaining() / left)
            connection.connect(address)
            connection.setsockopt(*_NODELAY)
        except OSError as error:
            connection.close()
            failed = error
        else:
            return connection
    raise failed


def _resolve(host: str, port: int, deadline: Deadline) -> list[tuple[int, _SocketAddress]]:
    found: list[tuple[int, _SocketAddress]] = []

    def ask() -> None:
        try:
            found.extend((a[0], a[4]) for a in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError):
            found.clear()

    # getaddrinfo takes its time and cannot be interrupted: the thread is left behind.
    thread = threading.Thread(target=ask, name="resolver", daemon=True)
    thread.start()
    thread.join(deadline.remaining())
    deadline.remaining()
    if thread.is_alive() or not found:
        raise OSError("its host is not known")
    return found
