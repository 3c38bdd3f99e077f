"""A real TPM 2.0 (swtpm through tpm2-pytss) that speaks bytes: the judge of `lms.wire.tpm`.

Every pytss object is bound to a name before a nested view of it is read (facts/tpm.md, use after free).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("TSS2_LOG", "all+none")

from tpm2_pytss import ESAPI
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPM2_CC, TPM2_SE
from tpm2_pytss.types import (
    TPM2B_AUTH,
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM2B_ENCRYPTED_SECRET,
    TPM2B_ID_OBJECT,
    TPM2B_NAME,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPM2B_SENSITIVE_DATA,
    TPML_DIGEST,
    TPMS_SENSITIVE_CREATE,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
    TPMT_SYM_DEF,
    TPMT_SYM_DEF_OBJECT,
)

from lms.model.keys import Name
from lms.model.tpm import Attestation, Credential, OuterWrap, SealedObject
from lms.wire.tpm.marshal import unsized
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC

NO_SCHEME = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)


def parse(kind, data: bytes):
    """One pytss structure from all of `data`."""
    value, used = kind.unmarshal(data)
    assert used == len(data)
    return value


def secret_of(auth: bytes, data: bytes) -> TPM2B_SENSITIVE_CREATE:
    return TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(userAuth=TPM2B_AUTH(auth), data=TPM2B_SENSITIVE_DATA(data)))


class Bench:
    """One TPM. Objects are handles of `with` blocks: a bare swtpm has three slots."""

    def __init__(self, tcti: str) -> None:
        self.tpm = ESAPI(tcti)

    @contextmanager
    def _flushed(self, handle: ESYS_TR) -> Iterator[ESYS_TR]:
        try:
            yield handle
        finally:
            self.tpm.flush_context(handle)

    @contextmanager
    def primary(self, template: bytes, hierarchy: ESYS_TR = ESYS_TR.OWNER) -> Iterator[tuple[ESYS_TR, bytes]]:
        handle, public, *_ = self.tpm.create_primary(secret_of(b"", b""), parse(TPM2B_PUBLIC, template), hierarchy)
        with self._flushed(handle):
            yield handle, public.marshal()

    def create(self, parent: ESYS_TR, template: bytes, auth: bytes = b"", data: bytes = b"") -> SealedObject:
        private, public, *_ = self.tpm.create(parent, secret_of(auth, data), parse(TPM2B_PUBLIC, template))
        return SealedObject(public.marshal(), private.marshal())

    @contextmanager
    def loaded(self, parent: ESYS_TR, key: SealedObject) -> Iterator[ESYS_TR]:
        public = parse(TPM2B_PUBLIC, key.public)
        with self._flushed(self.tpm.load(parent, parse(TPM2B_PRIVATE, key.private), public)) as handle:
            yield handle

    @contextmanager
    def external(self, public: bytes) -> Iterator[ESYS_TR]:
        loaded = self.tpm.load_external(parse(TPM2B_PUBLIC, public), None, ESYS_TR.OWNER)
        with self._flushed(loaded) as handle:
            yield handle

    @contextmanager
    def session(self, kind: TPM2_SE = TPM2_SE.POLICY) -> Iterator[ESYS_TR]:
        none = TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL)
        started = self.tpm.start_auth_session(ESYS_TR.NONE, ESYS_TR.NONE, kind, none, TPM2_ALG.SHA256)
        with self._flushed(started) as handle:
            yield handle

    def name(self, handle: ESYS_TR) -> bytes:
        name = self.tpm.tr_get_name(handle)
        return bytes(name)

    def secret_owner(self, session: ESYS_TR) -> None:
        self.tpm.policy_secret(ESYS_TR.OWNER, session, b"", b"", b"", expiration=0)

    def policy_or(self, session: ESYS_TR, digests: tuple[bytes, ...]) -> None:
        self.tpm.policy_or(session, TPML_DIGEST(list(digests)))

    def policy_digest(self, session: ESYS_TR) -> bytes:
        digest = self.tpm.policy_get_digest(session)
        return bytes(digest)

    def duplicate(self, key: ESYS_TR, new_parent: ESYS_TR, session: ESYS_TR) -> tuple[bytes, OuterWrap]:
        """With an inner wrap: the inner key and the blob. The policy in `session` is already satisfied."""
        symmetric = parse(TPMT_SYM_DEF_OBJECT, AES_128_CFB_SYMMETRIC)
        inner, blob, seed = self.tpm.duplicate(key, new_parent, None, symmetric, session1=session)
        return bytes(inner), OuterWrap(blob.marshal(), seed.marshal())

    def duplicate_as_adopted(self, key: ESYS_TR, new_parent: bytes) -> tuple[bytes, OuterWrap]:
        """Of a key with the policy of tpm_keys."""
        with self.external(new_parent) as parent, self.session() as session:
            self.tpm.policy_command_code(session, TPM2_CC.Duplicate)
            self.secret_owner(session)
            return self.duplicate(key, parent, session)

    def import_(self, parent: ESYS_TR, public: bytes, outer: OuterWrap, inner_key: bytes | None) -> SealedObject:
        symmetric = TPMT_SYM_DEF_OBJECT(algorithm=TPM2_ALG.NULL)
        if inner_key is not None:
            symmetric = parse(TPMT_SYM_DEF_OBJECT, AES_128_CFB_SYMMETRIC)
        private = self.tpm.import_(
            parent,
            TPM2B_DATA(inner_key or b""),
            parse(TPM2B_PUBLIC, public),
            parse(TPM2B_PRIVATE, outer.duplicate),
            parse(TPM2B_ENCRYPTED_SECRET, outer.seed),
            symmetric,
        )
        return SealedObject(public, private.marshal())

    def rewrap(self, old: ESYS_TR, new_parent: bytes, name: Name, outer: OuterWrap) -> OuterWrap:
        with self.external(new_parent) as new:
            blob, seed = self.tpm.rewrap(
                old,
                new,
                parse(TPM2B_PRIVATE, outer.duplicate),
                TPM2B_NAME(bytes(name)),
                parse(TPM2B_ENCRYPTED_SECRET, outer.seed),
            )
        return OuterWrap(blob.marshal(), seed.marshal())

    def unseal(self, handle: ESYS_TR) -> bytes:
        data = self.tpm.unseal(handle)
        return bytes(data)

    def make_credential(self, public: bytes, secret: bytes, name: Name) -> Credential:
        with self.external(public) as key:
            blob, encrypted = self.tpm.make_credential(key, TPM2B_DIGEST(secret), TPM2B_NAME(bytes(name)))
        return Credential(blob.marshal(), encrypted.marshal())

    def activate(self, activated: ESYS_TR, key: ESYS_TR, credential: Credential) -> bytes:
        blob = TPM2B_ID_OBJECT(unsized(credential.blob))
        secret = self.tpm.activate_credential(activated, key, blob, parse(TPM2B_ENCRYPTED_SECRET, credential.secret))
        return bytes(secret)

    def certify(self, key: ESYS_TR, ak: ESYS_TR, nonce: bytes) -> Attestation:
        attest, signature = self.tpm.certify(key, ak, nonce, NO_SCHEME)
        return Attestation(attest.marshal(), signature.marshal())

    def sign(self, key: ESYS_TR, digest: bytes) -> bytes:
        scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.ECDSA)
        scheme.details.any.hashAlg = TPM2_ALG.SHA256
        signature = self.tpm.sign(key, digest, scheme)
        return signature.marshal()

    def verify(self, public: bytes, digest: bytes, signature: bytes):
        """The ticket for a signature; raises where the TPM refuses it."""
        with self.external(public) as key:
            return self.tpm.verify_signature(key, digest, parse(TPMT_SIGNATURE, signature))
