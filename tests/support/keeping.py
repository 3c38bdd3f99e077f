"""A real Migration Authority for tests: a vault, SQLite, an owner with a station, and one platform."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key

from lms.adapters.store import AuthorityDirectory
from lms.adapters.vault import SqlVault, open_vault
from lms.model.authorities import AuthorityIdentity, KeptOwner
from lms.model.secret import Secret
from lms.model.trust import Identity, Role
from lms.ports import VaultKey
from lms.service.keeping import AuthoritySetting, Keeper
from lms.service.keeping.enrolment import make_software_identity
from lms.service.keeping.software import SoftwareVaultKey
from tests.support.documents import NOW, OwnerWorld, make_owner, private_key, uuid
from tests.support.exchange import signed_trust_list
from tests.support.tls import CLIENT, MA, tls_certificate

STATION = Identity(Role.STATION, uuid("station"))
STATION_KEY = private_key("station")


@dataclass(frozen=True)
class Authority:
    """The authority, and what its server needs."""

    keeper: Keeper
    identity: AuthorityIdentity
    store: SqlVault
    world: OwnerWorld
    leaf: bytes

    @property
    def tls_key(self) -> Secret:
        return self.identity.tls_key


def station_certificate(world: OwnerWorld | None = None, identity: Identity = STATION) -> bytes:
    """DER of a station's certificate by this owner."""
    return tls_certificate(world or make_owner(), identity, key=STATION_KEY, usages=(CLIENT,))


def in_software() -> tuple[AuthorityIdentity, VaultKey]:
    """A new authority's identity, and the key of its vault."""
    identity = make_software_identity(uuid("ma"), ("https://ma.example:8443",))
    assert identity.vault_key is not None
    return identity, SoftwareVaultKey(identity.vault_key)


def make_authority(directory: Path, keys: tuple[AuthorityIdentity, VaultKey] | None = None) -> Authority:
    """An authority in an empty directory, serving the one owner of the tests; its keys are in software, or these."""
    world = make_owner()
    identity, vault_key = keys or in_software()
    key = load_der_private_key(identity.tls_key.reveal(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    leaf = tls_certificate(world, MA, key=key)
    AuthorityDirectory(directory).save(identity)
    store = open_vault(f"sqlite:///{directory / 'vault.sqlite'}")
    with store.transaction() as transaction:
        transaction.keep_owner(
            KeptOwner(world.owner.fingerprint, world.owner.document, signed_trust_list(), leaf, combined=False)
        )
    setting = AuthoritySetting(identity, store, vault_key, lambda: leaf, lambda: NOW, time.monotonic)
    return Authority(Keeper(setting), identity, store, world, leaf)
