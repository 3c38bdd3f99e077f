"""The proof that a platform holds the keys that it names: Authenticate, second call (PROTOCOL §7).

The secret came out of TPM2_ActivateCredential, or out of whoever made the credential; both ends compute the same
bytes. The certificate seen is in them, so a proof that is passed on to another server fits nowhere.
Sessions and nonces are kept elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lms.model.keys import Name
from lms.model.secret import Secret

NONCE_SIZE: Final = 32
SECRET_SIZE: Final = 32
_INFO: Final = b"localmigration:authenticate:1"


def proof(
    secret: Secret,
    ma_id: UUID,
    leaf: bytes,
    client_nonce: bytes,
    server_nonce: bytes,
    platform_id: UUID,
    ek_name: Name,
    srk_name: Name,
) -> bytes:
    """HMAC-SHA256, 32 bytes. `leaf` is the DER of the TLS certificate seen, secret and nonces have 32 bytes."""
    if {len(secret), len(client_nonce), len(server_nonce)} != {SECRET_SIZE}:
        raise ValueError("cannot prove: secret or nonce has not 32 bytes")
    key = HKDF(hashes.SHA256(), 32, salt=b"", info=_INFO).derive(secret.reveal())
    who = hashlib.sha256(platform_id.bytes + ek_name + srk_name).digest()
    message = ma_id.bytes + hashlib.sha256(leaf).digest() + client_nonce + server_nonce + who
    return hmac.digest(key, message, "sha256")
