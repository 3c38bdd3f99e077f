"""How the kernel writes down a master key and an encrypted key (Documentation/security/keys/trusted-encrypted.rst).

An encrypted key is AES-256-CBC below one digest of the master key, and HMAC-SHA256 below another; both are made here
as security/keys/encrypted-keys makes them, so that a key can be made and proven where no kernel takes it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC

from lms.errors import MalformedStructure
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.wire.tpm.key_file import tss2_private_key

EVM_KEY: Final = "evm-key"
"""The description by which EVM looks for its key."""
MASTER_SIZE: Final = 32
_EVM_SIZE: Final = 64
_IV_SIZE: Final = 16
_MAC_SIZE: Final = 32


class Master(Enum):
    """Who opens the master key: the kernel itself, as a trusted key; or we, and it becomes a user's key."""

    TRUSTED = "trusted"
    USER = "user"

    @property
    def description(self) -> str:
        """Its name in a keyring, as dracut's module masterkey has it."""
        return f"kmk-{self.value}"


def write_master(key: SealedObject, handle: int) -> bytes:
    """What the kernel takes after `load`, below the persistent key `handle`."""
    return tss2_private_key(key.public, key.private, handle, sealed=True).hex().encode("ascii")


@dataclass(frozen=True, slots=True)
class EncryptedKey:
    """A key of EVM as a file has it: which master key opens it, and three fields of bytes."""

    master: Master
    iv: bytes
    encrypted: bytes
    mac: bytes

    @property
    def text(self) -> bytes:
        """What the kernel gives and takes."""
        return self._head + b"\0".join((self.iv, self.encrypted + self.mac)).hex().encode("ascii")

    @property
    def _head(self) -> bytes:
        return f"default {self.master.value}:{self.master.description} {_EVM_SIZE} ".encode("ascii")

    def is_in(self, text: bytes) -> bool:
        """Whether the kernel's text is that of this key: EVM puts zeros in its place when it takes it."""
        return text.startswith(self._head + self.iv.hex().encode("ascii"))

    def opens(self, master_key: Secret) -> bool:
        """Whether this master key made it, and nothing of it was altered."""
        return hmac.compare_digest(_mac(master_key, self._head, self.iv, self.encrypted), self.mac)


def new_evm_key(master: Master, master_key: Secret) -> EncryptedKey:
    """64 random bytes below a master key."""
    iv = secrets.token_bytes(_IV_SIZE)
    encryptor = Cipher(AES256(_derived(b"ENC_KEY", master_key)), CBC(iv)).encryptor()
    encrypted = encryptor.update(secrets.token_bytes(_EVM_SIZE)) + encryptor.finalize()
    unproven = EncryptedKey(master, iv, encrypted, b"")
    return EncryptedKey(master, iv, encrypted, _mac(master_key, unproven._head, iv, encrypted))


def read_evm_key(text: bytes) -> EncryptedKey:
    """An encrypted key below a master key of ours. Raises MalformedStructure for all others."""
    size = 2 * (_IV_SIZE + 1 + _EVM_SIZE + _MAC_SIZE)
    found = re.fullmatch(rb"default (?:trusted:kmk-(trusted)|user:kmk-(user)) 64 ([0-9a-f]{%d})\s*" % size, text)
    if found is None:
        raise MalformedStructure("cannot read an EVM key: it is not below a master key of ours")
    fields = bytes.fromhex(found[3].decode())
    iv, zero, rest = fields[:_IV_SIZE], fields[_IV_SIZE], fields[_IV_SIZE + 1 :]
    if zero:
        raise MalformedStructure("cannot read an EVM key: its fields are not those of the kernel")
    return EncryptedKey(Master((found[1] or found[2]).decode()), iv, rest[:_EVM_SIZE], rest[_EVM_SIZE:])


def _mac(master_key: Secret, head: bytes, iv: bytes, encrypted: bytes) -> bytes:
    """The kernel holds the words with a zero after each."""
    fields = head.replace(b" ", b"\0") + iv + b"\0" + encrypted
    return hmac.digest(_derived(b"AUTH_KEY", master_key), fields, "sha256")


def _derived(purpose: bytes, master_key: Secret) -> bytes:
    return hashlib.sha256((purpose + b"\0" + master_key.reveal()).ljust(32, b"\0")).digest()
