"""A Migration Authority's end of TLS: its certificate, and whose stations may show theirs (PROTOCOL §5)."""

from __future__ import annotations

import ssl
from collections.abc import Iterable

from lms.model.secret import Secret
from lms.process import in_memory
from lms.wire.private_keys import tls_identity


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
    with in_memory(tls_identity(certificate, key).reveal()) as path:
        context.load_cert_chain(path)
    return context
