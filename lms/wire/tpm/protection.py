"""What a storage key protects outside its TPM (Library Part 1, "Protected Storage" and "Credential Protection").

TPM2B integrity ‖ AES-CFB(content): keys by KDFa from a shared seed, HMAC over ciphertext and Name, IV zero. It
is the common form of outer wraps and credentials.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from lms.errors import BadAttributes, MalformedStructure
from lms.model.keys import Name
from lms.wire.tpm.digests import DIGEST_SIZES, keyed_digest
from lms.wire.tpm.kdf import kdfa
from lms.wire.tpm.marshal import Reader, sized
from lms.wire.tpm.public import Attributes, PublicArea, read_public
from lms.wire.tpm.secret_sharing import PrivateKey, make_seed, open_seed

_STORAGE = Attributes.RESTRICTED | Attributes.DECRYPT


class ProtectionBroken(Exception):
    """The one way in which opening fails: callers turn it into their own error, no detail leaves here."""


def _cfb(key: bytes) -> Cipher[CFB]:
    return Cipher(algorithms.AES(key), CFB(bytes(16)))  # each key is used once, so the IV is zero


def encrypt_cfb(key: bytes, data: bytes) -> bytes:
    """AES-CFB with a zero IV."""
    encryptor = _cfb(key).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def decrypt_cfb(key: bytes, data: bytes) -> bytes:
    """AES-CFB with a zero IV."""
    decryptor = _cfb(key).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def storage_area(public: bytes) -> tuple[PublicArea, int]:
    """A storage key and its AES key size; BadAttributes where `public` protects nothing."""
    area = read_public(public)
    bits = area.aes_bits
    if bits is None or area.attributes & (_STORAGE | Attributes.SIGN) != _STORAGE:
        raise BadAttributes("cannot encrypt to a key that is no storage key")
    return area, bits


def _keys(area: PublicArea, bits: int, seed: bytes, name: Name) -> tuple[bytes, bytes]:
    cipher_key = kdfa(area.name_alg, seed, b"STORAGE", name, b"", bits)
    return cipher_key, kdfa(area.name_alg, seed, b"INTEGRITY", b"", b"", 8 * DIGEST_SIZES[area.name_alg])


def protect(public: bytes, label: bytes, name: Name, content: bytes) -> tuple[bytes, bytes]:
    """Protected bytes for the storage key `public`, and the TPM2B_ENCRYPTED_SECRET of their seed.

    BadAttributes or MalformedStructure where `public` is no storage key.
    """
    area, bits = storage_area(public)
    seed, secret = make_seed(area, label)
    cipher_key, mac_key = _keys(area, bits, seed, name)
    encrypted = encrypt_cfb(cipher_key, content)
    return sized(keyed_digest(area.name_alg, mac_key, encrypted, name)) + encrypted, secret


def unprotect(
    private_key: PrivateKey, public: bytes, label: bytes, name: Name, protected: bytes, secret: bytes
) -> bytes:
    """The content of protected bytes; ProtectionBroken for a wrong key, a wrong Name or altered bytes."""
    area, bits = storage_area(public)
    try:
        seed = open_seed(private_key, area, label, secret)
        reader = Reader(protected)
        integrity, encrypted = reader.sized(), reader.rest()
    except (ValueError, MalformedStructure):
        raise ProtectionBroken from None
    cipher_key, mac_key = _keys(area, bits, seed, name)
    if not hmac.compare_digest(integrity, keyed_digest(area.name_alg, mac_key, encrypted, name)):
        raise ProtectionBroken
    return decrypt_cfb(cipher_key, encrypted)
