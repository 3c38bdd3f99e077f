"""`lms-authority serve`: puts an authority's parts together, tells systemd how it is, ends in good order (DESIGN §4).

Owners are enrolled beside it, by another process: what they granted counts from the next connections on.
"""

from __future__ import annotations

import argparse
import logging
import signal
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from threading import Event, Lock
from typing import Any, Final

from systemd.daemon import notify

from lms.adapters.store import AuthorityDirectory
from lms.assembly import utc_now
from lms.authority.keeper import authority_configuration
from lms.authority.keys import opened_keys
from lms.authority.server import AuthorityServer
from lms.authority.tls import server_context
from lms.config import AuthorityConfiguration
from lms.errors import LmsError, NobodyServed, NotInitialised
from lms.journal import begin_log
from lms.model.authorities import AuthorityIdentity, KeptOwner
from lms.ports import Vault, VaultKey
from lms.service.keeping import AuthoritySetting, Keeper, Limits
from lms.wire.anchor import read_owner

Answer = dict[str, Any]
_LOG: Final = logging.getLogger("lms-authority")
FRESH_S: Final = 5.0
_MIB: Final = 1024 * 1024


class Certificates:
    """What the server shows and whose stations it knows: as the vault has it, looked up every few seconds.

    The certificate is one owner's and stays that owner's; the platforms of others know its key by their trust lists.
    """

    def __init__(self, identity: AuthorityIdentity, vault: Vault, monotonic: Callable[[], float]) -> None:
        self._identity = identity
        self._vault = vault
        self._monotonic = monotonic
        self._lock = Lock()
        self._until = monotonic() + FRESH_S
        owners = self._owners()
        self._shown = owners[0]
        self._take(owners)

    @property
    def leaf(self) -> bytes:
        """DER of the certificate that new connections see."""
        return self._shown.tls_certificate

    def context(self) -> ssl.SSLContext:
        """For a new connection. An owner enrolled meanwhile is in it; what cannot be looked up stays as it was."""
        with self._lock:
            if self._monotonic() >= self._until:
                self._until = self._monotonic() + FRESH_S
                self._refresh()
            return self._context

    def _refresh(self) -> None:
        try:
            owners = self._owners()
        except LmsError as error:
            _LOG.warning("certificates stay as they are: %s", error)
            return
        if _certified(owners) != self._certified:
            self._take(owners)
            _LOG.info("new certificates; owners served: %d", len(owners))

    def _owners(self) -> tuple[KeptOwner, ...]:
        with self._vault.transaction() as transaction:
            owners = transaction.owners()
        if not owners:
            raise NobodyServed("cannot serve: no owner has enrolled this authority")
        return owners

    def _take(self, owners: tuple[KeptOwner, ...]) -> None:
        shown = next((owner for owner in owners if owner.fingerprint == self._shown.fingerprint), owners[0])
        cas = [read_owner(owner.document).ca_certificate for owner in owners]
        self._context = server_context(shown.tls_certificate, self._identity.tls_key, cas)
        self._shown, self._certified = shown, _certified(owners)


def _certified(owners: tuple[KeptOwner, ...]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((owner.fingerprint, owner.tls_certificate) for owner in owners)


def _identity(configuration: AuthorityConfiguration) -> AuthorityIdentity:
    identity = AuthorityDirectory(configuration.state_directory).load()
    if identity is None:
        raise NotInitialised(f"cannot serve: there is no authority in '{configuration.state_directory}'")
    return identity


def _keeper(
    configuration: AuthorityConfiguration,
    identity: AuthorityIdentity,
    vault: Vault,
    key: VaultKey,
    certificates: Certificates,
) -> Keeper:
    setting = AuthoritySetting(
        identity=identity,
        vault=vault,
        key=key,
        leaf=lambda: certificates.leaf,
        now=utc_now,
        monotonic=time.monotonic,
        limits=Limits(timedelta(days=configuration.retention_days), configuration.quota_mib * _MIB),
    )
    return Keeper(setting)


def _told(words: str) -> None:
    _LOG.info("%s", words)
    notify(f"STATUS={words}")


def serve(arguments: argparse.Namespace) -> Answer:
    """Serve until SIGTERM or SIGINT. Raises NotInitialised, NobodyServed, BadConfiguration where it cannot begin."""
    from lms.adapters.vault import open_vault  # the library of databases is large, and a station has none

    begin_log("lms-authority")
    ended = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    configuration = authority_configuration(arguments)
    identity = _identity(configuration)
    with opened_keys(configuration, identity) as keys, closing(open_vault(configuration.store_url)) as vault:
        certificates = Certificates(identity, vault, time.monotonic)
        keeper = _keeper(configuration, identity, vault, keys.vault, certificates)
        listen = (configuration.listen.host, configuration.listen.port)
        with AuthorityServer(listen, certificates.context, keeper.at) as server:
            _told(f"authority {identity.ma_id} on '{configuration.listen.host}', port {server.port}")
            notify("READY=1")
            ended.wait()
            notify("STOPPING=1")
    return {}
