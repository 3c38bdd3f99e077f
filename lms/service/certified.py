"""Certificates that the MSA encrypted to this very chip: opened, and found for their keys (PROTOCOL §6)."""

from __future__ import annotations

from uuid import UUID

from cryptography import x509

from lms.errors import UntrustedSigner
from lms.model.exchange import EncryptedCertificates
from lms.model.keys import Name
from lms.model.owner import Owner
from lms.model.secret import Secret
from lms.model.trust import Identity, Role
from lms.ports import Tpm
from lms.wire.certificates import identity_of, issued_by_owner
from lms.wire.content import decrypt
from lms.wire.exchange_v1 import read_bundle
from lms.wire.tpm.public import ec_public_key, read_public

_AK = 0  # `Tpm.activate`: the attestation key, not a persistent one


def open_certificates(
    tpm: Tpm, ek: Name, encrypted: EncryptedCertificates, endorsement_auth: Secret
) -> tuple[bytes, ...]:
    """DER certificates: only the chip with this EK and its AK opens them. Raises the TPM's errors, ContentMismatch."""
    key = tpm.activate(ek, _AK, encrypted.credential, endorsement_auth)
    return read_bundle(decrypt(key, encrypted.ciphertext)).certificates


def certificate_for(public: bytes, certificates: tuple[bytes, ...], platform_id: UUID, owner: Owner) -> bytes:
    """The one of this owner for this platform's key (TPM2B_PUBLIC). Raises UntrustedSigner."""
    key = ec_public_key(read_public(public))
    for certificate in certificates:
        parsed = x509.load_der_x509_certificate(certificate)
        if (
            parsed.public_key() == key
            and issued_by_owner(parsed, owner)
            and identity_of(parsed) == Identity(Role.PLATFORM, platform_id)
        ):
            return certificate
    raise UntrustedSigner("cannot take the answer: it holds no certificate of this owner for our key")
