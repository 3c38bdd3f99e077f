"""Credentials without a TPM (Library Part 1, "Credential Protection"; PROTOCOL §3).

`make_credential` is TPM2_MakeCredential; `open_credential` is TPM2_ActivateCredential for keys whose private
half is at hand (recovery key, vault of a software MA).
"""

from __future__ import annotations

from lms.errors import InnerKeyMismatch, MalformedStructure
from lms.model.keys import Name
from lms.model.tpm import Credential
from lms.wire.tpm.digests import DIGEST_SIZES
from lms.wire.tpm.marshal import sized, unsized
from lms.wire.tpm.protection import ProtectionBroken, protect, storage_area, unprotect
from lms.wire.tpm.secret_sharing import IDENTITY, PrivateKey


def make_credential(key_public: bytes, secret: bytes, name: Name) -> Credential:
    """Encrypt `secret` to an EK or storage key, to be opened only beside the object named `name`.

    ValueError for a secret longer than the key's digest; BadAttributes or MalformedStructure where
    `key_public` (TPM2B_PUBLIC) is no storage key.
    """
    area, _ = storage_area(key_public)
    if not 0 < len(secret) <= DIGEST_SIZES[area.name_alg]:
        raise ValueError("cannot make a credential: the secret is empty or too long")
    protected, encrypted_secret = protect(key_public, IDENTITY, name, sized(secret))
    return Credential(sized(protected), encrypted_secret)


def open_credential(private_key: PrivateKey, public: bytes, name: Name, credential: Credential) -> bytes:
    """The secret in a credential; InnerKeyMismatch for a wrong key, a wrong Name or altered bytes."""
    try:
        blob = unsized(credential.blob)
        return unsized(unprotect(private_key, public, IDENTITY, name, blob, credential.secret))
    except (ProtectionBroken, MalformedStructure):
        raise InnerKeyMismatch("cannot open the credential") from None
