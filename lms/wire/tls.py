"""Whether who answers on a TLS connection is the Migration Authority that was meant (PROTOCOL §5, TLS).

The identity is the MAID, never a host name, and neither dates nor public CAs count: an owner's own CA issued the
certificate, or the owner's trust list names its key. That the peer holds the key is what the handshake proved;
this judgement has to come before anything else is said to it.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from lms.errors import AuthorityUntrusted, WrongRole
from lms.model.owner import Owner
from lms.model.trust import Identity, Role, TrustList
from lms.wire.certificates import for_attestation, identity_of, issued_by_owner
from lms.wire.signature import read_certificate


def tls_key(key: ec.EllipticCurvePublicKey) -> bytes:
    """What a trust list calls a TLS key: SHA-256 of its SubjectPublicKeyInfo."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def judge_tls(leaf: bytes, ma_id: UUID, owner: Owner, trust_list: TrustList | None) -> None:
    """Accept the certificate (DER) that a server showed, or raise AuthorityUntrusted.

    Accepted is the key that the trust list names for this MAID, under whatever certificate (an MA of several
    owners), or a TLS server certificate by the owner's CA for exactly this MAID; neither once it was withdrawn.
    """
    expected = Identity(Role.MIGRATION_AUTHORITY, ma_id)
    try:
        certificate, key = read_certificate(leaf)
    except ValueError as error:
        raise AuthorityUntrusted(f"cannot read the certificate of the authority '{ma_id}': {error}") from None
    if trust_list is not None and trust_list.withdrawn_since(expected) is not None:
        raise AuthorityUntrusted(f"cannot trust the authority '{ma_id}': it was withdrawn")
    if not _listed(tls_key(key), ma_id, trust_list):
        _judge_certificate(certificate, expected, owner)


def _listed(key: bytes, ma_id: UUID, trust_list: TrustList | None) -> bool:
    return trust_list is not None and any(a.ma_id == ma_id and a.tls_key == key for a in trust_list.authorities)


def _judge_certificate(certificate: x509.Certificate, expected: Identity, owner: Owner) -> None:
    if not issued_by_owner(certificate, owner):
        raise AuthorityUntrusted(f"cannot trust who answers for '{expected.urn}': the owner's CA does not know it")
    try:
        identity = identity_of(certificate)
    except WrongRole as error:
        raise AuthorityUntrusted(str(error)) from None
    if identity != expected:
        raise AuthorityUntrusted(f"cannot take '{identity.urn}' for '{expected.urn}'")
    if for_attestation(certificate) or not _for_servers(certificate):
        raise AuthorityUntrusted(f"cannot trust the certificate of '{identity.urn}': it is not for a TLS server")


def _for_servers(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.SERVER_AUTH in usage
