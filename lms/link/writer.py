"""Writing to the bus: a socket that is full is no broken socket.

Any neighbour who may call a method can fill the socket by pipelined calls; a writer that takes EAGAIN for the end of
the connection lets him disconnect the service.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class _Frame:
    """What is left to write of one message; the descriptors are ours and go with its first byte."""

    rest: memoryview
    descriptors: list[int]

    def write(self, to: socket.socket) -> bool:
        """Write what fits; whether that was all. Raises BlockingIOError where nothing fits."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", self.descriptors))]
        sent = to.sendmsg([self.rest], rights if self.descriptors else [])
        self.close()
        self.rest = self.rest[sent:]
        return not self.rest

    def close(self) -> None:
        """Close the descriptors that were not sent, or were sent."""
        while self.descriptors:
            os.close(self.descriptors.pop())


class Writer:
    """A queue of messages before a non-blocking socket."""

    def __init__(self, to: socket.socket, lost: Callable[[OSError], None]) -> None:
        self._socket = to
        self._lost = lost
        self._queue: deque[_Frame] = deque()
        self._loop = asyncio.get_running_loop()

    def enqueue(self, message: bytes, descriptors: Iterable[int]) -> None:
        """Write a message now, or as soon as there is room; descriptors are duplicated."""
        self._queue.append(_Frame(memoryview(message), [os.dup(d) for d in descriptors]))
        if len(self._queue) == 1:
            self._write()

    def close(self) -> None:
        """Forget what was not written."""
        self._loop.remove_writer(self._socket)
        while self._queue:
            self._queue.pop().close()

    def _write(self) -> None:
        try:
            while self._queue:
                if self._queue[0].write(self._socket):
                    self._queue.popleft()
        except (BlockingIOError, InterruptedError):
            self._loop.add_writer(self._socket, self._write)
        except OSError as error:
            self._loop.remove_writer(self._socket)
            self._loop.call_soon(self._lost, error)
        else:
            self._loop.remove_writer(self._socket)
