"""TPM keys in files that other programs wrote: TPMKey of "ASN.1 Specification for TPM 2.0 Key Files".

Only its parent is read, in whatever kind of key: `lms.wire.tpm.esys` reads those that are as ours. OpenSSL's files are
this in PEM; the kernel's trusted-key blobs are it in hexadecimal digits, or as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lms.errors import MalformedStructure
from lms.wire.tpm.marshal import Reader

_KINDS: Final = {
    bytes.fromhex("6781050a0103"): False,  # 2.23.133.10.1.3, loadable
    bytes.fromhex("6781050a0104"): False,  # 2.23.133.10.1.4, importable
    bytes.fromhex("6781050a0105"): True,  # 2.23.133.10.1.5, sealed data
}
_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_OID: Final = 0x06
_SEQUENCE: Final = 0x30
_OPTIONAL: Final = range(0xA0, 0xA7)
_HANDLE: Final = 4


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The handle of the parent, persistent or of a hierarchy; and whether it is sealed data."""

    parent: int
    sealed: bool


def is_key_file(der: bytes) -> bool:
    """Whether bytes begin as a TPMKey does."""
    return der[:1] == bytes((_SEQUENCE,)) and any(kind in der[4:16] for kind in _KINDS)


def read_key_file(der: bytes) -> KeyFile:
    """A DER with one TPMKey and nothing else. Raises MalformedStructure."""
    reader = Reader(der)
    fields = Reader(_content(reader, _SEQUENCE))
    reader.end()
    kind = _content(fields, _OID)
    if kind not in _KINDS:
        raise MalformedStructure("cannot read a TPM key file: nobody knows its kind")
    tag, content = _element(fields)
    while tag in _OPTIONAL:
        tag, content = _element(fields)
    parent = content.removeprefix(b"\0")
    if tag != _INTEGER or not 1 <= len(parent) <= _HANDLE:
        raise MalformedStructure("cannot read a TPM key file: its parent is no handle")
    _content(fields, _OCTETS)
    _content(fields, _OCTETS)
    fields.end()
    return KeyFile(int.from_bytes(parent, "big"), _KINDS[kind])


def _content(reader: Reader, wanted: int) -> bytes:
    tag, content = _element(reader)
    if tag != wanted:
        raise MalformedStructure("cannot read a TPM key file: its fields are not those of a TPMKey")
    return content


def _element(reader: Reader) -> tuple[int, bytes]:
    """The next element of a DER."""
    tag, size = reader.u8(), reader.u8()
    if size & 0x80:
        size = int.from_bytes(reader.raw(size & 0x7F), "big")
    return tag, reader.raw(size)
