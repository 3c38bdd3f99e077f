"""Descriptors that came over the bus: each is closed, whether a handler wanted it or not.

Content passes as a sealed memory file: it has a size, never blocks the reader and cannot change while it is read.
Everything else is refused: a pipe or a file system in user space could hold the service for as long as it likes.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from lms.errors import BadRequest

_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Descriptors:
    """The descriptors of one message, closed with it; `sizes` are those of the files when it came."""

    def __init__(self, descriptors: list[int]) -> None:
        self._descriptors = descriptors
        self._unread = set(range(len(descriptors)))
        self.sizes = tuple(os.fstat(descriptor).st_size for descriptor in descriptors)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)

    def __len__(self) -> int:
        return len(self._descriptors)

    def __enter__(self) -> Descriptors:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def content(self, index: int, max_bytes: int) -> bytes:
        """What the sealed memory file at `index` holds, once. Raises BadRequest."""
        if not 0 <= index < len(self._descriptors):
            raise BadRequest("cannot use a descriptor that did not come with the message")
        if index not in self._unread:
            raise BadRequest("cannot use a descriptor twice: its content would weigh twice what was counted")
        self._unread.discard(index)
        # What was not sealed when it was counted may have grown since.
        return read_sealed(self._descriptors[index], min(max_bytes, self.sizes[index]))

    def close(self) -> None:
        """Close all."""
        while self._descriptors:
            os.close(self._descriptors.pop())


@contextmanager
def close_all(descriptors: Iterable[int]) -> Iterator[None]:
    """Descriptors that are closed whatever happens."""
    try:
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def sealed(content: bytes) -> int:
    """A sealed memory file with this content; the caller closes it."""
    descriptor = os.memfd_create("lms", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_SEAL)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_sealed(descriptor: int, max_bytes: int) -> bytes:
    """The whole content of a sealed memory file, wherever it is positioned. Raises BadRequest."""
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        seals = 0
    if seals & _SEALS != _SEALS:
        raise BadRequest("cannot read a descriptor that is no sealed memory file")
    size = os.fstat(descriptor).st_size
    if size > max_bytes:
        raise BadRequest(f"cannot read a memory file of {size} bytes: at most {max_bytes} are expected")
    try:
        return _read_all(descriptor, size)
    except OSError as error:
        raise BadRequest(f"cannot read a memory file: {(error.strerror or str(error)).lower()}") from None


def _read_all(descriptor: int, size: int) -> bytes:
    content = bytearray()
    while len(content) < size and (chunk := os.pread(descriptor, size - len(content), len(content))):
        content += chunk
    return bytes(content)
