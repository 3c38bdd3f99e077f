"""The plaintext of an InnerKey: an inner key bound to its platform and key (PROTOCOL §3).

P = inner key (16 bytes) ‖ first 16 bytes of SHA-256(PlatformID ‖ Name). The binding stops a carrier from having
the inner key of one package opened on behalf of another.
"""

from __future__ import annotations

import hmac
from uuid import UUID

from lms.errors import InnerKeyMismatch
from lms.model.keys import SHA256, Name
from lms.wire.tpm.digests import digest
from lms.wire.tpm.wrap import INNER_KEY_SIZE

_BINDING_SIZE = 16


def _binding(platform_id: UUID, name: Name) -> bytes:
    return digest(SHA256, platform_id.bytes, name)[:_BINDING_SIZE]


def inner_plaintext(key: bytes, platform_id: UUID, name: Name) -> bytes:
    """P for an inner key of 16 bytes; `platform_id` is the source, `name` the migrating key's."""
    if len(key) != INNER_KEY_SIZE:
        raise ValueError("cannot bind an inner key that has not 16 bytes")
    return key + _binding(platform_id, name)


def read_inner_plaintext(plaintext: bytes, platform_id: UUID, name: Name) -> bytes:
    """The inner key in P; InnerKeyMismatch where P was made for another platform or key."""
    key, binding = plaintext[:INNER_KEY_SIZE], plaintext[INNER_KEY_SIZE:]
    if not hmac.compare_digest(binding, _binding(platform_id, name)):
        raise InnerKeyMismatch("cannot use an inner key: it was made for another platform or key")
    return key
