"""TSS2 PRIVATE KEY files of OpenSSL and trusted-key blobs of the kernel. Bytes in; bonds, nothing, or an error out."""

from __future__ import annotations

import re
from typing import Final

from lms.apps.inventory.bond import Bond, Kind
from lms.errors import MalformedStructure
from lms.wire.tpm.key_file import KeyKind, der_of_pem, is_key_file, read_key_file

_BEGIN: Final = b"-----BEGIN TSS2 PRIVATE KEY-----"
_BLOCK: Final = re.compile(_BEGIN + rb"([A-Za-z0-9+/=\s]*)-----END TSS2 PRIVATE KEY-----")
_HEXADECIMAL: Final = re.compile(rb"(?:[0-9a-fA-F]{2})+\s*")


def read_key_files(content: bytes) -> tuple[Bond, ...]:
    """What is bound to a TPM in a file that may have other things beside it. Raises MalformedStructure."""
    if _BEGIN in content:
        blocks = _BLOCK.findall(content)
        if len(blocks) != content.count(_BEGIN):
            raise MalformedStructure("cannot read a TSS2 PRIVATE KEY: it does not end as it began")
        return tuple(_bond(der_of_pem(block.decode("ascii"))) for block in blocks)
    der = bytes.fromhex(content.decode("ascii")) if _HEXADECIMAL.fullmatch(content) else content
    return (_bond(der),) if is_key_file(der) else ()


def _bond(der: bytes) -> Bond:
    found = read_key_file(der)
    return Bond(Kind.TRUSTED_KEY if found.kind is KeyKind.SEALED else Kind.TSS2_KEY, found.parent)
