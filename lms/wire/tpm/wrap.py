"""Duplicated keys in software: inner and outer wrap (Library Part 1, "Protected Storage", "Duplication"; PROTOCOL §3).

Inner: AES-128-CFB of TPM2B(H(sensitive ‖ Name)) ‖ TPM2B_SENSITIVE, hash = the key's nameAlg. Outer: as
`lms.wire.tpm.protection` under the new parent. Everything that does not open is BlobRefused, without a reason:
a reason would be an oracle.
"""

from __future__ import annotations

import hmac
from typing import Final

from lms.errors import BlobRefused, MalformedStructure
from lms.model.keys import Name
from lms.model.tpm import OuterWrap
from lms.wire.tpm.digests import digest
from lms.wire.tpm.marshal import Reader, Writer, sized, unsized
from lms.wire.tpm.protection import ProtectionBroken, decrypt_cfb, encrypt_cfb, protect, unprotect
from lms.wire.tpm.public import ALG_AES, ALG_CFB, ALG_NULL
from lms.wire.tpm.secret_sharing import DUPLICATE, PrivateKey
from lms.wire.tpm.sensitive import Sensitive, read_sensitive, write_sensitive

INNER_KEY_SIZE: Final = 16
AES_128_CFB_SYMMETRIC: Final = bytes(Writer().u16(ALG_AES).u16(128).u16(ALG_CFB))
"""TPMT_SYM_DEF_OBJECT of every inner wrap."""
NO_INNER_WRAP: Final = bytes(Writer().u16(ALG_NULL))
"""The same where the outer wrap holds TPM2B_SENSITIVE itself."""

_REFUSED: Final = "cannot open the blob"


def wrap_outer(new_parent: bytes, name: Name, inner_blob: bytes) -> OuterWrap:
    """Wrap for the storage key TPM2B_PUBLIC `new_parent`; `inner_blob` is what `wrap_inner` gave, or TPM2B_SENSITIVE.

    BadAttributes or MalformedStructure where `new_parent` is no storage key.
    """
    protected, seed = protect(new_parent, DUPLICATE, name, inner_blob)
    return OuterWrap(sized(protected), seed)


def unwrap_outer(private_key: PrivateKey, parent: bytes, name: Name, outer: OuterWrap) -> bytes:
    """The inner blob in a wrap for `parent`; BlobRefused."""
    try:
        return unprotect(private_key, parent, DUPLICATE, name, unsized(outer.duplicate), outer.seed)
    except (ProtectionBroken, MalformedStructure):
        raise BlobRefused(_REFUSED) from None


def rewrap(private_key: PrivateKey, parent: bytes, new_parent: bytes, name: Name, outer: OuterWrap) -> OuterWrap:
    """TPM2_Rewrap in software: another outer wrap, the inner one untouched; BlobRefused."""
    return wrap_outer(new_parent, name, unwrap_outer(private_key, parent, name, outer))


def _integrity(name: Name, sensitive: bytes) -> bytes:
    return digest(int.from_bytes(name[:2], "big"), sensitive, name)


def _check_size(inner_key: bytes) -> None:
    if len(inner_key) != INNER_KEY_SIZE:
        raise ValueError("cannot use an inner key that has not 16 bytes")


def wrap_inner(sensitive: Sensitive, name: Name, inner_key: bytes) -> bytes:
    """The inner blob of a key; `inner_key` has 16 bytes and is used once."""
    _check_size(inner_key)
    plain = write_sensitive(sensitive)
    return encrypt_cfb(inner_key, sized(_integrity(name, plain)) + plain)


def unwrap_inner(inner_blob: bytes, name: Name, inner_key: bytes) -> Sensitive:
    """The sensitive area in an inner blob; BlobRefused for a wrong key, a wrong Name or altered bytes."""
    _check_size(inner_key)
    try:
        reader = Reader(decrypt_cfb(inner_key, inner_blob))
        integrity, plain = reader.sized(), reader.rest()
        if hmac.compare_digest(integrity, _integrity(name, plain)):
            return read_sensitive(plain)
    except MalformedStructure:
        pass
    raise BlobRefused(_REFUSED)
