"""How other programs write down TPM keys: ESYS_TR serialisation and the TSS2 PRIVATE KEY.

Sources: TCG TSS 2.0 ESAPI (Esys_TR_Serialize, as tpm2-tss writes it; `tpm2_srk` of systemd's LUKS token) and
"ASN.1 Specification for TPM 2.0 Key Files" (openssl providers; its DER is the kernel's trusted-key blob).
"""

from __future__ import annotations

import base64
import textwrap
from dataclasses import dataclass
from typing import Final

from lms.errors import MalformedStructure
from lms.model.tpm import SealedObject
from lms.wire.tpm.marshal import Reader, Writer
from lms.wire.tpm.public import name_of

_ESYS_KEY: Final = 1  # IESYSC_KEY_RSRC

_OID_LOADABLE: Final = bytes.fromhex("6781050a0103")  # 2.23.133.10.1.3
_OID_SEALED: Final = bytes.fromhex("6781050a0105")  # 2.23.133.10.1.5

_BOOLEAN: Final = 0x01
_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_OID: Final = 0x06
_SEQUENCE: Final = 0x30
_EMPTY_AUTH: Final = 0xA0

_TAGS: Final = [_OID, _EMPTY_AUTH, _INTEGER, _OCTETS, _OCTETS]
_WITHOUT_FLAG: Final = [_OID, _INTEGER, _OCTETS, _OCTETS]
_NOT_EMPTY: Final = bytes((_BOOLEAN, 1, 0))

_BEGIN: Final = "-----BEGIN TSS2 PRIVATE KEY-----"
_END: Final = "-----END TSS2 PRIVATE KEY-----"


def serialized_handle(handle: int, public: bytes) -> bytes:
    """What Esys_TR_Serialize gives for the persistent key `handle` with TPM2B_PUBLIC `public`."""
    return bytes(Writer().u32(handle).sized(name_of(public)).u32(_ESYS_KEY).raw(public))


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _der_integer(value: int) -> bytes:
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))  # leaves room for the sign bit


def tss2_private_key(
    public: bytes, private: bytes, parent_handle: int, *, sealed: bool = False, empty_auth: bool = True
) -> bytes:
    """DER of a TPMKey below the persistent `parent_handle`, from TPM2B_PUBLIC and TPM2B_PRIVATE.

    A sealed one, as hexadecimal text, is what `keyctl add trusted … "load …"` takes.
    """
    return _der(
        _SEQUENCE,
        _der(_OID, _OID_SEALED if sealed else _OID_LOADABLE)
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


@dataclass(frozen=True, slots=True)
class Tss2Key:
    """A loadable key as a file has it: areas, handle of the persistent parent, and that it takes no password."""

    key: SealedObject
    parent: int
    empty_auth: bool


def read_tss2_pem(pem: bytes) -> Tss2Key:
    """A file with one TPMKey and nothing else. Raises MalformedStructure, also for sealed, imported and policy keys."""
    tags, values = _fields(_content(pem))
    if tags == _WITHOUT_FLAG:  # DEFAULT FALSE may be left out
        values.insert(1, _NOT_EMPTY)
    elif tags != _TAGS:
        raise _unknown()
    kind, flag, parent, public, private = values
    if kind != _OID_LOADABLE:
        raise _unknown()
    return Tss2Key(SealedObject(public, private), int.from_bytes(parent, "big"), flag != _NOT_EMPTY)


def _unknown() -> MalformedStructure:
    return MalformedStructure("cannot read a TSS2 PRIVATE KEY: it is of a kind that we make none of")


def _content(pem: bytes) -> bytes:
    """The DER in a PEM."""
    lines = [line.strip() for line in pem.decode("latin-1").strip().splitlines()]
    if lines[:1] != [_BEGIN] or lines[-1:] != [_END]:
        raise MalformedStructure("cannot read a TSS2 PRIVATE KEY: there is none")
    try:
        return base64.b64decode("".join(lines[1:-1]), validate=True)
    except ValueError:
        raise MalformedStructure("cannot read a TSS2 PRIVATE KEY: its base64 text is damaged") from None


def _fields(der: bytes) -> tuple[list[int], list[bytes]]:
    """Tags and contents in the one SEQUENCE of a DER."""
    tag, content, rest = _element(der)
    if tag != _SEQUENCE or rest:
        raise MalformedStructure("cannot read a TSS2 PRIVATE KEY: it is not one sequence")
    tags: list[int] = []
    values: list[bytes] = []
    while content and len(tags) <= len(_TAGS):
        tag, value, content = _element(content)
        tags.append(tag)
        values.append(value)
    return tags, values


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """Tag and content of the first element, and what comes after it."""
    reader = Reader(der)
    tag, size = reader.u8(), reader.u8()
    if size & 0x80:
        size = int.from_bytes(reader.raw(size & 0x7F), "big")
    return tag, reader.raw(size), reader.rest()
