"""Encrypted credentials of systemd, as far as their head tells (systemd 250 and later, creds-util).

Base64 of: a 128-bit ID that says which keys encrypt it; sizes of key, block, IV and tag, 32 bits each, little-endian;
the IV, filled up to 8 bytes; then, where a TPM has a part in it, its PCRs as a 64-bit mask. systemd seals below a key
of its own that stays in the TPM: none of these survives. Bytes in; bonds, nothing, or an error out.
"""

from __future__ import annotations

import base64
from struct import Struct, error
from typing import Final

from lms.apps.inventory.bond import Bond, Kind
from lms.errors import MalformedStructure

_SEALED: Final = frozenset(
    bytes.fromhex(one)
    for one in (
        "0c7cc07b117645919c4b0bea08bc20fe",  # TPM
        "faf7eb9341e3412ca1a436f95a29362f",  # TPM, signed PCRs
        "93a894094874449090caf2fc93cab553",  # host and TPM
        "ef4ac13679a9480ea7db68897f9f165d",  # the same for a user
        "af4950a849134eb1a73846304ff30c05",  # host and TPM, signed PCRs
        "adbc4ca3efb64201ba881b6f2e4095ea",  # the same for a user
    )
)
_UNSEALED: Final = frozenset(
    bytes.fromhex(one)
    for one in (
        "5a1c6a86df9d4096b1d5a65e0862f19a",  # host
        "55b9ed1d38594d43a8319d2ebb332ac6",  # the same for a user
        "058469daf6f54324800549da0f8ea2fb",  # nobody's key
    )
)
_HEAD: Final = Struct("<16s4I")
_MASK: Final = Struct("<Q")
_SIZES: Final = (32, 1, 12, 16)  # AES-256-GCM
_PCRS: Final = 24
# The base64 text of the head's beginning, and no more of a large file.
_BEGINNING: Final = 88


def read_credential(content: bytes) -> tuple[Bond, ...]:
    """What of a credential is bound to a TPM. Raises MalformedStructure, also for a kind that nobody here knows."""
    head = _beginning(content)
    if len(head) < _HEAD.size:
        return ()
    kind, *sizes = _HEAD.unpack_from(head)
    if kind in _UNSEALED or (kind not in _SEALED and tuple(sizes) != _SIZES):
        return ()
    if kind not in _SEALED:
        raise MalformedStructure("cannot read a credential: it is of a kind that only a newer systemd knows")
    try:
        (mask,) = _MASK.unpack_from(head, (_HEAD.size + sizes[2] + 7) // 8 * 8)
    except error:
        raise MalformedStructure("cannot read a credential: it ends too early") from None
    return (Bond(Kind.CREDENTIAL, pcrs=tuple(number for number in range(_PCRS) if mask >> number & 1)),)


def _beginning(content: bytes) -> bytes:
    """The first bytes of what is base64 text; nothing of what is not."""
    text = b"".join(content[: 2 * _BEGINNING].split())[:_BEGINNING]
    try:
        return base64.b64decode(text[: len(text) // 4 * 4], validate=True)
    except ValueError:
        return b""
