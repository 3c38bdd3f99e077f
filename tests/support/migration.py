"""One owner, one Migration Authority and its platforms: enrolled, archived, restored, all in one process.

The authority is the real one behind its port; only the line between is a function call. The owner's keys are at
hand, so that no password costs a second.
"""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple
from uuid import UUID

import pytest

from lms.adapters.tpm import TpmDevice
from lms.adapters.vault import SqlVault, open_vault
from lms.model.authorities import AuthorityIdentity, Kind, Peer
from lms.model.exchange import VerifiedRestoreRequest
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, digits
from lms.model.platform import PlatformState
from lms.model.release import EnrolmentOrder, RestorationAnswer, RestorationOrder, WithdrawalOrder
from lms.model.tpm import SealedObject
from lms.model.trust import Identity, Pair
from lms.ports import VaultKey
from lms.service.approving import approve_restore
from lms.service.archive import archive
from lms.service.enroll import enroll_authority
from lms.service.enrolment import accept_grant, request_enrolment
from lms.service.granting import grant
from lms.service.keeping import AuthoritySetting, Keeper, Limits
from lms.service.keeping.chip import ChipSetting, ChipVaultKey, chip_opener, ensure_vault, make_chip_identity
from lms.service.keeping.enrolment import (
    Opener,
    accept_authority_grant,
    authority_request_id,
    make_software_identity,
    request_authority_enrolment,
    software_opener,
)
from lms.service.keeping.software import SoftwareVaultKey
from lms.service.restore import Restored
from lms.service.restore_by_authority import AuthorityOrder, restore_by_authority
from lms.service.setting import NO_SECRET
from lms.service.withdrawing import withdraw
from lms.wire.restoration import read_restore_request
from lms.wire.token_v1 import read_sheet
from tests.support.documents import NOW, OwnerWorld, make_owner, uuid
from tests.support.keeping import station_certificate
from tests.support.platform import OWNER_AUTH, Platform, Token
from tests.support.swtpm import SoftwareTpm

ADDRESS = "https://ma.example:8443"
PLATFORM = Peer("192.0.2.7", None)


@dataclass
class Office:
    """The owner's MSA: its register, and what it decides."""

    world: OwnerWorld = field(default_factory=make_owner)
    trust_list: bytes | None = None
    sheets: dict[UUID, bytes] = field(default_factory=dict)
    now: datetime = NOW

    @property
    def token(self) -> Token:
        """What platforms need of the owner."""
        return Token(b"", self.world.owner, b"")

    def grant(self, request: bytes, request_id: bytes, **changes) -> bytes:
        """Grant an enrolment."""
        order = EnrolmentOrder(request, digits(request_id), (), True, self.trust_list, self.now)
        answer = grant(replace(order, **changes), self.world.owner, self.world.keys)
        self.trust_list = answer.trust_list
        if answer.sheet is not None:
            self.sheets[read_sheet(answer.sheet)[0].platform_id] = answer.sheet
        return answer.grant

    def approve(self, request: bytes, annex: bytes | None = None, **changes) -> bytes:
        """Approve a restore."""
        asked: VerifiedRestoreRequest = read_restore_request(request)
        assert self.trust_list is not None
        order = RestorationOrder(
            request=request,
            annex=annex,
            digits=digits(asked.request_id),
            ek_roots=(),
            vouch=True,
            trust_list=self.trust_list,
            sheet=self.sheets[asked.request.platform_id],
            supersedes=(),
            now=self.now,
            not_after=self.now + timedelta(days=7),
        )
        answer: RestorationAnswer = approve_restore(replace(order, **changes), self.world.owner, self.world.keys)
        self.trust_list = answer.trust_list
        self.sheets[asked.request.platform_id] = answer.sheet
        return answer.approval

    def withdraw(self, identity: Identity, pair: Pair | None = None) -> bytes:
        """Take an identity back, or one TPM of it; the trust list that says so."""
        assert self.trust_list is not None
        order = WithdrawalOrder(identity, pair, self.trust_list, self.now)
        self.trust_list = withdraw(order, self.world.owner, self.world.keys).trust_list
        return self.trust_list


class Line:
    """`lms.ports.RemoteAuthority` without a network between."""

    def __init__(self, authority: Authority, peer: Peer) -> None:
        self._served = authority.keeper.at(peer)
        self.leaf = authority.leaf

    def __getattr__(self, name: str):
        return getattr(self._served, name)

    def download(self, session: bytes, kind: Kind, id: str, at_most: int | None = None) -> bytes:
        return self._served.download(session, kind, id)


class Authority:
    """An MA with its own directory, serving one owner; its keys are in software."""

    def __init__(self, directory: Path, office: Office, name: str = "ma", limits: Limits | None = None) -> None:
        self.office = office
        self.identity, key, self.opens = self._made(directory, name)
        self.path = directory / f"{name}.sqlite"
        self.vault: SqlVault = open_vault(f"sqlite:///{self.path}")
        self.now = NOW
        granted = office.grant(request_authority_enrolment(self.identity, NOW), authority_request_id(self.identity))
        with self.vault.transaction() as transaction:
            kept, _ = accept_authority_grant(self.identity, self.opens, transaction, granted, office.world.owner, NOW)
        self.leaf = kept.tls_certificate
        self.setting = AuthoritySetting(
            identity=self.identity,
            vault=self.vault,
            key=key,
            leaf=lambda: self.leaf,
            now=lambda: self.now,
            monotonic=time.monotonic,
            limits=limits or Limits(),
        )
        self.keeper = Keeper(self.setting)

    def _made(self, directory: Path, name: str) -> tuple[AuthorityIdentity, VaultKey, Opener]:
        identity = make_software_identity(uuid(name), (ADDRESS,))
        assert identity.vault_key is not None
        return identity, SoftwareVaultKey(identity.vault_key), software_opener(identity)

    def copied_to(self, directory: Path) -> Authority:
        """The same authority with the same owner, as of now, on a machine of its own."""
        other = copy.copy(self)
        path = directory / self.path.name
        shutil.copy(self.path, path)
        other.path, other.vault = path, open_vault(f"sqlite:///{path}")
        other.office = replace(self.office, sheets=dict(self.office.sheets))
        other.setting = replace(self.setting, vault=other.vault, now=lambda: other.now, leaf=lambda: other.leaf)
        other.keeper = Keeper(other.setting)
        return other

    def connect(self, address: str, ma_id: UUID, owner: object, trust_list: object) -> Line:
        """What `Setting.connect` is for platforms of this world."""
        assert (address, ma_id) == (ADDRESS, self.identity.ma_id)
        return Line(self, PLATFORM)

    @property
    def station(self) -> Line:
        """The authority as the MSA's station sees it."""
        return Line(self, Peer("192.0.2.9", station_certificate(self.office.world)))

    def annex(self, request_id: bytes) -> bytes:
        """What the authority claims to hold for a request."""
        return self.station.download(b"", Kind.RESTORE_ANNEX, request_id.hex().upper())

    def packages(self, platform_id: UUID):
        """What is kept of a platform."""
        with self.vault.transaction() as transaction:
            return transaction.packages(platform_id)

    def close(self) -> None:
        """Let go of the store."""
        self.vault.close()


class ChipAuthority(Authority):
    """An MA whose vault lives in a TPM: `machine`, reached by `tpm`."""

    owns_tpm = True

    def _made(self, directory: Path, name: str) -> tuple[AuthorityIdentity, VaultKey, Opener]:
        self.machine = SoftwareTpm(directory / f"tpm-of-{name}").start()
        self.tpm = TpmDevice(self.machine.tcti)
        setting = ChipSetting(self.tpm, lambda: NOW)
        identity = make_chip_identity(setting, uuid(name), (ADDRESS,), OWNER_AUTH, unverified_tpm=True)
        ensure_vault(setting, identity, OWNER_AUTH)
        return identity, ChipVaultKey(self.tpm, identity), chip_opener(self.tpm, identity, NO_SECRET)

    def copied_to(self, directory: Path) -> Authority:
        """The same, at the same TPM, which ends with the first."""
        other = super().copied_to(directory)
        assert isinstance(other, ChipAuthority)
        other.owns_tpm = False
        return other

    def close(self) -> None:
        """Let go of the store, and end the TPM."""
        super().close()
        if self.owns_tpm:
            self.tpm.close()
            self.machine.remove()


BOTH_MODES: Final = MappingProxyType({"params": (Authority, ChipAuthority), "ids": ("software", "tpm")})
"""For `pytest.fixture`: its `request.param` makes an authority, in software and with its vault in a TPM."""
_SLOWLY: Final = pytest.param(ChipAuthority, marks=pytest.mark.slow)
BOTH_MODES_IN_TIME: Final = MappingProxyType({"params": (Authority, _SLOWLY), "ids": ("software", "tpm")})
"""The same, for what is long and much: with its vault in a TPM in `make test-slow`."""


def approve_platform(platform: Platform, office: Office, **changes) -> PlatformState:
    """The owner approves a provisioned machine."""
    request, request_id = request_enrolment(platform.setting)
    return accept_grant(platform.setting, office.grant(request, request_id, **changes), NO_SECRET)


def enrolled(platform: Platform, office: Office, authority: Authority, *, token: bool = False, **changes) -> Platform:
    """A machine that was provisioned, approved and enrolled at the authority, and has archived there.

    With `token` the owner's token has its keys, too.
    """
    platform.now, platform.connect = NOW, authority.connect
    platform.provision(office.token, offline_token=token, **changes)
    if token:
        platform.enroll()
    approve_platform(platform, office)
    enroll_authority(platform.setting, None, OWNER_AUTH)
    archive(platform.setting)
    return platform


class Archived(NamedTuple):
    """A machine that is switched off, its owner, the authority that has its keys, and what hangs below them."""

    machine: Platform
    office: Office
    authority: Authority
    child: SealedObject


@contextmanager
def archived_at(kind: type[Authority], directory: Path, *, token: bool = False) -> Iterator[Archived]:
    """A machine that has archived at an authority of this kind, and maybe for the token: for cases to copy.

    The authority is closed in the end.
    """
    office = Office()
    with closing(kind(directory, office)) as authority:
        with Platform(directory / "machine") as machine:
            enrolled(machine, office, authority, token=token)
            child = machine.seal()
        yield Archived(machine, office, authority, child)


def restore(platform: Platform, **changes) -> Restored:
    """Ask the authority, as often as you like."""
    order = AuthorityOrder(None, None, SRK_HANDLE, DRSK_HANDLE, unverified_tpm=True)
    return restore_by_authority(platform.setting, replace(order, **changes), OWNER_AUTH, NO_SECRET)
