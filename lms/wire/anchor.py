"""From an owner document's bytes to an `Owner`: the anchor of all trust (PROTOCOL §6).

An owner document proves that its parts belong together. Whether it is *your* owner, only its fingerprint
tells, compared once with what was written down.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lms.errors import BadAttributes, FingerprintDiffers, FingerprintUnconfirmed, SignatureInvalid, UntrustedSigner
from lms.model.keys import Name, digits, same_digits
from lms.model.owner import EmergencyRecoveryToken, Owner
from lms.model.packages import Signed
from lms.wire.signature import read_certificate, verify
from lms.wire.token_v1 import read_owner_document, read_token
from lms.wire.tpm.public import approval_public, ec_public_key, name_of, read_public, recovery_public
from lms.wire.tpm.signature import verify_digest

_PREFIX: Final = b"localmigration:owner:1"


def fingerprint(ca: ec.EllipticCurvePublicKey, approval_root: Name, recovery_key: Name) -> bytes:
    """SHA-256 over what an owner is: CA key and the Names of approval root and recovery key."""
    spki = ca.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(_PREFIX + spki + approval_root + recovery_key).digest()


def _check_ca(ca: bytes) -> ec.EllipticCurvePublicKey:
    try:
        certificate, key = read_certificate(ca)
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, x509.ExtensionNotFound):
        raise UntrustedSigner("cannot read the owner's CA certificate, or its key is not on P-256") from None
    if not is_ca:
        raise UntrustedSigner("cannot accept the owner's CA certificate: it is no CA's")
    return key


def _check_signed_by_ca(signed: Signed, ca: bytes) -> None:
    verify(signed)
    if signed.certificates != (ca,):
        raise UntrustedSigner("cannot accept the document: its signer is not the owner's CA")


def _follows(public: bytes, template: Callable[[ec.EllipticCurvePublicKey], bytes]) -> bool:
    try:
        return template(ec_public_key(read_public(public))) == public
    except ValueError:  # another curve
        return False


@lru_cache(maxsize=16)
def read_owner(document: bytes) -> Owner:
    """The owner of an owner document whose parts vouch for each other.

    The same bytes are judged once: what they say depends on nothing else. A refusal is not remembered.

    Raises the errors of `read_document`, SignatureInvalid, UntrustedSigner, MalformedStructure, BadAttributes.
    """
    value, signed = read_owner_document(document)
    ca_key = _check_ca(value.ca_certificate)
    _check_signed_by_ca(signed, value.ca_certificate)
    for public, template in ((value.approval_root, approval_public), (value.recovery_key, recovery_public)):
        if not _follows(public, template):
            raise BadAttributes("cannot accept the owner document: a key does not follow its template")
    root_name, recovery_name = name_of(value.approval_root), name_of(value.recovery_key)
    digest = fingerprint(ca_key, root_name, recovery_name)
    try:
        verify_digest(ec_public_key(read_public(value.approval_root)), digest, value.root_signature)
    except SignatureInvalid:
        raise SignatureInvalid("cannot accept the owner document: the approval root did not sign it") from None
    return Owner(
        document, value.ca_certificate, value.approval_root, root_name, value.recovery_key, recovery_name, digest
    )


def confirm_owner(document: bytes, fingerprint: str) -> Owner:
    """The owner, if the fingerprint is the one that was written down.

    Raises FingerprintUnconfirmed where none is given, FingerprintDiffers, and the errors of `read_owner`.
    """
    owner = read_owner(document)
    shown = digits(owner.fingerprint)
    if not fingerprint:
        raise FingerprintUnconfirmed(f"cannot trust the owner document: nobody confirmed its fingerprint {shown}")
    if not same_digits(fingerprint, owner.fingerprint):
        raise FingerprintDiffers(f"cannot trust the owner document: its fingerprint is not '{fingerprint}'")
    return owner


def read_owned_token(document: bytes) -> tuple[EmergencyRecoveryToken, Owner]:
    """A token file whose signature its own owner document's CA made; the seed is still sealed."""
    token, signed = read_token(document)
    owner = read_owner(token.owner_document)
    _check_signed_by_ca(signed, owner.ca_certificate)
    return token, owner
