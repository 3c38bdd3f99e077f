"""How other programs write down TPM keys: ESYS_TR serialisation and the TSS2 PRIVATE KEY.

Sources: TCG TSS 2.0 ESAPI (Esys_TR_Serialize, as tpm2-tss writes it; `tpm2_srk` of systemd's LUKS token) and
"ASN.1 Specification for TPM 2.0 Key Files" (openssl providers; its DER is the kernel's trusted-key blob).
"""

from __future__ import annotations

import base64
import textwrap
from typing import Final

from lms.wire.tpm.marshal import Writer
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
    return "\n".join(("-----BEGIN TSS2 PRIVATE KEY-----", *lines, "-----END TSS2 PRIVATE KEY-----", "")).encode("ascii")
