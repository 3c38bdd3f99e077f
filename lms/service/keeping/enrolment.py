"""How a Migration Authority comes to be, asks an owner's MSA, and takes the answer (PROTOCOL §6, §8 "authority").

One identity and one request serve all owners; what each of them granted is kept beside the others. Whether an owner
document is the right one was decided before, by its fingerprint.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lms.errors import AuthorityUntrusted, BadRequest, GrantMismatch, SignerWithdrawn, UntrustedSigner
from lms.model.addresses import host_of
from lms.model.authorities import AuthorityChip, AuthorityIdentity, KeptOwner
from lms.model.exchange import AuthorityEnrolment, EnrolmentGrant, EnrolmentRequest, RequestBase
from lms.model.owner import Owner
from lms.model.secret import Secret
from lms.model.tpm import Credential
from lms.model.trust import Identity, Mode, Role, TrustedAuthority, TrustList
from lms.ports import VaultTransaction
from lms.wire.certificates import OwnerSigner, SignerRule, judge_signer, self_issue
from lms.wire.content import decrypt
from lms.wire.enrolment import enrolment_id
from lms.wire.exchange_v1 import ENROLMENT_GRANT, ENROLMENT_REQUEST, read_bundle
from lms.wire.private_keys import read_private_key, write_private_key
from lms.wire.request_proofs import NONCE_SIZE
from lms.wire.signature import read_certificate, sign
from lms.wire.tls import judge_tls, tls_key
from lms.wire.tpm.credential import open_credential
from lms.wire.tpm.public import name_of, recovery_public
from lms.wire.trust_list import newer, read_trust_list

Opener = Callable[[Credential], Secret]
_GRANTERS = SignerRule(frozenset({Role.OWNER, Role.SIGNER}))


def make_software_identity(ma_id: UUID, addresses: tuple[str, ...]) -> AuthorityIdentity:
    """A new MA without a TPM: keys for vault and TLS. Raises BadRequest for what is no address."""
    vault = ec.generate_private_key(ec.SECP256R1())
    return make_identity(ma_id, addresses, recovery_public(vault.public_key()), vault_key=write_private_key(vault))


def make_identity(
    ma_id: UUID,
    addresses: tuple[str, ...],
    vault: bytes,
    *,
    vault_key: Secret | None = None,
    chip: AuthorityChip | None = None,
) -> AuthorityIdentity:
    """A new MA around its vault (TPM2B_PUBLIC), which is in `vault_key` or in `chip`; its TLS key is in software.

    Raises BadRequest.
    """
    return AuthorityIdentity(
        ma_id=ma_id,
        mode=Mode.SOFTWARE if chip is None else Mode.TPM,
        addresses=checked_addresses(addresses),
        tls_key=write_private_key(ec.generate_private_key(ec.SECP256R1())),
        vault=vault,
        vault_key=vault_key,
        chip=chip,
        request_nonce=secrets.token_bytes(NONCE_SIZE),
    )


def moved(identity: AuthorityIdentity, addresses: tuple[str, ...]) -> AuthorityIdentity:
    """The same MA at other addresses: its owners have to grant a new request. Raises BadRequest."""
    return replace(identity, addresses=checked_addresses(addresses), request_nonce=secrets.token_bytes(NONCE_SIZE))


def checked_addresses(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses that a certificate may name, at least one. Raises BadRequest."""
    if not addresses:
        raise BadRequest("cannot make an authority without an address: give --address https://HOST:PORT")
    for address in addresses:
        try:
            host_of(address)
        except ValueError as error:
            raise BadRequest(f"cannot use the address '{address}': {error}") from None
    return addresses


def authority_request_id(identity: AuthorityIdentity) -> bytes:
    """RequestID of an MA's enrolment; without a TPM its vault stands for EK and AK (PROTOCOL §6)."""
    vault, chip = name_of(identity.vault), identity.chip
    ek, ak = (vault, vault) if chip is None else (name_of(chip.ek), name_of(chip.ak))
    key = read_private_key(identity.tls_key).public_key()
    return enrolment_id(identity.ma_id, identity.request_nonce, ek, vault, ak, key)


def request_authority_enrolment(identity: AuthorityIdentity, now: datetime) -> bytes:
    """The EnrolmentRequest of an MA, signed by its TLS key; with what proves its vault where that is in a TPM.

    Its trust list number is 0: it is for every owner, and each has a trust list of its own.
    """
    key, chip = read_private_key(identity.tls_key), identity.chip
    ek, certificates, ak, certify = (
        (None, (), None, None) if chip is None else (chip.ek, chip.ek_certificates, chip.ak, chip.vault_certify)
    )
    base = RequestBase(authority_request_id(identity), identity.request_nonce, ek, certificates, 0)
    tls_public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    part = AuthorityEnrolment(
        identity.ma_id, ak, identity.vault, certify, tls_public, identity.addresses, identity.mode
    )
    signer = OwnerSigner(key, self_issue(_role(identity), key, now))
    return sign(ENROLMENT_REQUEST.write(EnrolmentRequest(base, None, part)), signer)


def software_opener(identity: AuthorityIdentity) -> Opener:
    """Opens what was encrypted to a software MA: only its vault key can. Raises InnerKeyMismatch when called."""
    assert identity.vault_key is not None
    private, vault = read_private_key(identity.vault_key), identity.vault
    return lambda credential: Secret(open_credential(private, vault, name_of(vault), credential))


def accept_authority_grant(
    identity: AuthorityIdentity,
    opens: Opener,
    transaction: VaultTransaction,
    document: bytes,
    owner: Owner,
    now: datetime,
) -> tuple[KeptOwner, bool]:
    """Serve an owner as a grant says; what is kept, and whether that changed.

    Of a known owner the highest trust list and the certificate issued last are kept, whatever order grants come in.
    Raises GrantMismatch, SignerWithdrawn, UntrustedSigner, InnerKeyMismatch, TrustListConflict, and the errors of
    `judge_signer`.
    """
    grant, signed = ENROLMENT_GRANT.read(document)
    assert isinstance(grant, EnrolmentGrant)
    before = next((kept for kept in transaction.owners() if kept.fingerprint == owner.fingerprint), None)
    trust_list = newer(None if before is None else before.trust_list, grant.trust_list, owner)
    trusted = read_trust_list(trust_list, owner)
    judge_signer(signed, _GRANTERS, owner, trusted, now)
    if grant.request_id != authority_request_id(identity):
        raise GrantMismatch("cannot take the grant: it does not answer this authority's request")
    entry = _own_entry(identity, trusted)
    key = opens(grant.certificates.credential)
    certificate = _own_certificate(
        identity, read_bundle(decrypt(key, grant.certificates.ciphertext)).certificates, owner
    )
    if before is not None and _issued(before.tls_certificate) > _issued(certificate):
        certificate = before.tls_certificate
    kept = KeptOwner(owner.fingerprint, owner.document, trust_list, certificate, entry.combined)
    if kept != before:
        transaction.keep_owner(kept)
    return kept, kept != before


def _role(identity: AuthorityIdentity) -> Identity:
    return Identity(Role.MIGRATION_AUTHORITY, identity.ma_id)


def _own_entry(identity: AuthorityIdentity, trusted: TrustList) -> TrustedAuthority:
    if trusted.withdrawn_since(_role(identity)) is not None:
        raise SignerWithdrawn("cannot take the grant: this authority was withdrawn")
    expected = (identity.ma_id, identity.vault, tls_key(read_private_key(identity.tls_key).public_key()), identity.mode)
    for entry in trusted.authorities:
        if (entry.ma_id, entry.vault, entry.tls_key, entry.mode) == expected:
            return entry
    raise GrantMismatch("cannot take the grant: the trust list does not name this authority with its vault and mode")


def _own_certificate(identity: AuthorityIdentity, certificates: tuple[bytes, ...], owner: Owner) -> bytes:
    """The certificate that clients of this owner will accept from us."""
    ours = read_private_key(identity.tls_key).public_key()
    for certificate in certificates:
        try:
            judge_tls(certificate, identity.ma_id, owner, None)
        except AuthorityUntrusted:
            continue
        if read_certificate(certificate)[1] == ours:
            return certificate
    raise UntrustedSigner("cannot take the grant: it holds no TLS certificate of this owner for our key")


def _issued(certificate: bytes) -> datetime:
    return x509.load_der_x509_certificate(certificate).not_valid_before_utc
