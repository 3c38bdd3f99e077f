"""Platforms for tests: a software TPM, a disk and an archive share, driven by the service or by `lmsctl`.

Nothing of ours is replaced: TPM, files and the process that opens tokens are real. Only the clock is a value.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography import x509

from lms.adapters.opener import OpenerProcess
from lms.adapters.store import ArchiveDirectory, StateDirectory
from lms.adapters.tpm import TpmDevice
from lms.errors import AuthorityUnreachable
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, Algorithm, digits
from lms.model.owner import Owner
from lms.model.platform import PlatformState
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.model.trust import TrustList
from lms.ports import RemoteAuthority, TokenOpener
from lms.process import run_program
from lms.service.archive import archive
from lms.service.enroll import enroll_token
from lms.service.provision import Provisioning, provision
from lms.service.restore import Restored, RestoreOrder, restore_by_token
from lms.service.setting import NO_SECRET, Setting
from lms.wire.anchor import read_owned_token
from lms.wire.package_v1 import read_package
from lms.wire.tpm.public import Attributes, name_of, sealed_template
from tests.support.opening import OpenedHere
from tests.support.swtpm import SoftwareTpm

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
PASSWORD = b"correct horse battery staple"
OWNER_AUTH = Secret(b"the owner's authorisation")
PRECIOUS = Secret(b"the key of a volume")
_SEALED = sealed_template(Attributes.NO_DA | Attributes.USER_WITH_AUTH)


@dataclass(frozen=True)
class Token:
    """An Emergency Recovery Token and what its owner remembers."""

    document: bytes
    owner: Owner
    password: bytes

    @property
    def fingerprint(self) -> str:
        """As it was written down."""
        return digits(self.owner.fingerprint)


def make_token(password: bytes = PASSWORD) -> Token:
    """A token of a new owner, by the real opener: the password costs a second."""
    made = (NOW - timedelta(days=30)).isoformat().encode()
    document = run_program("lms.opener", ["create"], {"token-password": password, "request": made})
    return Token(document, read_owned_token(document)[1], password)


def no_authority(address: str, ma_id: UUID, owner: Owner, trust_list: TrustList | None) -> RemoteAuthority:
    """For machines without a network."""
    raise AuthorityUnreachable(f"cannot reach authority {ma_id} at '{address}'")


class Platform:
    """One machine below `directory`; parts of it can be copied from a machine that is switched off."""

    def __init__(self, directory: Path, *, disk_of: Path | None = None, tpm_of: Path | None = None) -> None:
        self.directory = directory
        self.state_directory = directory / "state"
        self.archive_directory = directory / "archive"
        for part, source in (("state", disk_of), ("archive", disk_of), ("tpm", tpm_of)):
            if source is not None:
                shutil.copytree(source / part, directory / part, ignore=shutil.ignore_patterns(".lock", "log"))
        self.state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.archive_directory.mkdir(exist_ok=True)
        self.machine = SoftwareTpm(directory / "tpm")
        self.store = StateDirectory(self.state_directory)
        self.now = NOW
        self.ek_roots: tuple[x509.Certificate, ...] = ()
        self.ek_intermediates: tuple[x509.Certificate, ...] = ()
        self.connect: Callable[[str, UUID, Owner, TrustList | None], RemoteAuthority] = no_authority
        self.opener = OpenerProcess
        self._tpm: TpmDevice | None = None

    def __enter__(self) -> Platform:
        self.machine.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
        self.machine.stop()
        self.machine.remove()

    @property
    def tpm(self) -> TpmDevice:
        """The TPM, as the service uses it."""
        if self._tpm is None:
            self._tpm = TpmDevice(self.machine.tcti)
        return self._tpm

    def let_go(self) -> None:
        """Leave the TPM to another process."""
        if self._tpm is not None:
            self._tpm.close()
            self._tpm = None

    @property
    def setting(self) -> Setting:
        """What use cases stand on."""
        return Setting(
            tpm=self.tpm,
            store=self.store,
            archives=(ArchiveDirectory(self.archive_directory),),
            now=lambda: self.now,
            host_name="testhost",
            opener=self.opener,
            connect=self.connect,
            ek_roots=self.ek_roots,
            ek_intermediates=self.ek_intermediates,
        )

    @property
    def state(self) -> PlatformState:
        """What is on disk."""
        state = self.store.load()
        assert state is not None
        return state

    @property
    def packages(self) -> list[Path]:
        """All packages in the archive, the oldest first."""
        return sorted(self.archive_directory.glob("*/*.xml"))

    def provision(self, token: Token, owner_auth: Secret = OWNER_AUTH, **changes) -> tuple[PlatformState, bool]:
        """Provision for the token's owner, with an offline branch."""
        order = Provisioning(
            owner_document=token.owner.document,
            fingerprint=token.fingerprint,
            offline_token=True,
            algorithm=Algorithm.ECC_P256,
            srk_handle=SRK_HANDLE,
            drsk_handle=DRSK_HANDLE,
            new_platform_id=uuid4(),
            unverified_tpm=True,
        )
        return provision(self.setting, replace(order, **changes), owner_auth)

    def enroll(self, owner_auth: Secret = OWNER_AUTH) -> tuple[PlatformState, bool]:
        """Enroll the token."""
        return enroll_token(self.setting, owner_auth)

    def archive(self) -> PlatformState:
        """Make a package."""
        return archive(self.setting)

    def restore(
        self,
        token: Token,
        package: bytes,
        password: bytes | None = None,
        owner_auth: Secret = OWNER_AUTH,
        opener: Callable[[bytes, Secret], TokenOpener] = OpenedHere,
        **changes,
    ) -> Restored:
        """Restore with the token; `changes` go to the order."""
        order = RestoreOrder(package, token.owner, SRK_HANDLE, DRSK_HANDLE, unverified_tpm=True)
        opened = opener(token.document, Secret(password or token.password))
        return restore_by_token(self.setting, opened, replace(order, **changes), owner_auth, NO_SECRET)

    def seal(self) -> SealedObject:
        """What an application keeps below the DRSK."""
        return self.tpm.create(DRSK_HANDLE, _SEALED, auth=NO_SECRET, data=PRECIOUS)

    def unseal(self, child: SealedObject) -> Secret:
        """What the application gets. Raises KeyNotFound, BlobRefused."""
        self.tpm.trust_salt(name_of(self.tpm.endorsement_keys()[0].public))
        return self.tpm.unseal(DRSK_HANDLE, child, auth=NO_SECRET)

    def key_at(self, handle: int = DRSK_HANDLE) -> bytes | None:
        """Name of the key at a handle."""
        public = self.tpm.read_public(handle)
        return None if public is None else name_of(public)

    def evict(self, handle: int = DRSK_HANDLE) -> None:
        """Take the key from its handle, as another administrator may."""
        self.tpm.trust_salt(name_of(self.tpm.endorsement_keys()[0].public))
        self.tpm.evict(handle, OWNER_AUTH)

    def set_owner_auth(self) -> None:
        """The owner authorisation of a TPM that has none."""
        self.tpm.trust_salt(name_of(self.tpm.endorsement_keys()[0].public))
        self.tpm.set_owner_auth(NO_SECRET, OWNER_AUTH)

    def lose_blob(self, private: bytes = b"") -> None:
        """As it is of an adopted key, whose blob never was here; or put another one into its place."""
        drsk = self.state.require_drsk()
        self.store.save(replace(self.state, drsk=replace(drsk, key=replace(drsk.key, private=private))))

    def clear(self) -> None:
        """TPM2_Clear, as the firmware does it."""
        self.let_go()
        command = ["tpm2_clear", "-T", self.machine.tcti, "-c", "p"]
        subprocess.run(command, check=True, capture_output=True)

    def place_foreign_key(self, handle: int = DRSK_HANDLE) -> bytes:
        """Another program's key at a handle; its Name."""
        state = self.store.load()
        parent = SRK_HANDLE if state is None else state.srk_handle
        self.tpm.trust_salt(name_of(self.tpm.endorsement_keys()[0].public))
        if not self.tpm.owner_auth_is_set():
            self.tpm.set_owner_auth(NO_SECRET, OWNER_AUTH)
        self.tpm.ensure_srk(parent, Algorithm.ECC_P256, OWNER_AUTH)
        key = self.tpm.create(parent, _SEALED, auth=NO_SECRET, data=PRECIOUS)
        self.tpm.persist(parent, key, handle, OWNER_AUTH)
        return name_of(key.public)

    def place_foreign_srk(self) -> bytes:
        """Another storage key at the handle of the SRK; its Name."""
        self.tpm.trust_salt(name_of(self.tpm.endorsement_keys()[0].public))
        if not self.tpm.owner_auth_is_set():
            self.tpm.set_owner_auth(NO_SECRET, OWNER_AUTH)
        return name_of(self.tpm.ensure_srk(SRK_HANDLE, Algorithm.RSA_2048, OWNER_AUTH))

    def write_config(self, tcti: str | None = None, **more: str) -> Path:
        """`lms.toml` of this machine."""
        values = {
            "tcti": f'"{tcti or self.machine.tcti}"',
            "state_directory": f'"{self.state_directory}"',
            "archives": f'["{self.archive_directory}"]',
            "applications_directory": f'"{self.directory}/applications"',
            "bus": f'"unix:path={self.directory}/bus"',  # that of the machine is nothing to a test
            "restore_unasked": "false",  # tests ask; those of unasked ones say so
        } | more
        path = self.directory / "lms.toml"
        path.write_text("".join(f"{key} = {value}\n" for key, value in values.items()))
        return path


def platform_of(package: bytes) -> UUID:
    """Whose package it says it is."""
    return read_package(package).content.header.source.platform_id


@dataclass(frozen=True)
class Said:
    """What a run of `lmsctl` said."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict:
        """The answer or the error of `--json`."""
        assert self.stdout, f"ended with {self.exit_code} and said nothing but: {self.stderr}"
        return json.loads(self.stdout)


def lmsctl(*arguments: object, config: Path | None = None, as_json: bool = True, stdin: bytes | None = None) -> Said:
    """Run `lmsctl` as a person's shell would."""
    front = ([] if config is None else ["--config", str(config)]) + (["--json"] if as_json else [])
    command = [sys.executable, "-m", "lms.cli.main", *front, *map(str, arguments)]
    given = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    done = subprocess.run(command, capture_output=True, check=False, **given)
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


# Fixtures: `tests/conftest.py` has them for all.


@pytest.fixture(scope="session")
def token() -> Token:
    """The owner's token."""
    return make_token()


@pytest.fixture(scope="session")
def stranger() -> Token:
    """Another owner's token."""
    return make_token(b"another password altogether")


@pytest.fixture(scope="session")
def provisioned_machine(token, tmp_path_factory) -> Path:
    """A provisioned machine, switched off: copy it."""
    directory = tmp_path_factory.mktemp("provisioned")
    with Platform(directory) as platform:
        platform.provision(token)
    return directory


@pytest.fixture(scope="session")
def archived_machine(provisioned_machine, tmp_path_factory) -> Path:
    """The same machine when the token was enrolled and one package made; `child.pub` and `.priv` hang below."""
    directory = tmp_path_factory.mktemp("archived")
    with Platform(directory, disk_of=provisioned_machine, tpm_of=provisioned_machine) as platform:
        platform.enroll()
        platform.archive()
        child = platform.seal()
    (directory / "child.pub").write_bytes(child.public)
    (directory / "child.priv").write_bytes(child.private)
    return directory


@pytest.fixture
def machines(tmp_path):
    """Makes running machines that end with the test: `machines(disk_of=…, tpm_of=…)`."""
    running = []

    def make(**parts) -> Platform:
        platform = Platform(tmp_path / f"machine{len(running)}", **parts)
        running.append(platform)
        return platform.__enter__()

    yield make
    for platform in running:
        platform.__exit__()


@pytest.fixture
def platform(machines) -> Platform:
    """A new machine."""
    return machines()


@pytest.fixture
def provisioned(machines, provisioned_machine) -> Platform:
    """A machine that was provisioned."""
    return machines(disk_of=provisioned_machine, tpm_of=provisioned_machine)


@pytest.fixture
def archived(machines, archived_machine) -> Platform:
    """A machine that was provisioned, with the token enrolled and one package made."""
    return machines(disk_of=archived_machine, tpm_of=archived_machine)


@pytest.fixture
def child(archived_machine) -> SealedObject:
    """What an application sealed below the DRSK of the archived machine."""
    return SealedObject((archived_machine / "child.pub").read_bytes(), (archived_machine / "child.priv").read_bytes())


@pytest.fixture
def package(archived_machine) -> bytes:
    """The package of the archived machine."""
    (path,) = (archived_machine / "archive").glob("*/*.xml")
    return path.read_bytes()
