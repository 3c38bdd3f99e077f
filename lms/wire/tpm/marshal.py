"""Marshalling of TPM 2.0 structures (Library Part 2, "Notation": big-endian, TPM2B = u16 size ‖ bytes).

`Reader` is strict: a structure that is too short or goes on after its end is MalformedStructure, so that one
value has one encoding. What the bytes mean is not known here.
"""

from __future__ import annotations

from typing import Self

from lms.errors import MalformedStructure


class Writer:
    """Appends fields; `bytes(writer)` is the result. A value too large for its field is OverflowError."""

    def __init__(self) -> None:
        self._data = bytearray()

    def _integer(self, value: int, size: int) -> Self:
        self._data += value.to_bytes(size, "big")
        return self

    def u8(self, value: int) -> Self:
        return self._integer(value, 1)

    def u16(self, value: int) -> Self:
        return self._integer(value, 2)

    def u32(self, value: int) -> Self:
        return self._integer(value, 4)

    def u64(self, value: int) -> Self:
        return self._integer(value, 8)

    def raw(self, value: bytes) -> Self:
        """Bytes without a size field."""
        self._data += value
        return self

    def sized(self, value: bytes) -> Self:
        """A TPM2B."""
        return self.u16(len(value)).raw(value)

    def __bytes__(self) -> bytes:
        return bytes(self._data)


class Reader:
    """Takes fields off the front; finish with `end()`."""

    def __init__(self, data: bytes) -> None:
        self._data = bytes(data)
        self._at = 0

    def raw(self, size: int) -> bytes:
        """The next `size` bytes."""
        start, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise MalformedStructure("cannot read a TPM structure: it ends too early")
        return self._data[start : self._at]

    def u8(self) -> int:
        return int.from_bytes(self.raw(1), "big")

    def u16(self) -> int:
        return int.from_bytes(self.raw(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self.raw(4), "big")

    def u64(self) -> int:
        return int.from_bytes(self.raw(8), "big")

    def sized(self) -> bytes:
        """The content of a TPM2B."""
        return self.raw(self.u16())

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.raw(len(self._data) - self._at)

    def end(self) -> None:
        """Refuse bytes after the last field."""
        if self._at != len(self._data):
            raise MalformedStructure("cannot read a TPM structure: bytes follow its end")


def sized(value: bytes) -> bytes:
    """`value` as a TPM2B."""
    return bytes(Writer().sized(value))


def unsized(tpm2b: bytes) -> bytes:
    """The content of bytes that are one whole TPM2B."""
    # Without a Reader: a package has tens of thousands of these.
    if int.from_bytes(tpm2b[:2], "big") != len(tpm2b) - 2:
        raise MalformedStructure("cannot read a TPM structure: its size field is not its size")
    return tpm2b[2:]
