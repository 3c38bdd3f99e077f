"""A root operator of a Migration Authority: its TPM with every authorisation, its disk, and a key in software."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from tpm2_pytss import ESAPI
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPM2_CC, TPM2_SE
from tpm2_pytss.types import (
    TPM2B_DATA,
    TPM2B_ENCRYPTED_SECRET,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPMT_SYM_DEF,
    TPMT_SYM_DEF_OBJECT,
)

from lms.model.authorities import AuthorityIdentity
from lms.model.keys import SRK_HANDLE, VAULT_HANDLE
from lms.model.packages import MigratingKey, MigrationBlob, MigrationPackage
from lms.model.tpm import OuterWrap, SealedObject
from lms.ports import VaultTransaction
from lms.wire.package_v1 import read_package
from lms.wire.tpm.credential import open_credential
from lms.wire.tpm.inner_key import read_inner_plaintext
from lms.wire.tpm.marshal import sized, unsized
from lms.wire.tpm.public import recovery_public
from lms.wire.tpm.sensitive import Sensitive, matches, read_sensitive
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC, unwrap_inner, unwrap_outer
from tests.support.documents import OwnerWorld
from tests.support.platform import OWNER_AUTH

_NO_INNER_WRAP = TPMT_SYM_DEF_OBJECT(algorithm=TPM2_ALG.NULL)
GUESSES = (None, bytes(16), b"\xff" * 16, b"a guessed key ..")


@dataclass(frozen=True)
class Loot:
    """The newest package of a platform as the authority keeps it: its key, and the blob that is for the vault."""

    package: MigrationPackage
    key: MigratingKey
    blob: MigrationBlob

    def inner_key(self, world: OwnerWorld) -> bytes:
        """What the owner alone has: for the control."""
        (inner,) = self.blob.inner_keys
        owner = world.owner
        plaintext = open_credential(world.keys.recovery, owner.recovery_key, owner.recovery_key_name, inner.credential)
        return read_inner_plaintext(plaintext, self.package.header.source.platform_id, self.key.key_id)


def loot_of(transaction: VaultTransaction, platform_id) -> Loot:
    """The newest package of a platform, out of a vault's database."""
    newest = transaction.packages(platform_id)[0]
    package = read_package(transaction.package(newest.package_id)).content
    (key,) = package.migrating_keys
    (blob,) = key.blobs
    return Loot(package, key, blob)


class SoftwareKey:
    """A storage key outside any TPM: of the operator's own, or whatever key he has."""

    def __init__(self, private: ec.EllipticCurvePrivateKey | None = None) -> None:
        self.private = private or ec.generate_private_key(ec.SECP256R1())
        self.public = recovery_public(self.private.public_key())

    def sensitive(self, loot: Loot, outer: OuterWrap, inner_key: bytes) -> Sensitive:
        """The DRSK's private half, of what was wrapped to this key. BlobRefused, MalformedStructure."""
        name = loot.key.key_id
        return unwrap_inner(unwrap_outer(self.private, self.public, name, outer), name, inner_key)

    def opens(self, loot: Loot, outer: OuterWrap, inner_key: bytes | None) -> bool:
        """Whether what was wrapped to this key gives the DRSK's private half. BlobRefused, MalformedStructure."""
        return opens_inner(loot, unwrap_outer(self.private, self.public, loot.key.key_id, outer), inner_key)


def opens_inner(loot: Loot, inner_blob: bytes, inner_key: bytes | None) -> bool:
    """Whether what is left without an outer wrap is the DRSK's private half; None takes it for being in the clear."""
    if inner_key is None:
        return matches(read_sensitive(inner_blob), loot.key.public)
    return matches(unwrap_inner(inner_blob, loot.key.key_id, inner_key), loot.key.public)


class Thief:
    """At a TPM of his own, past our adapter, with what an authority keeps and what hung below the platform's key."""

    def __init__(self, esapi: ESAPI, loot: Loot, child: SealedObject) -> None:
        self.esapi, self.loot, self.child = esapi, loot, child
        self.srk = esapi.tr_from_tpmpublic(SRK_HANDLE)

    @contextmanager
    def loaded(self, parent, private, public: bytes) -> Iterator[ESYS_TR]:
        handle = self.esapi.load(parent, private, TPM2B_PUBLIC.unmarshal(public)[0])
        try:
            yield handle
        finally:
            self.esapi.flush_context(handle)

    @contextmanager
    def policy(self, code: TPM2_CC) -> Iterator[ESYS_TR]:
        """A session that satisfies PolicyCommandCode."""
        session = self.esapi.start_auth_session(
            ESYS_TR.NONE, ESYS_TR.NONE, TPM2_SE.POLICY, TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL), TPM2_ALG.SHA256
        )
        try:
            self.esapi.policy_command_code(session, code)
            yield session
        finally:
            self.esapi.flush_context(session)

    def unsealed(self, key, child: SealedObject) -> bytes:
        """What hangs below a key."""
        with self.loaded(key, TPM2B_PRIVATE.unmarshal(child.private)[0], child.public) as sealed:
            return bytes(self.esapi.unseal(sealed))

    def imported(self, parent, outer: OuterWrap, inner_key: bytes | None) -> bytes:
        """Import below a parent, load, and unseal the platform's child: all that the DRSK is good for."""
        symmetric = _NO_INNER_WRAP if inner_key is None else TPMT_SYM_DEF_OBJECT.unmarshal(AES_128_CFB_SYMMETRIC)[0]
        public = TPM2B_PUBLIC.unmarshal(self.loot.key.public)[0]
        data = TPM2B_DATA(inner_key or b"")
        private = self.esapi.import_(parent, data, public, _private(outer), _seed(outer), symmetric)
        with self.loaded(parent, private, self.loot.key.public) as drsk:
            return self.unsealed(drsk, self.child)


class Operator(Thief):
    """At the TPM of an authority, with every authorisation of it."""

    def __init__(self, esapi: ESAPI, identity: AuthorityIdentity, loot: Loot, child: SealedObject) -> None:
        super().__init__(esapi, loot, child)
        self.identity = identity
        self.vault = esapi.tr_from_tpmpublic(VAULT_HANDLE)
        esapi.tr_set_auth(self.vault, identity.chip.vault_auth.reveal())
        esapi.tr_set_auth(ESYS_TR.OWNER, OWNER_AUTH.reveal())

    def rewrapped(self, parent) -> OuterWrap:
        """The blob passed on to any parent, as the operator likes."""
        duplicate, seed = self.esapi.rewrap(
            self.vault, parent, _private(self.loot.blob.outer), bytes(self.loot.key.key_id), _seed(self.loot.blob.outer)
        )
        return OuterWrap(bytes(duplicate.marshal()), bytes(seed.marshal()))

    def rewrapped_to(self, public: bytes) -> OuterWrap:
        """The blob passed on to a key outside this TPM."""
        parent = self.esapi.load_external(TPM2B_PUBLIC.unmarshal(public)[0], None, ESYS_TR.OWNER)
        try:
            return self.rewrapped(parent)
        finally:
            self.esapi.flush_context(parent)

    def stripped(self, inner_key: bytes | None) -> bool:
        """Pass the blob on to no parent at all: what is left has no outer wrap."""
        left = self.rewrapped(ESYS_TR.NULL)
        return opens_inner(self.loot, unsized(left.duplicate), inner_key)


def _private(outer: OuterWrap) -> TPM2B_PRIVATE:
    return TPM2B_PRIVATE.unmarshal(outer.duplicate)[0]


def _seed(outer: OuterWrap) -> TPM2B_ENCRYPTED_SECRET:
    return TPM2B_ENCRYPTED_SECRET.unmarshal(outer.seed or sized(b""))[0]
