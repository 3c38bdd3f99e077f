"""Key files of other programs: TPMKey of "ASN.1 Specification for TPM 2.0 Key Files", as DER and in PEM.

OpenSSL's TSS2 PRIVATE KEY is one in PEM; the kernel's trusted-key blob is one as it is, or in hexadecimal digits.
"""

from __future__ import annotations

import base64
import textwrap
from dataclasses import dataclass
from enum import Enum
from typing import Final

from lms.errors import MalformedStructure
from lms.model.tpm import SealedObject
from lms.wire.tpm.marshal import Reader

_BOOLEAN: Final = 0x01
_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_OID: Final = 0x06
_SEQUENCE: Final = 0x30
_EMPTY_AUTH: Final = 0xA0
_OPTIONAL: Final = range(_EMPTY_AUTH, 0xA7)
_NOT_EMPTY: Final = bytes((_BOOLEAN, 1, 0))
_HANDLE: Final = 4

_BEGIN: Final = "-----BEGIN TSS2 PRIVATE KEY-----"
_END: Final = "-----END TSS2 PRIVATE KEY-----"


class KeyKind(Enum):
    """What a file holds: its object identifier."""

    LOADABLE = bytes.fromhex("6781050a0103")  # 2.23.133.10.1.3
    IMPORTABLE = bytes.fromhex("6781050a0104")  # 2.23.133.10.1.4
    SEALED = bytes.fromhex("6781050a0105")  # 2.23.133.10.1.5


@dataclass(frozen=True, slots=True)
class KeyFile:
    """TPM2B areas, the handle of their parent, persistent or of a hierarchy, and whether no password is asked for.

    `plain`: there is nothing else in it, as policies or an encrypted seed.
    """

    key: SealedObject
    parent: int
    empty_auth: bool = True
    kind: KeyKind = KeyKind.LOADABLE
    plain: bool = True


def tss2_private_key(
    public: bytes, private: bytes, parent_handle: int, *, sealed: bool = False, empty_auth: bool = True
) -> bytes:
    """DER of a TPMKey below the persistent `parent_handle`, from TPM2B_PUBLIC and TPM2B_PRIVATE.

    A sealed one, as hexadecimal text, is what `keyctl add trusted … "load …"` takes.
    """
    kind = KeyKind.SEALED if sealed else KeyKind.LOADABLE
    return _der(
        _SEQUENCE,
        _der(_OID, kind.value)
        # optional in ASN.1, but some readers (tpm2-pytss) want it: FALSE is written too
        + _der(_EMPTY_AUTH, _der(_BOOLEAN, b"\xff" if empty_auth else b"\0"))
        + _der_integer(parent_handle)
        + _der(_OCTETS, public)
        + _der(_OCTETS, private),
    )


def tss2_pem(der: bytes) -> bytes:
    """The DER of `tss2_private_key` as PEM."""
    lines = textwrap.wrap(base64.b64encode(der).decode("ascii"), 64)
    return "\n".join((_BEGIN, *lines, _END, "")).encode("ascii")


def is_key_file(der: bytes) -> bool:
    """Whether bytes begin as a TPMKey does."""
    return der[:1] == bytes((_SEQUENCE,)) and any(kind.value in der[4:16] for kind in KeyKind)


def read_key_file(der: bytes) -> KeyFile:
    """A DER with one TPMKey of any kind, and nothing else. Raises MalformedStructure."""
    outside = Reader(der)
    fields = Reader(_content(outside, _SEQUENCE))
    outside.end()
    kind = _kind(_content(fields, _OID))
    optional = {}
    tag, content = _element(fields)
    while tag in _OPTIONAL:
        optional[tag] = content
        tag, content = _element(fields)
    parent = content.removeprefix(b"\0")
    if tag != _INTEGER or not 1 <= len(parent) <= _HANDLE:
        raise MalformedStructure("cannot read a TPM key file: its parent is no handle")
    key = SealedObject(_content(fields, _OCTETS), _content(fields, _OCTETS))
    fields.end()
    empty_auth = optional.pop(_EMPTY_AUTH, _NOT_EMPTY) != _NOT_EMPTY  # DEFAULT FALSE may be left out
    return KeyFile(key, int.from_bytes(parent, "big"), empty_auth, kind, plain=not optional)


def read_tss2_pem(pem: bytes) -> KeyFile:
    """A PEM with one plain loadable key, as ours are. Raises MalformedStructure, for other kinds too."""
    lines = [line.strip() for line in pem.decode("latin-1").strip().splitlines()]
    if lines[:1] != [_BEGIN] or lines[-1:] != [_END]:
        raise MalformedStructure("cannot read a TSS2 PRIVATE KEY: there is none")
    read = read_key_file(der_of_pem("".join(lines[1:-1])))
    if read.kind is not KeyKind.LOADABLE or not read.plain:
        raise MalformedStructure("cannot read a TSS2 PRIVATE KEY: it is of a kind that we make none of")
    return read


def der_of_pem(text: str) -> bytes:
    """The DER in what stands between the first and the last line of a PEM. Raises MalformedStructure."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise MalformedStructure("cannot read a TSS2 PRIVATE KEY: its base64 text is damaged") from None


def _kind(identifier: bytes) -> KeyKind:
    try:
        return KeyKind(identifier)
    except ValueError:
        raise MalformedStructure("cannot read a TPM key file: nobody knows its kind") from None


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _der_integer(value: int) -> bytes:
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))  # leaves room for the sign bit


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
