"""TSS2 PRIVATE KEY files of OpenSSL and trusted-key blobs of the kernel. Bytes in; bonds, nothing, or an error out."""

from __future__ import annotations

import base64
import re
from typing import Final

from lms.apps.inventory.bond import Bond, Kind
from lms.errors import MalformedStructure
from lms.wire.tpm.key_file import is_key_file, read_key_file

_BEGIN: Final = b"-----BEGIN TSS2 PRIVATE KEY-----"
_BLOCK: Final = re.compile(_BEGIN + rb"([A-Za-z0-9+/=\s]*)-----END TSS2 PRIVATE KEY-----")
_HEXADECIMAL: Final = re.compile(rb"(?:[0-9a-fA-F]{2})+\s*")


def read_key_files(content: bytes) -> tuple[Bond, ...]:
    """What is bound to a TPM in a file that may have other things beside it. Raises MalformedStructure."""
    if _BEGIN in content:
        blocks = _BLOCK.findall(content)
        if len(blocks) != content.count(_BEGIN):
            raise MalformedStructure("cannot read a TSS2 PRIVATE KEY: it does not end as it began")
        return tuple(_bond(_decoded(block)) for block in blocks)
    der = bytes.fromhex(content.decode("ascii")) if _HEXADECIMAL.fullmatch(content) else content
    return (_bond(der),) if is_key_file(der) else ()


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except ValueError:
        raise MalformedStructure("cannot read a TSS2 PRIVATE KEY: its base64 text is damaged") from None


def _bond(der: bytes) -> Bond:
    found = read_key_file(der)
    return Bond(Kind.TRUSTED_KEY if found.sealed else Kind.TSS2_KEY, found.parent)
