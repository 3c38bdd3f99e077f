"""A Migration Authority's end of TLS: its certificate, and whose stations may show theirs (PROTOCOL §5)."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from lms.model.secret import Secret


def server_context(certificate: bytes, key: Secret, client_cas: Iterable[bytes]) -> ssl.SSLContext:
    """TLS 1.2 or later under a certificate (DER) and its key (PKCS#8 DER).

    A client may show a certificate by one of `client_cas` (DER); another one ends the handshake, none does not.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A resumed session would show neither certificate again: both ends bind what they say to them.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_OPTIONAL
    cas = b"".join(client_cas)
    if cas:
        context.load_verify_locations(cadata=cas)
    _show(context, certificate, key)
    return context


def _show(context: ssl.SSLContext, certificate: bytes, key: Secret) -> None:
    private = load_der_private_key(key.reveal(), None)
    # OpenSSL takes a key from a file by name alone; this one is in memory and nobody else's.
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(ssl.DER_cert_to_PEM_cert(certificate).encode("ascii"))
        file.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
