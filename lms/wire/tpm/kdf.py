"""The TPM's key derivations (Library Part 1, "Key Derivation Function": KDFa and KDFe).

KDFa is SP 800-108 in counter mode with HMAC; KDFe is the concatenation KDF of SP 800-56A. A label is given
without the zero byte that the TPM puts behind it.
"""

from __future__ import annotations

from lms.wire.tpm.digests import DIGEST_SIZES, digest, keyed_digest


def _blocks(algorithm: int, bits: int) -> tuple[range, int]:
    if bits <= 0 or bits % 8:
        raise ValueError("cannot derive a key that is not a whole number of bytes")
    size = bits // 8
    return range(1, -(-size // DIGEST_SIZES[algorithm]) + 1), size


def kdfa(algorithm: int, key: bytes, label: bytes, context_u: bytes, context_v: bytes, bits: int) -> bytes:
    """`bits`/8 bytes derived from a secret `key` (Part 1, KDFa)."""
    counters, size = _blocks(algorithm, bits)
    fixed = label + b"\0" + context_u + context_v + bits.to_bytes(4, "big")
    return b"".join(keyed_digest(algorithm, key, i.to_bytes(4, "big"), fixed) for i in counters)[:size]


def kdfe(algorithm: int, z: bytes, label: bytes, party_u: bytes, party_v: bytes, bits: int) -> bytes:
    """`bits`/8 bytes derived from `z`, the x coordinate that two parties share (Part 1, KDFe)."""
    counters, size = _blocks(algorithm, bits)
    fixed = z + label + b"\0" + party_u + party_v
    return b"".join(digest(algorithm, i.to_bytes(4, "big"), fixed) for i in counters)[:size]
