"""The owner's seed: the three keys that follow from it, and its encryption by a password (PROTOCOL §1, §6)."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id as Argon2idKdf
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lms.errors import WrongPassword
from lms.model.owner import Argon2id, EmergencyRecoveryToken
from lms.model.secret import Secret
from lms.wire.token_v1 import token_header

SEED_SIZE: Final = 32
SALT_SIZE: Final = 16
NONCE_SIZE: Final = 12
COST: Final = Argon2id(memory=256 * 1024, time=3, parallelism=4)
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True, repr=False)
class OwnerKeys:
    """The private keys of an owner. They live in `lms.opener` only."""

    ca: ec.EllipticCurvePrivateKey
    approval: ec.EllipticCurvePrivateKey
    recovery: ec.EllipticCurvePrivateKey


def _derive(seed: Secret, purpose: str) -> ec.EllipticCurvePrivateKey:
    info = f"localmigration:token:1:{purpose}".encode("ascii")
    material = HKDF(hashes.SHA256(), 48, salt=b"", info=info).derive(seed.reveal())
    return ec.derive_private_key(int.from_bytes(material, "big") % (_P256_ORDER - 1) + 1, ec.SECP256R1())


def owner_keys(seed: Secret) -> OwnerKeys:
    """The keys of a 32-byte seed."""
    return OwnerKeys(_derive(seed, "ca"), _derive(seed, "approval"), _derive(seed, "recovery"))


def _password_key(password: Secret, token: EmergencyRecoveryToken) -> bytes:
    try:
        text = password.reveal().decode("utf-8")
    except UnicodeDecodeError:
        raise WrongPassword("cannot open the token: the password is not UTF-8 text") from None
    kdf = Argon2idKdf(
        salt=token.salt,
        length=32,
        iterations=token.cost.time,
        lanes=token.cost.parallelism,
        memory_cost=token.cost.memory,
    )
    return kdf.derive(unicodedata.normalize("NFC", text).encode("utf-8"))


def seal_seed(token: EmergencyRecoveryToken, seed: Secret, password: Secret) -> bytes:
    """The token's `sealed`: 32 bytes ‖ tag, bound to the canonical bytes of its Header."""
    return AESGCM(_password_key(password, token)).encrypt(token.nonce, seed.reveal(), token_header(token))


def open_seed(token: EmergencyRecoveryToken, password: Secret) -> Secret:
    """The seed of a token. Raises WrongPassword, also where Header or sealed bytes were altered."""
    try:
        return Secret(AESGCM(_password_key(password, token)).decrypt(token.nonce, token.sealed, token_header(token)))
    except InvalidTag:
        raise WrongPassword("cannot open the token with this password") from None
