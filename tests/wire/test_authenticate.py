"""The proof of Authenticate: frozen, and bound to everything that it names."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any
from uuid import UUID

import pytest

from lms.model.keys import Name
from lms.model.secret import Secret
from lms.wire.authenticate import proof

NAMES = tuple(Name(b"\0\x0b" + bytes([n]) * 32) for n in (0xE0, 0x50))
SAID: dict[str, Any] = {
    "secret": Secret(bytes(range(32))),
    "ma_id": UUID("0f0e0d0c-0b0a-4908-8706-050403020100"),
    "leaf": b"certificate",
    "client_nonce": b"\xc1" * 32,
    "server_nonce": b"\x5e" * 32,
    "platform_id": UUID("00010203-0405-4607-8809-0a0b0c0d0e0f"),
    "ek_name": NAMES[0],
    "srk_name": NAMES[1],
}
OTHERS: dict[str, Any] = {
    "secret": Secret(bytes(32)),
    "ma_id": UUID(int=1),
    "leaf": b"certificate of a go-between",
    "client_nonce": bytes(32),
    "server_nonce": bytes(32),
    "platform_id": UUID(int=2),
    "ek_name": NAMES[1],
    "srk_name": NAMES[0],
}


def test_the_proof_is_what_the_protocol_says():
    # HKDF-SHA256 by RFC 5869: salt of zeros, one block.
    extracted = hmac.digest(bytes(32), bytes(range(32)), "sha256")
    key = hmac.digest(extracted, b"localmigration:authenticate:1\x01", "sha256")
    who = hashlib.sha256(SAID["platform_id"].bytes + NAMES[0] + NAMES[1]).digest()
    said = SAID["ma_id"].bytes + hashlib.sha256(b"certificate").digest() + b"\xc1" * 32 + b"\x5e" * 32 + who
    assert proof(**SAID) == hmac.digest(key, said, "sha256")


def test_the_proof_is_frozen():
    assert proof(**SAID).hex() == "75b8001d36fe1a00f1332f4790366fe635c4d7768cddfa2f868360ea983fe5f0"


@pytest.mark.parametrize("word", OTHERS)
def test_the_proof_is_bound_to_each_thing_said(word):
    assert proof(**SAID | {word: OTHERS[word]}) != proof(**SAID)


@pytest.mark.parametrize("word", ["secret", "client_nonce", "server_nonce"])
def test_secret_and_nonces_have_32_bytes(word):
    short = Secret(bytes(31)) if word == "secret" else bytes(31)
    with pytest.raises(ValueError, match="32 bytes"):
        proof(**SAID | {word: short})
