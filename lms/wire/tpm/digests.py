"""The hash algorithms that we use, by their TPM_ALG_ID (Library Part 2, "TPM_ALG_ID").

KDFs, Names and policies build on it; anything but SHA-256 and SHA-384 is refused where bytes are read.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives import hashes

from lms.model.keys import SHA256, SHA384

HASHES: Final = {SHA256: hashlib.sha256, SHA384: hashlib.sha384}
DIGEST_SIZES: Final = {SHA256: 32, SHA384: 48}


def digest(algorithm: int, *parts: bytes) -> bytes:
    """Hash of the concatenated parts; KeyError for an algorithm that is not ours."""
    return HASHES[algorithm](b"".join(parts)).digest()


def keyed_digest(algorithm: int, key: bytes, *parts: bytes) -> bytes:
    """HMAC of the concatenated parts."""
    return hmac.digest(key, b"".join(parts), HASHES[algorithm])


def primitive(algorithm: int) -> hashes.HashAlgorithm:
    """The same algorithm as `cryptography` calls it."""
    return hashes.SHA384() if algorithm == SHA384 else hashes.SHA256()
