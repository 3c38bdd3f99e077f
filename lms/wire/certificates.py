"""Certificates: making them, and the one role and UUID that each speaks for (PROTOCOL §5; RFC 5280).

Certificates never end; what is withdrawn is withdrawn by the trust list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lms.errors import SignerWithdrawn, UntrustedSigner, WrongRole
from lms.model.addresses import Host
from lms.model.owner import Owner
from lms.model.packages import Signed
from lms.model.trust import Identity, Role, TrustList
from lms.wire.signature import read_certificate, verify
from lms.wire.tpm.signature import ecdsa_der, sign_digest

_NEVER_ENDS: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_OWNER_CN: Final = "Local Migration Owner"
_AK_USAGE: Final = x509.ObjectIdentifier("2.23.133.8.3")
_USAGES: Final = {Role.STATION: ExtendedKeyUsageOID.CLIENT_AUTH}


class TpmBackedKey(ec.EllipticCurvePrivateKey):
    """A P-256 key that only signs, by a function from a 32-byte SHA-256 digest to a TPMT_SIGNATURE."""

    def __init__(self, public: ec.EllipticCurvePublicKey, sign: Callable[[bytes], bytes]) -> None:
        self._public = public
        self._sign = sign

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """DER signature over SHA-256 of `data`."""
        digest = hashes.Hash(hashes.SHA256())
        digest.update(bytes(data))
        return ecdsa_der(self._sign(digest.finalize()))

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def exchange(self, *_: object) -> NoReturn:
        self._refuse()

    def private_numbers(self) -> NoReturn:
        self._refuse()

    def private_bytes(self, *_: object) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise TypeError("cannot do this with a key that never leaves its TPM")

    def __copy__(self) -> TpmBackedKey:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> TpmBackedKey:
        return self


class OwnerSigner:
    """`lms.wire.signature.Signer` by the owner's CA key itself."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: bytes) -> None:
        self._key = key
        self.certificates = (certificate,)

    def sign(self, digest: bytes) -> bytes:
        """TPMT_SIGNATURE over a 32-byte digest."""
        return sign_digest(self._key, digest)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, issuer_key: ec.EllipticCurvePublicKey, ca: bool
) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_after(_NEVER_ENDS)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def make_ca(key: ec.EllipticCurvePrivateKey, now: datetime) -> bytes:
    """The owner's CA certificate, DER."""
    public = key.public_key()
    builder = _builder(_OWNER_CN, _name(_OWNER_CN), public, public, ca=True)
    return builder.not_valid_before(now).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _with_identity(
    builder: x509.CertificateBuilder, identity: Identity, now: datetime, hosts: Sequence[Host] = ()
) -> x509.CertificateBuilder:
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.urn)]
    names += [x509.DNSName(h) if isinstance(h, str) else x509.IPAddress(h) for h in dict.fromkeys(hosts)]
    return builder.add_extension(x509.SubjectAlternativeName(names), critical=False).not_valid_before(now)


def issue(
    identity: Identity,
    key: ec.EllipticCurvePublicKey,
    ca: bytes,
    ca_key: ec.EllipticCurvePrivateKey,
    now: datetime,
    *,
    attestation: bool = False,
    hosts: Sequence[Host] = (),
) -> bytes:
    """A certificate by the owner's CA (DER) for what `identity` signs, DER.

    One for an AK says so (`attestation`): it speaks for evidence of the TPM and for no document. One for a TLS
    server names its `hosts` beside the identity. One for a station is a TLS client's.
    """
    builder = _builder(
        identity.role.value, x509.load_der_x509_certificate(ca).subject, key, ca_key.public_key(), ca=False
    )
    usage = _AK_USAGE if attestation else ExtendedKeyUsageOID.SERVER_AUTH if hosts else _USAGES.get(identity.role)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return _with_identity(builder, identity, now, hosts).sign(ca_key, hashes.SHA256()).public_bytes(Encoding.DER)


def for_attestation(certificate: x509.Certificate) -> bool:
    """Whether the certificate is that of an AK (TCG EK Credential Profile, tcg-kp-AIKCertificate).

    Signing key and AK of a platform carry the same role and UUID; without this mark the one, which signs
    anything, could forge the other's evidence.
    """
    try:
        return _AK_USAGE in certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False


def for_clients_alone(certificate: x509.Certificate) -> bool:
    """Whether the certificate is a TLS client's, and nobody else's."""
    try:
        usages = list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return False
    return usages == [ExtendedKeyUsageOID.CLIENT_AUTH]


def self_issue(identity: Identity, key: ec.EllipticCurvePrivateKey, now: datetime) -> bytes:
    """A self-issued certificate, DER: who only has an owner document signs under it, unapproved (PROTOCOL §5)."""
    public = key.public_key()
    builder = _builder(identity.role.value, _name(identity.role.value), public, public, ca=False)
    return _with_identity(builder, identity, now).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def identity_of(certificate: x509.Certificate) -> Identity:
    """The one role and UUID that a certificate speaks for. Raises WrongRole for none or several."""
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (urn,) = san.get_values_for_type(x509.UniformResourceIdentifier)
        return Identity.from_urn(urn)
    except (x509.ExtensionNotFound, ValueError):
        raise WrongRole("cannot tell for whom the certificate speaks: it does not carry exactly one role") from None


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        if certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    return True


def issued_by_owner(certificate: x509.Certificate, owner: Owner) -> bool:
    """Whether the owner's CA issued this end-entity certificate."""
    return _issued_by(certificate, x509.load_der_x509_certificate(owner.ca_certificate))


@dataclass(frozen=True, slots=True)
class SignerRule:
    """Who may sign a kind of document: these roles, and the very identity where one is named."""

    roles: frozenset[Role]
    identity: Identity | None = None
    self_issued: bool = False


def _check_companion(der: bytes, identity: Identity, owner: Owner) -> None:
    # No signature covers KeyInfo: without this, certificates behind the signer's could be swapped unseen.
    try:
        certificate, _ = read_certificate(der)
    except ValueError:
        raise UntrustedSigner(f"cannot read a certificate beside that of '{identity.urn}'") from None
    trusted = issued_by_owner(certificate, owner) and for_attestation(certificate)
    if not trusted or identity_of(certificate) != identity:
        raise UntrustedSigner(f"cannot trust a certificate beside that of '{identity.urn}': not the owner's word on it")


def judge_signer(
    signed: Signed, rule: SignerRule, owner: Owner, trust_list: TrustList | None, when: datetime
) -> tuple[Identity, bool]:
    """Who signed, and whether the owner's CA vouches for it; all of PROTOCOL §5 about signers.

    `when` is the time that withdrawal is judged at: Stored at an MA, else Created. Raises SignatureInvalid,
    UntrustedSigner, WrongRole, SignerWithdrawn.
    """
    certificate = verify(signed)
    if signed.certificates == (owner.ca_certificate,):
        if Role.OWNER not in rule.roles:
            raise WrongRole("cannot accept the owner's CA as the signer of this document")
        return Identity(Role.OWNER, None), True
    approved = issued_by_owner(certificate, owner)
    if not approved and not (rule.self_issued and _issued_by(certificate, certificate)):
        raise UntrustedSigner("cannot trust the signer: the owner's CA did not issue its certificate")
    identity = identity_of(certificate)
    if for_attestation(certificate):
        raise WrongRole(f"cannot accept the attestation key of '{identity.urn}' as the signer of a document")
    if identity.role not in rule.roles:
        raise WrongRole(f"cannot accept a signature by '{identity.urn}' on this document")
    if rule.identity is not None and identity != rule.identity:
        raise WrongRole(f"cannot accept a signature by '{identity.urn}': expected '{rule.identity.urn}'")
    for other in signed.certificates[1:]:
        _check_companion(other, identity, owner)
    since = None if trust_list is None else trust_list.withdrawn_since(identity)
    if since is not None and when >= since:
        raise SignerWithdrawn(f"cannot accept '{identity.urn}': it was withdrawn")
    return identity, approved
