"""Sessions: what carries a secret is salted with a key that somebody verified, and encrypted (PROTOCOL §2).

A password session is opened only where no secret crosses: an empty authorisation, public parameters. Unsalted policy
sessions carry nothing: in the same command a salted session encrypts and authenticates.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPM2_SE, TPMA_SESSION
from tpm2_pytss.types import TPMT_SYM_DEF, TPMU_SYM_KEY_BITS, TPMU_SYM_MODE

from lms.adapters.tpm import endorsement
from lms.adapters.tpm.context import Context, Session
from lms.adapters.tpm.responses import BAD_AUTH, Meanings, doing
from lms.errors import AuthFailed, BadRequest, EndorsementAuthFailed, ForeignKey, KeyNotFound
from lms.model.secret import Secret

OF_THE_OBJECT: Final[Meanings] = {BAD_AUTH: AuthFailed}
"""For commands whose authorisation is not the owner's."""

_OF_THE_ENDORSEMENT: Final[Meanings] = {BAD_AUTH: EndorsementAuthFailed}
_AES_128_CFB: Final = TPMT_SYM_DEF(
    algorithm=TPM2_ALG.AES, keyBits=TPMU_SYM_KEY_BITS(sym=128), mode=TPMU_SYM_MODE(sym=TPM2_ALG.CFB)
)
_NO_SYMMETRIC: Final = TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL)
_ENCRYPTING: Final = TPMA_SESSION.DECRYPT | TPMA_SESSION.ENCRYPT | TPMA_SESSION.CONTINUESESSION


@contextmanager
def _salt_key(tpm: Context) -> Iterator[Any]:
    """The key whose Name was told to `trust_salt`; any other on the bus is refused."""
    name = tpm.salt.name
    if name is None:
        raise BadRequest("cannot send a secret to the TPM: no key of it was verified yet")
    try:
        with endorsement.key_named(tpm, name) as key:
            yield key
    except KeyNotFound as error:
        raise ForeignKey(f"cannot talk to the TPM in confidence: it does not hold the key {name}") from error


def _opened(tpm: Context, kind: int) -> Any:
    with _salt_key(tpm) as key, doing("open a session"):
        session = tpm.esapi.start_auth_session(
            tpm_key=key,
            bind=ESYS_TR.NONE,
            session_type=kind,
            symmetric=_AES_128_CFB,
            auth_hash=TPM2_ALG.SHA256,
        )
        tpm.esapi.trsess_set_attributes(session, _ENCRYPTING)
    return session


@contextmanager
def salted(tpm: Context, kind: int) -> Iterator[Any]:
    """A new session of this kind that encrypts the first parameter both ways."""
    with tpm.flushing(_opened(tpm, kind)) as session:
        yield session


def confidential(tpm: Context) -> Any:
    """The HMAC session of the context, which encrypts the first parameter both ways: opened by its first use."""
    if tpm.session is None or tpm.session.salt != tpm.salt.name:
        tpm.end_session()
        tpm.session = Session(tpm.salt.name, _opened(tpm, TPM2_SE.HMAC))
    return tpm.session.handle


def carrying(tpm: Context, *secrets: Secret) -> Any:
    """The session for a command: salted as soon as that is possible, and always where a secret is not empty."""
    if tpm.salt.name is None and not any(secrets):
        return ESYS_TR.PASSWORD
    return confidential(tpm)


@contextmanager
def policy(tpm: Context) -> Iterator[Any]:
    """A policy session, unsalted; use it beside a salted one."""
    with doing("open a policy session"):
        session = tpm.esapi.start_auth_session(
            tpm_key=ESYS_TR.NONE,
            bind=ESYS_TR.NONE,
            session_type=TPM2_SE.POLICY,
            symmetric=_NO_SYMMETRIC,
            auth_hash=TPM2_ALG.SHA256,
        )
    with tpm.flushing(session):
        yield session


def policy_secret(tpm: Context, session: Any, entity: Any, auth: Secret, salted_session: Any) -> None:
    """TPM2_PolicySecret of a hierarchy, whose authorisation crosses as an HMAC; an empty one is no secret.

    EndorsementAuthFailed or OwnerAuthFailed.
    """
    with (
        doing("prove the authorisation", _OF_THE_ENDORSEMENT if entity == ESYS_TR.ENDORSEMENT else None),
        tpm.authorised(entity, auth),
    ):
        proof = salted_session if auth else ESYS_TR.PASSWORD
        # without expiration=0 tpm2_pytss asks for a ticket
        tpm.esapi.policy_secret(entity, session, b"", b"", b"", expiration=0, session1=proof)
