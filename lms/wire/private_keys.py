"""Private keys as they are kept: PKCS#8 DER in a Secret; and as TLS libraries want them, PEM behind a certificate."""

from __future__ import annotations

import ssl

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key

from lms.model.secret import Secret


def write_private_key(key: ec.EllipticCurvePrivateKey) -> Secret:
    """PKCS#8 DER of a key."""
    return Secret(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def read_private_key(key: Secret) -> ec.EllipticCurvePrivateKey:
    """What `write_private_key` wrote."""
    private = load_der_private_key(key.reveal(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return private


def tls_identity(certificate: bytes, key: Secret) -> Secret:
    """PEM of a certificate (DER) and of its key (PKCS#8 DER), as one file."""
    private = read_private_key(key).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Secret(ssl.DER_cert_to_PEM_cert(certificate).encode("ascii") + private)
