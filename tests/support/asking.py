"""A Migration Authority and those who ask it: its owners, their platforms and strangers, all chips in software.

The keeper is the real one, its clocks are the test's. `House.asker` answers a challenge as a TPM would.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key

from lms.adapters.tpm import TpmDevice
from lms.adapters.vault import open_vault
from lms.model.authorities import AuthorityIdentity, Hello, KeptOwner, KeptPackage, KeptRelease, Kind, Peer
from lms.model.exchange import BirthEvidence, EnrolmentRequest, PlatformEnrolment, RequestBase, RestoreRequest
from lms.model.keys import digits
from lms.model.owner import RecoverySheet, SheetAuthority
from lms.model.packages import Destination, DestinationKind
from lms.model.release import RestorationOrder
from lms.model.secret import Secret
from lms.model.trust import Identity, Pair, Role, TrustedAuthority, TrustedPlatform, TrustList, Withdrawal
from lms.ports import MigrationAuthority, VaultKey
from lms.service.approving import approve_restore
from lms.service.keeping import AuthoritySetting, Keeper, Limits
from lms.service.keeping.chip import ChipSetting, ChipVaultKey, ensure_vault, make_chip_identity
from lms.service.keeping.enrolment import make_software_identity
from lms.service.keeping.software import SoftwareVaultKey
from lms.wire.authenticate import proof
from lms.wire.certificates import self_issue
from lms.wire.enrolment import enrolment_id
from lms.wire.exchange_v1 import ENROLMENT_REQUEST, RESTORE_REQUEST, TRUST_LIST
from lms.wire.restoration import read_restore_request, restore_id
from lms.wire.signature import sign
from lms.wire.tls import tls_key
from lms.wire.token_v1 import write_sheet
from lms.wire.tpm.credential import open_credential
from lms.wire.tpm.policy import duplication_select
from lms.wire.tpm.public import name_of
from tests.support.documents import (
    NOW,
    VAULT,
    OwnerWorld,
    Platform,
    SoftwareSigner,
    make_owner,
    small_package,
    uuid,
)
from tests.support.documents import Platform as Chip
from tests.support.exchange import attested
from tests.support.keeping import STATION, station_certificate
from tests.support.platform import OWNER_AUTH
from tests.support.swtpm import SoftwareTpm
from tests.support.tls import tls_certificate

ADDRESS = "192.0.2.7"
URL = "https://ma.example:8443"


@dataclass(frozen=True)
class Asker:
    """A session, or a station's connection: `token` is empty for it."""

    served: MigrationAuthority
    token: bytes

    def upload(self, document: bytes):
        return self.served.upload(self.token, document)

    def query(self):
        return self.served.query(self.token)

    def download(self, kind: Kind, id: str) -> bytes:
        return self.served.download(self.token, kind, id)

    def delete(self, id: str):
        return self.served.delete(self.token, id)


@dataclass(frozen=True)
class VaultChip:
    """A TPM with the vault of an authority in it."""

    machine: SoftwareTpm
    tpm: TpmDevice
    identity: AuthorityIdentity

    @property
    def key(self) -> ChipVaultKey:
        """The vault's key, as the authority uses it."""
        return ChipVaultKey(self.tpm, self.identity)

    @classmethod
    def made(cls, directory: Path) -> VaultChip:
        """A new one, switched on."""
        machine = SoftwareTpm(directory).start()
        setting = ChipSetting(TpmDevice(machine.tcti), lambda: NOW)
        identity = make_chip_identity(setting, uuid("ma"), (URL,), OWNER_AUTH, unverified_tpm=True)
        ensure_vault(setting, identity, OWNER_AUTH)
        return cls(machine, setting.tpm, identity)

    def close(self) -> None:
        """End it."""
        self.tpm.close()
        self.machine.remove()


@pytest.fixture(scope="session")
def vault_chip(tmp_path_factory) -> Iterator[VaultChip]:
    """One TPM for the authorities of all tests: what they keep is in their stores."""
    made = VaultChip.made(tmp_path_factory.mktemp("vault"))
    yield made
    made.close()


@pytest.fixture(scope="session", params=["software", "tpm"])
def chip_in_both_modes(request) -> VaultChip | None:
    """What a house is made with, in either mode."""
    return request.getfixturevalue("vault_chip") if request.param == "tpm" else None


class House:
    """An MA in a directory, in software or with a vault in a TPM; the first owner is the one of most tests."""

    def __init__(
        self,
        directory: Path,
        *owners: OwnerWorld,
        name: str = "ma",
        limits: Limits | None = None,
        chip: VaultChip | None = None,
    ) -> None:
        self.identity = make_software_identity(uuid(name), (URL,)) if chip is None else chip.identity
        self._chip = chip
        self.url = f"sqlite:///{directory / name}.sqlite"
        self.vault = open_vault(self.url)
        self.now, self.seconds = NOW, 0.0
        self.owners = owners or (make_owner(),)
        self.lists: dict[bytes, bytes] = {}  # by fingerprint, signed: what each owner said last
        key = load_der_private_key(self.identity.tls_key.reveal(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.tls_key = key
        self.leaf = tls_certificate(self.owners[0], Identity(Role.MIGRATION_AUTHORITY, self.identity.ma_id), key=key)
        for world in self.owners:
            self.keep(world, self._empty_list(world))
        self.limits = limits or Limits()
        self.keeper = self.begin()

    def begin(self) -> Keeper:
        """The keeper as a process that starts makes it."""
        setting = AuthoritySetting(
            identity=self.identity,
            vault=self.vault,
            key=self._vault_key(),
            leaf=lambda: self.leaf,
            now=lambda: self.now,
            monotonic=lambda: self.seconds,
            limits=self.limits,
        )
        self.keeper = Keeper(setting)
        return self.keeper

    def _vault_key(self) -> VaultKey:
        if self._chip is not None:
            return self._chip.key
        assert self.identity.vault_key is not None
        return SoftwareVaultKey(self.identity.vault_key)

    def _empty_list(self, world: OwnerWorld) -> TrustList:
        authority = TrustedAuthority(
            ma_id=self.identity.ma_id,
            addresses=self.identity.addresses,
            mode=self.identity.mode,
            combined=False,
            tls_key=tls_key(self.tls_key.public_key()),
            vault=self.identity.vault,
            approvals=(world.approve(duplication_select(name_of(self.identity.vault))),),
        )
        return TrustList(1, world.owner.fingerprint, NOW, (), (), (authority,), ())

    # --- the owners' word ---

    def list_of(self, world: OwnerWorld | None = None) -> TrustList:
        """What an owner said last."""
        trust_list, _ = TRUST_LIST.read(self.signed_list(world))
        assert isinstance(trust_list, TrustList)
        return trust_list

    def signed_list(self, world: OwnerWorld | None = None) -> bytes:
        """The same as its document."""
        return self.lists[(world or self.owners[0]).owner.fingerprint]

    def signed(self, trust_list: TrustList, world: OwnerWorld | None = None) -> bytes:
        return sign(TRUST_LIST.write(trust_list), (world or self.owners[0]).signer)

    def keep(self, world: OwnerWorld, trust_list: TrustList) -> None:
        """Put a trust list in place, as a grant does."""
        certificate = tls_certificate(world, Identity(Role.MIGRATION_AUTHORITY, self.identity.ma_id), key=self.tls_key)
        signed = self.signed(trust_list, world)
        with self.vault.transaction() as transaction:
            kept = KeptOwner(world.owner.fingerprint, world.owner.document, signed, certificate, combined=False)
            transaction.keep_owner(kept)
        self.lists[world.owner.fingerprint] = signed

    def next_list(self, world: OwnerWorld | None = None, **changes) -> TrustList:
        """The next number of an owner's list, not kept yet."""
        known = self.list_of(world)
        return replace(known, number=known.number + 1, **changes)

    def enrol(self, platform: Platform, *chips: Chip) -> Platform:
        """The owner of a platform approves it: on its own chip, or on these."""
        pairs = tuple(pair_of(chip) for chip in chips or (platform,))
        world = platform.world
        entry = TrustedPlatform(platform.id, pairs, (platform.drsk.name,))
        others = tuple(p for p in self.list_of(world).platforms if p.platform_id != platform.id)
        self.keep(world, self.next_list(world, platforms=(*others, entry)))
        return platform

    def withdraw(self, identity: Identity, world: OwnerWorld | None = None) -> None:
        """The owner withdraws an identity."""
        withdrawn = (*self.list_of(world).withdrawn, Withdrawal(identity, self.now))
        self.keep(world or self.owners[0], self.next_list(world, withdrawn=withdrawn))

    # --- who asks ---

    def asker(self, chip: Chip, platform_id: UUID | None = None, address: str = ADDRESS) -> Asker:
        """A session for a chip that speaks for a platform: for its own unless another is named."""
        served = self.keeper.at(Peer(address, None))
        who = platform_id or chip.id
        nonce = secrets.token_bytes(32)
        challenge = served.challenge(hello_of(chip, who, nonce))
        opened = answer_of(chip, challenge.credential)
        answer = proof(
            opened, self.identity.ma_id, self.leaf, nonce, challenge.server_nonce, who, chip.ek.name, chip.srk.name
        )
        return Asker(served, served.session(challenge.server_nonce, answer).token)

    def station(self, world: OwnerWorld | None = None, identity: Identity = STATION) -> Asker:
        """A connection with a station's certificate."""
        certificate = station_certificate(world or self.owners[0], identity)
        return Asker(self.keeper.at(Peer("192.0.2.9", certificate)), b"")

    def nobody(self) -> Asker:
        """A connection that shows nothing at all."""
        return Asker(self.keeper.at(Peer("192.0.2.66", None)), b"")

    # --- what they bring ---

    def package(
        self, platform: Platform, sequence: int, chip: Chip | None = None, package_id: UUID | None = None, **changes
    ) -> bytes:
        """An archive of a platform for this authority, made on a chip; `changes` go to the package."""
        chip = chip or platform
        whole = small_package(platform)
        approvals = (platform.world.approve(duplication_select(name_of(self.identity.vault))),)
        blob = platform.blob(platform.drsk, VAULT, self.identity.vault, approvals)
        source = replace(whole.header.source, ek_names=(chip.ek.name,), ak_name=chip.ak.name, parent_name=chip.srk.name)
        destination = Destination(
            VAULT, DestinationKind.MIGRATION_AUTHORITY, self.identity.destination, name_of(self.identity.vault)
        )
        header = replace(
            whole.header,
            package_id=package_id or uuid4(),
            sequence=sequence,
            source=source,
            destinations=(destination,),
        )
        (key,) = whole.migrating_keys
        changed = replace(whole, header=header, migrating_keys=(replace(key, blobs=(blob,)),), **changes)
        return platform.signed(changed, certified(platform, chip))

    def restore_request(self, platform: Platform, chip: Chip, nonce: bytes = b"sixteen of bytes") -> bytes:
        """A chip asks for a platform's keys, without a package at hand."""
        request_id = restore_id(
            *(platform.id, nonce, chip.ek.name, chip.srk.name),
            chip.ak.name,
            chip.signing_key.private.public_key(),
        )
        base = RequestBase(request_id, nonce, chip.ek.public, (), 0)
        keys = (chip.ak.public, attested(chip.srk, chip.ak), attested(chip.signing_key, chip.ak))
        request = RestoreRequest(base, platform.id, *keys, None, None, ())
        return sign(RESTORE_REQUEST.write(request), self_certified(platform, chip))

    def enrolment_request(self, chip: Chip, nonce: bytes = b"sixteen of bytes") -> bytes:
        """A chip asks to be enrolled."""
        signing_key = chip.signing_key.private.public_key()
        request_id = enrolment_id(chip.id, nonce, chip.ek.name, chip.srk.name, chip.ak.name, signing_key)
        base = RequestBase(request_id, nonce, chip.ek.public, (), 0)
        drsk = BirthEvidence(chip.drsk.public, None, None, None)
        keys = (chip.ak.public, attested(chip.srk, chip.ak), attested(chip.signing_key, chip.ak), drsk)
        request = EnrolmentRequest(base, PlatformEnrolment(chip.id, *keys), None)
        return sign(ENROLMENT_REQUEST.write(request), chip.self_issued)

    def approval(self, platform: Platform, request: bytes, annex: bytes | None = None, **changes) -> bytes:
        """The owner approves a request, by the annex of this authority unless another is given."""
        world, asked = platform.world, read_restore_request(request)
        order = RestorationOrder(
            request=request,
            annex=annex or self.annex(platform, asked.request_id),
            digits=digits(asked.request_id),
            ek_roots=(),
            vouch=True,
            trust_list=self.signed_list(world),
            sheet=self.sheet(platform),
            supersedes=(),
            now=self.now,
            not_after=self.now + timedelta(days=7),
        )
        answer = approve_restore(replace(order, **changes), world.owner, world.keys)
        self.lists[world.owner.fingerprint] = answer.trust_list
        return answer.approval

    def annex(self, platform: Platform, request_id: bytes) -> bytes:
        """What the authority claims to hold for a request."""
        return self.station(platform.world).download(Kind.RESTORE_ANNEX, request_id.hex().upper())

    def sheet(self, platform: Platform) -> bytes:
        world = platform.world
        authority = SheetAuthority(self.identity.ma_id, self.identity.addresses[0], name_of(self.identity.vault))
        value = RecoverySheet(platform.id, world.owner.document, platform.policy, (authority,), platform.drsk.public, 0)
        return sign(write_sheet(value), world.signer)

    # --- what is kept ---

    def kept(self, platform: Platform) -> tuple[KeptPackage, ...]:
        """Its packages, the highest Sequence first."""
        with self.vault.transaction() as transaction:
            kept = transaction.packages(platform.id)
        return tuple(p for p in kept if p.owner == platform.world.owner.fingerprint)

    def sequences(self, platform: Platform) -> list[int]:
        """Of its packages, the lowest first."""
        return sorted(package.sequence for package in self.kept(platform))

    def releases(self, platform: Platform) -> tuple[KeptRelease, ...]:
        """Its releases, the newest first."""
        with self.vault.transaction() as transaction:
            kept = transaction.releases(platform.id)
        return tuple(r for r in kept if r.owner == platform.world.owner.fingerprint)

    def later(self, **parts) -> datetime:
        """Let time pass."""
        self.now += timedelta(**parts)
        return self.now


def pair_of(chip: Chip) -> Pair:
    """What a platform is bound to."""
    return Pair(chip.ek.name, chip.srk.name)


def hello_of(chip: Chip, platform_id: UUID, nonce: bytes) -> Hello:
    """Authenticate, first call."""
    return Hello(platform_id, chip.ek.public, chip.srk.public, (), nonce)


def answer_of(chip: Chip, credential):
    """TPM2_ActivateCredential."""
    return Secret(open_credential(chip.ek.private, chip.ek.public, chip.srk.name, credential))


def certified(platform: Platform, chip: Chip) -> SoftwareSigner:
    """A chip's signing key, as its owner certified it for a platform."""
    key = chip.signing_key.private
    return SoftwareSigner(key, (platform.world.certificate(platform.identity, key),))


def self_certified(platform: Platform, chip: Chip) -> SoftwareSigner:
    """A chip's signing key, speaking for a platform on its own word."""
    key = chip.signing_key.private
    return SoftwareSigner(key, (self_issue(platform.identity, key, NOW),))


def id_of(request: bytes) -> str:
    """RequestID of a restore request, as it is asked for."""
    return read_restore_request(request).request_id.hex().upper()


def digest_of(document: bytes) -> bytes:
    return hashlib.sha256(document).digest()
