"""What a PKCS#12 file brings: one private key, and its certificates (RFC 7292). It is read, never written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from lms.apps.csp.certificates import Certificates
from lms.errors import Pkcs12Refused
from lms.model.secret import Secret
from lms.wire.tpm.application import imported


@dataclass(frozen=True, slots=True)
class Brought:
    """A key in the clear, TPM2B_PUBLIC and TPM2B_SENSITIVE, and the certificates that came with it."""

    public: bytes
    sensitive: Secret
    certificates: Certificates | None


def read_pkcs12(content: bytes, password: Secret, source: Path) -> Brought:
    """The key of a PKCS#12 file. Raises Pkcs12Refused, KeyUnsupported, CertificateDiffers."""
    try:
        found = load_pkcs12(content, password.reveal())
    except (ValueError, UnsupportedAlgorithm):
        raise Pkcs12Refused(f"cannot open '{source}': the password is wrong, or it is no PKCS#12 file") from None
    if found.key is None:
        raise Pkcs12Refused(f"cannot use '{source}': it holds no private key")
    public, sensitive = imported(found.key)
    own = [] if found.cert is None else [found.cert]
    chain = tuple(one.certificate for one in (*own, *found.additional_certs))
    certificates = Certificates(chain, source) if chain else None
    if certificates is not None:
        certificates.require(public)
    return Brought(public, sensitive, certificates)
