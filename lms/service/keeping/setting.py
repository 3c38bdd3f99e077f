"""What a Migration Authority stands on: its identity, its store, its vault key, its time and its limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lms.model.authorities import AuthorityIdentity, KeptOwner
from lms.ports import Vault, VaultKey
from lms.wire.certificates import OwnerSigner
from lms.wire.private_keys import read_private_key

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an MA keeps: of each platform packages and `quota` bytes, requests that wait by address and in total."""

    retention: timedelta = timedelta(days=90)
    quota: int = 1024 * _MIB
    packages: int = 1000
    requests_per_address: int = 20
    requests: int = 1000
    max_document: int = 64 * _MIB


@dataclass(frozen=True, slots=True)
class AuthoritySetting:
    """Where an MA acts. `leaf` gives the DER certificate that its server shows, `monotonic` seconds."""

    identity: AuthorityIdentity
    vault: Vault
    key: VaultKey
    leaf: Callable[[], bytes]
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    limits: Limits = field(default_factory=Limits)

    def signer(self, owner: KeptOwner) -> OwnerSigner:
        """The TLS key, under the certificate that this owner's MSA issued: signs annexes and releases."""
        return OwnerSigner(read_private_key(self.identity.tls_key), owner.tls_certificate)
