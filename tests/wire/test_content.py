"""Items: content that was moved, altered or too large is refused (PROTOCOL §3, §4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.errors import BadRequest, ContentMismatch, InnerKeyMismatch
from lms.model.packages import ItemUsage
from lms.model.secret import Secret
from lms.wire.content import MAX_CONTENT, Content, decrypt, decrypt_item, encrypt, encrypt_item
from lms.wire.exchange_v1 import read_bundle
from lms.wire.tpm.credential import open_credential
from lms.wire.tpm.inner_key import read_inner_plaintext
from lms.wire.tpm.wrap import unwrap_inner, unwrap_outer
from tests.support.documents import CONTENT_KEY, make_package, make_platform
from tests.support.exchange import K, certificates

PLATFORM = make_platform()
NAME = PLATFORM.drsk.name
(ITEM,) = make_package().migrating_keys[0].passwords


def test_the_untouched_item_is_decrypted():
    assert decrypt_item(ITEM, CONTENT_KEY, PLATFORM.id, NAME) == Secret(b"secret")


def test_content_moved_to_another_item_is_refused():
    for changes in (
        {"usage": ItemUsage.DATA},
        {"owner": "1000:anna"},
        {"application": "vpn"},
        {"label": "other disk"},
    ):
        with pytest.raises(ContentMismatch):
            decrypt_item(replace(ITEM, **changes), CONTENT_KEY, PLATFORM.id, NAME)
    other = PLATFORM.item(NAME, label="other")
    with pytest.raises(ContentMismatch):
        decrypt_item(replace(ITEM, ciphertext=other.ciphertext), CONTENT_KEY, PLATFORM.id, NAME)


def test_content_moved_to_another_key_or_platform_is_refused():
    with pytest.raises(ContentMismatch):
        decrypt_item(ITEM, CONTENT_KEY, make_platform("other").id, NAME)
    with pytest.raises(ContentMismatch):
        decrypt_item(ITEM, CONTENT_KEY, PLATFORM.id, make_platform("other").drsk.name)


def test_altered_content_is_refused():
    good = ITEM.ciphertext
    for at in range(0, len(good), 5):
        with pytest.raises(ContentMismatch):
            decrypt(CONTENT_KEY, good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :])
    for short in (b"", good[:12], good[:27], good[:-1]):
        with pytest.raises(ContentMismatch):
            decrypt(CONTENT_KEY, short)
    for key in (K, Secret(b""), Secret(bytes(31))):
        with pytest.raises(ContentMismatch):
            decrypt(key, good)


def test_content_above_its_limit_is_refused():
    content = Content(PLATFORM.id, NAME, ItemUsage.DATA, "system", "a", "l", bytes(MAX_CONTENT + 1))
    with pytest.raises(BadRequest):
        encrypt_item(content, "C0", CONTENT_KEY, bytes(12))


@pytest.mark.parametrize(("key", "nonce"), [(bytes(16), bytes(12)), (bytes(32), bytes(11)), (bytes(32), bytes(16))])
def test_key_or_nonce_of_another_length_is_refused(key, nonce):
    with pytest.raises(ValueError, match="wrong length"):
        encrypt(Secret(key), nonce, b"")


def test_certificates_open_with_the_key_of_their_credential():
    sealed = certificates()
    key = open_credential(PLATFORM.ek.private, PLATFORM.ek.public, PLATFORM.ak.name, sealed.credential)
    bundle = read_bundle(decrypt(Secret(key), sealed.ciphertext))
    assert len(bundle.certificates) == 2
    with pytest.raises(InnerKeyMismatch):
        open_credential(PLATFORM.ek.private, PLATFORM.ek.public, PLATFORM.srk.name, sealed.credential)


def test_package_opens_with_the_token_alone():
    world, (key,) = PLATFORM.world, make_package().migrating_keys
    blob, owner = key.blobs[1], PLATFORM.world.owner
    credential = blob.inner_keys[0].credential
    plaintext = open_credential(world.keys.recovery, owner.recovery_key, owner.recovery_key_name, credential)
    inner_key = read_inner_plaintext(plaintext, PLATFORM.id, NAME)
    inner = unwrap_outer(world.keys.recovery, owner.recovery_key, NAME, blob.outer)
    assert unwrap_inner(inner, NAME, inner_key) == PLATFORM.drsk.sensitive
    for platform, name in (
        (make_platform("other").id, NAME),
        (PLATFORM.id, make_platform("other").drsk.name),
    ):
        with pytest.raises(InnerKeyMismatch):
            read_inner_plaintext(plaintext, platform, name)
