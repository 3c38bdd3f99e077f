"""TLS certificates in every shape, also in those that nobody issues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lms.model.trust import Identity, Role, TrustList
from lms.wire.tls import tls_key
from tests.support.documents import NOW, OwnerWorld, private_key, uuid
from tests.support.exchange import trust_list

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
ATTESTATION = x509.ObjectIdentifier("2.23.133.8.3")
MA = Identity(Role.MIGRATION_AUTHORITY, uuid("ma"))
MA_KEY = private_key("ma TLS")


def tls_certificate(
    world: OwnerWorld | None,
    *identities: Identity,
    key: ec.EllipticCurvePrivateKey = MA_KEY,
    usages: Sequence[x509.ObjectIdentifier] = (SERVER,),
    ends: datetime = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
) -> bytes:
    """DER by the owner's CA, or self-issued where `world` is None."""
    subject = issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tls")])
    if world is not None:
        issuer = x509.load_der_x509_certificate(world.owner.ca_certificate).subject
    names = [x509.DNSName("ma.example"), *(x509.UniformResourceIdentifier(i.urn) for i in identities)]
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), 1, NOW.replace(year=2020), ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(key if world is None else world.keys.ca, hashes.SHA256()).public_bytes(Encoding.DER)


def listed(key: ec.EllipticCurvePrivateKey, identity: Identity = MA, *withdrawn: Identity) -> TrustList:
    """A trust list that names this key for one MA."""
    whole = trust_list(*withdrawn)
    (authority,) = whole.authorities
    assert identity.uuid is not None
    return replace(whole, authorities=(replace(authority, ma_id=identity.uuid, tls_key=tls_key(key.public_key())),))


def pkcs8(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS#8 DER."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
