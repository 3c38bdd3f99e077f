"""A line to a Migration Authority: authenticated by this TPM, the newest trust list at both ends (PROTOCOL §5, §7)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar
from uuid import UUID

from lms.errors import AuthorityFailed, AuthorityUnreachable, LmsError, NotProvisioned, SessionExpired
from lms.model.authorities import Hello, Inventory, Kind, ListedPackage, Receipt, Session
from lms.model.owner import Owner
from lms.model.platform import PlatformState
from lms.model.secret import Secret
from lms.model.trust import TrustedAuthority, TrustList
from lms.ports import EndorsementKey, RemoteAuthority
from lms.service.enroll import trust_list_of
from lms.service.setting import Setting
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.anchor import read_owner
from lms.wire.authenticate import NONCE_SIZE, proof
from lms.wire.tpm.public import name_of
from lms.wire.trust_list import newer

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Chip:
    """The TPM that asks: its EK, and the SRK that lives at a handle."""

    ek: EndorsementKey
    srk: bytes
    srk_handle: int


class Line:
    """A session with an authority; `trust_list` is the newest that it gave us, None where it does not know us.

    An authority that was restarted, or waited too long for us, knows no session: each call makes a new one, once, and
    is repeated. Nothing here does more when it is done twice: the same bytes are uploaded only once. Each raises
    SessionExpired where the new session is none either, and the errors of `open_line`.
    """

    def __init__(self, remote: RemoteAuthority, authenticate: Callable[[RemoteAuthority], Session]) -> None:
        self._remote = remote
        self._authenticate = authenticate
        session = authenticate(remote)
        self._token = session.token
        self.trust_list = session.trust_list

    def upload(self, document: bytes) -> Receipt:
        """Hand a document over."""
        return self._ask(lambda token: self._remote.upload(token, document))

    def inventory(self) -> Inventory:
        """What this platform has there."""
        return self._ask(self._remote.query)

    def newest(self) -> ListedPackage | None:
        """What the authority says is this platform's package with the highest Sequence there."""
        return max(self.inventory().packages, key=lambda p: p.sequence, default=None)

    def download(self, kind: Kind, id: str, at_most: int | None = None) -> bytes:
        """Fetch a document, of so many bytes. Raises AuthorityFailed where it is longer."""
        return self._ask(lambda token: self._remote.download(token, kind, id, at_most))

    def _ask(self, call: Callable[[bytes], _Answer]) -> _Answer:
        try:
            return call(self._token)
        except SessionExpired:
            self._token = self._authenticate(self._remote).token
            return call(self._token)


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A Migration Authority as it is looked for: its addresses are tried in their order."""

    ma_id: UUID
    addresses: tuple[str, ...]
    owner: Owner
    trust_list: TrustList | None


def open_line(
    setting: Setting, authority: Whereabouts, platform_id: UUID, chip: Chip, endorsement_auth: Secret
) -> Line:
    """Authenticate. Raises NotAuthenticated, the errors of the connection and of the TPM."""
    refusal: LmsError = AuthorityUnreachable(f"cannot reach authority {authority.ma_id}: it has no address")
    for address in authority.addresses:
        try:
            remote = setting.connect(address, authority.ma_id, authority.owner, authority.trust_list)
            return Line(remote, partial(_authenticated, setting, authority.ma_id, platform_id, chip, endorsement_auth))
        except AuthorityUnreachable as error:
            refusal = error
    raise refusal


def _authenticated(
    setting: Setting, ma_id: UUID, platform_id: UUID, chip: Chip, endorsement_auth: Secret, remote: RemoteAuthority
) -> Session:
    nonce = secrets.token_bytes(NONCE_SIZE)
    certificates = () if chip.ek.certificate is None else (chip.ek.certificate,)
    challenge = remote.challenge(Hello(platform_id, chip.ek.public, chip.srk, certificates, nonce))
    ek_name, srk_name = name_of(chip.ek.public), name_of(chip.srk)
    secret = setting.tpm.activate(ek_name, chip.srk_handle, challenge.credential, endorsement_auth)
    answer = proof(secret, ma_id, remote.leaf, nonce, challenge.server_nonce, platform_id, ek_name, srk_name)
    return remote.session(challenge.server_nonce, answer)


def chip_of(setting: Setting, state: PlatformState) -> Chip:
    """The chip that a state records. Raises NotProvisioned where the TPM is another one."""
    ek = next((k for k in setting.tpm.endorsement_keys() if name_of(k.public) == state.ek_name), None)
    srk = setting.tpm.read_public(state.srk_handle)
    if ek is None or srk is None or name_of(srk) != state.srk_name:
        raise NotProvisioned("cannot do this: the TPM is not the one that this platform was provisioned with")
    return Chip(ek, srk, state.srk_handle)


def line_of(
    setting: Setting, state: PlatformState, authority: TrustedAuthority, endorsement_auth: Secret
) -> tuple[PlatformState, Line]:
    """An enrolled platform's line; both ends have the newer of their two trust lists afterwards.

    Raises the errors of `open_line` and of `newer`.
    """
    owner = read_owner(state.owner_document)
    where = Whereabouts(authority.ma_id, authority.addresses, owner, trust_list_of(state))
    line = open_line(setting, where, state.platform_id, chip_of(setting, state), endorsement_auth)
    newest = _newest(state.trust_list, line.trust_list, owner)
    if newest is not None and newest != line.trust_list:
        line.upload(newest)
    if newest != state.trust_list:
        state = replace(state, trust_list=newest)
        setting.store.save(state)
    return state, line


def _newest(known: bytes | None, offered: bytes | None, owner: Owner) -> bytes | None:
    return known if offered is None else newer(known, offered, owner)


def deposit(line: Line, package_id: UUID, document: bytes) -> None:
    """Upload a package and read it back. Raises AuthorityFailed where what comes back differs."""
    receipt = line.upload(document)
    kept = line.download(Kind.PACKAGE, str(package_id), len(document))
    if (receipt.digest, kept) != (hashlib.sha256(document).digest(), document):
        raise AuthorityFailed(f"cannot rely on the authority: it gave another package back than {package_id}")


def shown_sequence(line: Line, known: int, trust: PackageTrust) -> int:
    """The highest Sequence that is known here, or that the authority can show the package of.

    A mere number would put every later package out of reach of the other authorities, and make every one that they
    release stale. Raises AuthorityFailed and the errors of acceptance where there is no such package.
    """
    newest = line.newest()
    if newest is None or newest.sequence <= known:
        return known
    package = accept_package(line.download(Kind.PACKAGE, str(newest.package_id)), trust)
    if package.content.header.sequence != newest.sequence:
        raise AuthorityFailed(f"cannot rely on the authority: it has no package of Sequence {newest.sequence}")
    return newest.sequence
