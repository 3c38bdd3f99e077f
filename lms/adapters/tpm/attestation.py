"""The attestation key: what it certifies, and credentials that open beside it (PROTOCOL §1, §3).

The AK is a primary of the endorsement hierarchy and is made anew for each act: nothing of it is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tpm2_pytss.constants import ESYS_TR, TPM2_ALG
from tpm2_pytss.types import TPM2B_ENCRYPTED_SECRET, TPM2B_ID_OBJECT, TPMT_SIG_SCHEME

from lms.adapters.tpm import endorsement, keys, sessions
from lms.adapters.tpm.context import Context, read
from lms.adapters.tpm.responses import FAILURE, SIZE, VALUE, doing
from lms.errors import InnerKeyMismatch
from lms.model.keys import Name
from lms.model.secret import Secret
from lms.model.tpm import Attestation, Credential, SealedObject
from lms.ports import CertifiedKey, EndorsementKey
from lms.wire.tpm.public import Attributes, ak_template, read_public

_KEYS_OWN_SCHEME = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
_INTEGRITY = 0x09F
_ECC_POINT = 0x0A7
_CREDENTIAL = dict.fromkeys((VALUE, SIZE, FAILURE, _INTEGRITY, _ECC_POINT), InnerKeyMismatch)


def endorsement_keys(tpm: Context) -> tuple[EndorsementKey, ...]:
    """All EKs; persistent ones are preferred to deriving them. Looked for once an act: a use finds its key anew."""
    if not tpm.endorsement_keys:
        session = sessions.carrying(tpm, tpm.endorsement_auth)
        tpm.endorsement_keys = endorsement.endorsement_keys(tpm, session)
    return tpm.endorsement_keys


@contextmanager
def _attestation_key(tpm: Context, session: Any) -> Iterator[Any]:
    with endorsement.derived(tpm, ak_template(), session, tpm.endorsement_auth) as key:
        yield key


def attestation_key(tpm: Context) -> bytes:
    """TPM2B_PUBLIC of the AK."""
    with _attestation_key(tpm, sessions.carrying(tpm, tpm.endorsement_auth)) as key:
        return tpm.public(key)


def _attestation(attest: Any, signature: Any) -> Attestation:
    return Attestation(bytes(attest.marshal()), bytes(signature.marshal()))


def create_certified(tpm: Context, parent: int, template: bytes) -> CertifiedKey:
    """TPM2_Create and TPM2_CertifyCreation."""
    session = sessions.carrying(tpm, tpm.endorsement_auth)
    with tpm.persistent(parent) as above:
        key, creation_data, creation_hash, ticket = keys.new_key(tpm, above, template, session)
        with (
            tpm.loaded(above, key) as loaded,
            _attestation_key(tpm, session) as signer,
            doing("certify the birth of the key"),
        ):
            evidence = tpm.esapi.certify_creation(signer, loaded, b"", creation_hash, _KEYS_OWN_SCHEME, ticket)
    return CertifiedKey(key, bytes(creation_data.marshal()), _attestation(*evidence))


def _certified(tpm: Context, key: Any, auth: Secret, session: Any) -> Attestation:
    with (
        _attestation_key(tpm, session) as signer,
        tpm.authorised(key, auth),
        doing("certify the key", sessions.OF_THE_OBJECT),
    ):
        return _attestation(*tpm.esapi.certify(key, signer, b"", _KEYS_OWN_SCHEME, session1=session))


def certify(tpm: Context, parent: int, key: SealedObject | None, auth: Secret) -> Attestation:
    """TPM2_Certify, which asks for the authorisation of the key itself."""
    session = sessions.carrying(tpm, auth, tpm.endorsement_auth)
    with tpm.persistent(parent) as above:
        if key is None:
            return _certified(tpm, above, auth, session)
        with tpm.loaded(above, key) as loaded:
            return _certified(tpm, loaded, auth, session)


@contextmanager
def _activated(tpm: Context, handle: int, session: Any) -> Iterator[Any]:
    if handle:
        with tpm.persistent(handle) as key:
            yield key
    else:
        with _attestation_key(tpm, session) as key:
            yield key


def activate(tpm: Context, ek: Name, handle: int, credential: Credential, auth: Secret) -> Secret:
    """TPM2_ActivateCredential; an EK of the low range is opened by PolicySecret(endorsement)."""
    blob, secret = read(TPM2B_ID_OBJECT, credential.blob), read(TPM2B_ENCRYPTED_SECRET, credential.secret)
    session = sessions.confidential(tpm)
    with (
        sessions.policy(tpm) as policy,
        endorsement.key_named(tpm, ek, session, auth) as opener,
        _activated(tpm, handle, session) as key,
    ):
        by_policy = not read_public(tpm.public(opener)).attributes & Attributes.USER_WITH_AUTH
        if by_policy:
            sessions.policy_secret(tpm, policy, ESYS_TR.ENDORSEMENT, auth, session)
        with doing("open the credential", _CREDENTIAL):
            opened = tpm.esapi.activate_credential(
                key,
                opener,
                blob,
                secret,
                session1=ESYS_TR.PASSWORD,
                session2=policy if by_policy else ESYS_TR.PASSWORD,
                session3=session,
            )
    return Secret(bytes(opened))
