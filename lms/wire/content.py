"""Content encryption: AES-256-GCM as `EncryptedData` carries it, and the Content inside items (PROTOCOL §4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lms.errors import BadRequest, ContentMismatch, DocumentError
from lms.model.keys import Name
from lms.model.packages import Item, ItemUsage
from lms.model.secret import Secret
from lms.wire.binding import BASE64, NAME, STRING, UUID_TEXT, Element, enum, one, read, write
from lms.wire.document import MIB, DocumentKind, read_document
from lms.wire.package_v1 import NAMESPACE

NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
KEY_SIZE: Final = 32
MAX_CONTENT: Final = 32 * MIB
_ANY_NAME: Final = Name(b"\0\x0b" + bytes(32))
_KIND: Final = DocumentKind(NAMESPACE, "Content", "package-1.xsd", 64 * MIB)


@dataclass(frozen=True, slots=True)
class Content:
    """What an item's ciphertext holds; all but `value` repeats what stands around it."""

    platform_id: UUID
    key_id: Name
    usage: ItemUsage
    owner: str
    application: str
    label: str
    value: bytes


_CONTENT = Element(
    Content,
    (
        one("@PlatformID", "platform_id", UUID_TEXT),
        one("@KeyID", "key_id", NAME),
        one("@Usage", "usage", enum(ItemUsage)),
        one("@Owner", "owner", STRING),
        one("@Application", "application", STRING),
        one("@Label", "label", STRING),
        one(".", "value", BASE64),
    ),
    NAMESPACE,
)


def encrypt(key: Secret, nonce: bytes, plaintext: bytes) -> bytes:
    """nonce (12) ‖ ciphertext ‖ tag (16) under a 32-byte key; the nonce is fresh random bytes."""
    if len(nonce) != NONCE_SIZE or len(key) != KEY_SIZE:
        raise ValueError("cannot encrypt: nonce or key has the wrong length")
    return nonce + AESGCM(key.reveal()).encrypt(nonce, plaintext, None)


def decrypt(key: Secret, ciphertext: bytes) -> bytes:
    """The plaintext of `encrypt`. Raises ContentMismatch where key or bytes are others."""
    try:
        return AESGCM(key.reveal()).decrypt(ciphertext[:NONCE_SIZE], ciphertext[NONCE_SIZE:], None)
    except (InvalidTag, ValueError):
        raise ContentMismatch("cannot decrypt: another key, or altered bytes") from None


def encrypt_item(content: Content, content_key: str, key: Secret, nonce: bytes) -> Item:
    """An item under the content key whose Id is `content_key`. Raises BadRequest above 32 MiB."""
    if len(content.value) > MAX_CONTENT:
        raise BadRequest(f"cannot register {len(content.value)} bytes: at most {MAX_CONTENT}")
    plaintext = write("Content", content, _CONTENT)
    return Item(
        content.usage, content.owner, content.application, content.label, content_key, encrypt(key, nonce, plaintext)
    )


def check_place(owner: str, application: str, label: str) -> None:
    """Whether a package can carry these words. Raises BadRequest: one bad label would spoil every archive."""
    place = Content(UUID(int=0), _ANY_NAME, ItemUsage.DATA, owner, application, label, b"")
    try:
        read_document(write("Content", place, _CONTENT), _KIND)
    except (DocumentError, ValueError):
        raise BadRequest(
            "cannot register this: owner, application and label are lines of at most 255 characters"
        ) from None


def decrypt_item(item: Item, key: Secret, platform_id: UUID, key_id: Name) -> Secret:
    """The value of an item of this key on this platform.

    Raises ContentMismatch where what was encrypted is not what stands around it: an element put elsewhere.
    """
    root = read_document(decrypt(key, item.ciphertext), _KIND)
    content: Content = read(root, _CONTENT)
    expected = (platform_id, key_id, item.usage, item.owner, item.application, item.label)
    found = (
        content.platform_id, content.key_id, content.usage, content.owner, content.application, content.label,
    )  # fmt: skip
    if found != expected:
        raise ContentMismatch(f"cannot accept the content of '{item.label}': it was made for another place")
    return Secret(content.value)
