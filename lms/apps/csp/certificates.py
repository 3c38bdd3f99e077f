"""Certificates of a key: its own first, then those of its issuers. Whether anybody trusts them is no question here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lms.errors import CertificateDiffers, MalformedStructure
from lms.terminal import printable
from lms.wire.tpm.application import application_public_key

MAX_CERTIFICATES: Final = 1024 * 1024
_WIRE: Final = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, slots=True)
class Certificates:
    """At least one certificate; `source` is where they came from, in words for a person.

    Raises CertificateDiffers where it cannot be told whom the first one names, and until when.
    """

    chain: tuple[x509.Certificate, ...]
    source: Path

    def __post_init__(self) -> None:
        try:
            _ = self.subject, self.ends
        except ValueError:
            raise CertificateDiffers(f"cannot use '{self.source}': its first certificate is malformed") from None

    @property
    def pem(self) -> bytes:
        """All of them."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in self.chain)

    @property
    def subject(self) -> str:
        """Whom the first one names (RFC 4514), as a terminal may see it."""
        return printable(self.chain[0].subject.rfc4514_string())

    @property
    def ends(self) -> str:
        """Until when the first one is good (ISO 8601, UTC)."""
        return self.chain[0].not_valid_after_utc.isoformat()

    def require(self, public: bytes | None) -> None:
        """Go on only where the first is of the key TPM2B_PUBLIC; of a key that is not made yet none is.

        Raises CertificateDiffers.
        """
        if public is None or not self._is_of(public):
            raise CertificateDiffers(f"cannot use '{self.source}': its first certificate is of another key")

    def _is_of(self, public: bytes) -> bool:
        try:
            certified = self.chain[0].public_key().public_bytes(*_WIRE)
            return certified == application_public_key(public).public_bytes(*_WIRE)
        except (ValueError, UnsupportedAlgorithm, MalformedStructure):
            return False


def read_certificates(content: bytes, source: Path) -> Certificates:
    """PEM, whatever stands around it, or one in DER. Raises CertificateDiffers where there is none."""
    for read in (x509.load_pem_x509_certificates, _one):
        try:
            return Certificates(tuple(read(content)), source)
        except ValueError:
            continue
    raise CertificateDiffers(f"cannot use '{source}': it holds no certificate that can be read")


def _one(der: bytes) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(der)]
