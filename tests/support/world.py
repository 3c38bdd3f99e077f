"""A world of real processes on one machine: `lmsd` on a bus and a TPM, `lms-authority serve` behind TLS, an owner.

The owner's answers are made in this process, so that no password costs a second. Whoever is killed is started
again, and who asked asks on: the job that the journal has is supplied again, and one that failed with the killed
authority is asked for once more.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key

from lms.adapters.authority import AuthorityClient, ClientCertificate
from lms.adapters.store import AuthorityDirectory, JobFile
from lms.adapters.tpm import TpmDevice
from lms.adapters.vault import open_vault
from lms.errors import AuthorityBusy, AuthoritySlow, AuthorityUnreachable, BadRequest, BusRefused
from lms.link.objects import PROPERTIES
from lms.model.authorities import AuthorityIdentity, KeptPackage, KeptRelease, ListedRequest
from lms.model.jobs import JobState
from lms.model.keys import digits
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.names import APPROVAL, BUS_NAME, GRANT, OWNER, OWNER_AUTH, PASSWORD, ROOT_PATH, TOKEN, TOKEN_PASSWORD
from lms.service.keeping.chip import ChipSetting, chip_opener, ensure_vault, make_chip_identity
from lms.service.keeping.enrolment import (
    Opener,
    accept_authority_grant,
    authority_request_id,
    make_software_identity,
    request_authority_enrolment,
    software_opener,
)
from lms.service.setting import NO_SECRET
from lms.wire.enrolment import read_platform_enrolment
from lms.wire.trust_list import read_trust_list
from tests.support import documents
from tests.support.bus import PrivateBus
from tests.support.daemon import client
from tests.support.documents import signed_token, uuid
from tests.support.keeping import STATION_KEY, station_certificate
from tests.support.migration import Office
from tests.support.platform import OWNER_AUTH as AUTH
from tests.support.platform import Platform
from tests.support.program import Program
from tests.support.proxy import CuttingProxy
from tests.support.swtpm import SoftwareTpm
from tests.support.tls import pkcs8
from tests.support.victim import AUTHORITY, DAEMON, KILLED, Victims

VALUE = b"the passphrase of a volume"
# What passes when the authority is there again, where no job waits for that by itself.
_PASSING = (AuthorityUnreachable.__name__, AuthoritySlow.__name__, AuthorityBusy.__name__)


def now() -> datetime:
    """What the programs take the time to be."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Ground:
    """What all runs stand on: a bus, servers of acts, and the port of the authority."""

    bus: PrivateBus
    daemons: Victims
    authorities: Victims
    port: int

    @property
    def address(self) -> str:
        """The authority's, as its owner grants it."""
        return f"https://127.0.0.1:{self.port}"


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@dataclass(frozen=True)
class Rows:
    """What an authority's store says of one platform."""

    packages: tuple[KeptPackage, ...]
    requests: tuple[ListedRequest, ...]
    releases: tuple[KeptRelease, ...]


class House:
    """The directory of an authority; with `chip` its vault is in a TPM of its own."""

    def __init__(self, directory: Path, chip: bool) -> None:
        self.directory, self.state = directory, directory / "state"
        self.machine = SoftwareTpm(directory / "tpm") if chip else None
        self._url = f"sqlite:///{directory}/store.sqlite"

    def begin(self, office: Office, address: str) -> None:
        """Make the authority, granted by its owner."""
        identity, opens, tpm = self._made(address)
        AuthorityDirectory(self.state).save(identity)
        granted = office.grant(request_authority_enrolment(identity, office.now), authority_request_id(identity))
        with closing(open_vault(self._url)) as vault, vault.transaction() as transaction:
            accept_authority_grant(identity, opens, transaction, granted, office.world.owner, office.now)
        if tpm is not None:
            tpm.close()

    def _made(self, address: str) -> tuple[AuthorityIdentity, Opener, TpmDevice | None]:
        if self.machine is None:
            identity = make_software_identity(uuid("ma"), (address,))
            return identity, software_opener(identity), None
        tpm = TpmDevice(self.machine.tcti)
        setting = ChipSetting(tpm, now)
        identity = make_chip_identity(setting, uuid("ma"), (address,), AUTH, unverified_tpm=True)
        ensure_vault(setting, identity, AUTH)
        return identity, chip_opener(tpm, identity, NO_SECRET), tpm

    def configure(self, port: int, tcti: str | None) -> Path:
        """Write `lms.toml`."""
        values = {"state_directory": self.state, "store": self._url, "listen": f"127.0.0.1:{port}"}
        values |= {} if tcti is None else {"tcti": tcti}
        path = self.directory / "lms.toml"
        path.write_text("[authority]\n" + "".join(f'{key} = "{value}"\n' for key, value in values.items()))
        (self.directory / "words").write_text('["serve"]')
        return path

    @property
    def tls(self) -> tuple[ec.EllipticCurvePrivateKey, bytes]:
        """Its key for TLS, which signs what it releases, and the certificate (DER) that its owner issued."""
        key = load_der_private_key(AuthorityDirectory(self.state).load().tls_key.reveal(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        with closing(open_vault(self._url)) as vault, vault.transaction() as transaction:
            (owner,) = transaction.owners()
        return key, owner.tls_certificate

    def rows(self, platform: Platform, owner: bytes) -> Rows:
        """What it keeps of a platform and of its owner's queue."""
        platform_id = platform.state.platform_id
        with closing(open_vault(self._url)) as vault, vault.transaction() as transaction:
            return Rows(
                transaction.packages(platform_id), transaction.requests(owner), transaction.releases(platform_id)
            )


class World:
    """One run: a machine, an authority and their owner below `directory`; parts can be copied from another one."""

    def __init__(
        self, ground: Ground, directory: Path, *, of: World | None = None, new_tpm: bool = False, chip: bool = False
    ) -> None:
        self._ground, self._of = ground, of
        self.kills = 0  # how often a program was killed
        self._away: set[Program] = set()
        self.directory = directory
        self.configured: dict[str, str] = {}  # more of `lms.toml` of the machine
        self.lost_its_key = False  # evicted, and no blob of it is here
        self.office = Office(now=now()) if of is None else replace(of.office, sheets=dict(of.office.sheets))
        if of is not None:
            shutil.copytree(of.directory / "house", directory / "house", ignore=shutil.ignore_patterns("log", ".lock"))
            chip = of.house.machine is not None
        self.child: SealedObject | None = None if of is None else of.child
        before = None if of is None else of.directory / "machine"
        self.platform = Platform(directory / "machine", disk_of=before, tpm_of=None if new_tpm else before)
        self.house = House(directory / "house", chip)

    @property
    def port(self) -> int:
        """Of the authority's address."""
        return self._ground.port

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.enter_context(self.platform)
            if self.lost_its_key:
                self.platform.evict()
                self.platform.lose_blob()
                self.platform.let_go()
            if self.house.machine is not None:
                stack.callback(self.house.machine.remove)
                self.house.machine.start()
            if self._of is None:
                self.house.begin(self.office, self._ground.address)
            self.daemon, self.tpm = self._lmsd(stack)
            self.authority, self.vault_tpm = self._serve(stack)
            for program in (self.authority, self.daemon):
                program.start()
            self.us = await stack.enter_async_context(client(self._ground.bus.address))
            self._begin_watch()
            self._running = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()
        await self._running.aclose()

    async def end(self) -> None:
        """End the programs in good order; the TPMs go on."""
        await self._end_watch()
        for program in (self.daemon, self.authority):
            self.kills += program.stop() == KILLED

    @property
    def address(self) -> str:
        """The authority's."""
        return self._ground.address

    def bring(self, approval: bytes) -> None:
        """The owner's station hands an approval to the authority."""
        owner, certificate = self.office.world, station_certificate(self.office.world)
        assert self.office.trust_list is not None
        listed = read_trust_list(self.office.trust_list, owner.owner)
        station = ClientCertificate(certificate, Secret(pkcs8(STATION_KEY)))
        with closing(AuthorityClient(self.address, uuid("ma"), owner.owner, listed, station=station)) as line:
            line.upload(b"", approval)

    async def cut_power(self) -> None:
        """Everything is killed, the TPMs lose their power, and everything starts again."""
        await self._end_watch()
        for program in (self.daemon, self.authority):
            program.kill()
            await program.killed()
        for machine in (self.platform.machine, self.house.machine):
            if machine is not None:
                machine.stop(signal.SIGKILL)
                machine.start()
        for program in (self.authority, self.daemon):
            program.start()
        self._begin_watch()

    @asynccontextmanager
    async def away(self, *programs: Program) -> AsyncIterator[None]:
        """These programs are ended in good order, and started again afterwards."""
        await self._end_watch()
        for program in programs:
            program.stop()
        self._away |= {*programs}
        self._begin_watch()
        try:
            yield
        finally:
            await self._end_watch()
            for program in programs:
                program.start()
            self._away -= {*programs}
            self._begin_watch()

    def _lmsd(self, stack: AsyncExitStack) -> tuple[Program, CuttingProxy]:
        proxy = CuttingProxy(self.platform.machine.path, lambda: self.daemon.kill())
        stack.enter_context(proxy)
        recovery = f'"{self.platform.directory / "boot"}"'
        config = self.platform.write_config(
            proxy.tcti, bus=f'"{self._ground.bus.address}"', recovery_directory=recovery, **self.configured
        )
        program = Program(self._ground.daemons, DAEMON, config, {})
        stack.callback(program.remove)
        return program, proxy

    def _serve(self, stack: AsyncExitStack) -> tuple[Program, CuttingProxy | None]:
        proxy = None
        if self.house.machine is not None:
            proxy = CuttingProxy(self.house.machine.path, lambda: self.authority.kill())
            stack.enter_context(proxy)
        config = self.house.configure(self._ground.port, None if proxy is None else proxy.tcti)
        program = Program(self._ground.authorities, AUTHORITY, config, {"words": self.house.directory / "words"})
        stack.callback(program.remove)
        return program, proxy

    # --- who is killed is started again ---

    async def _watch(self, program: Program) -> None:
        while True:
            await program.killed()
            self.kills += 1
            program.start()

    def _begin_watch(self) -> None:
        here = {self.daemon, self.authority} - self._away
        self._watchers = [asyncio.create_task(self._watch(program)) for program in here]

    async def _end_watch(self) -> None:
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)

    async def _unless_killed(self, act: Awaitable[Any]) -> Any:
        """The result of `act`, or None where `lmsd` was killed meanwhile."""
        task = asyncio.ensure_future(act)
        killed = asyncio.create_task(self.daemon.killed())
        try:
            await asyncio.wait((task, killed), return_when=asyncio.FIRST_COMPLETED)
            if not killed.done() and isinstance(task.exception(), BusRefused):
                await killed  # the bus knew it first
            return None if killed.done() else task.result()
        finally:
            for one in (task, killed):
                one.cancel()
            await asyncio.gather(task, killed, return_exceptions=True)

    # --- acts ---

    async def act(
        self, member: str, options: Mapping[str, Any] = MappingProxyType({}), **secrets: bytes
    ) -> dict[str, Any]:
        """Run a verb to its end, whoever is killed on the way; its answer."""
        given = {word.replace("_", "-"): content for word, content in secrets.items()}
        first = self._journal().next_number
        while True:
            end = await self._unless_killed(self._job(member, options, given, first))
            if end is None:
                continue
            if end["Result"] == "done":
                answer: dict[str, Any] = end["Answer"]
                return answer
            assert self.kills, end["Message"]
            assert end["Error"] in _PASSING, end["Message"]
            first = end["Id"] + 1

    def _journal(self):
        return JobFile(self.platform.state_directory).load()

    async def _job(self, member: str, options: Mapping[str, Any], given: Mapping[str, bytes], first: int):
        ours = [r.job for r in self._journal().records if r.job.number >= first]
        if ours:
            return await self.follow(f"{ROOT_PATH}/job/{ours[-1].number}", given)
        _, path = await self.us.verb(member, options, given)
        return await self.follow(path, given)

    async def follow(self, path: str, given: Mapping[str, bytes]) -> dict[str, Any]:
        """Supply a job whatever it waits for; its properties when it is finished."""
        async with self.us.connection.listening(BUS_NAME, interface=PROPERTIES, path=path) as changes:
            job = await self.us.job(path)
            while job["State"] != JobState.FINISHED.value:
                for word in job["Waiting"]:
                    with suppress(BadRequest):  # it was supplied meanwhile
                        await self.us.supply(path, word, given.get(word) or await self._answer(path, word))
                job |= (await changes.get()).body[1]
            return job

    async def _answer(self, path: str, word: str) -> bytes:
        """The owner approves what the job shows."""
        assert word == APPROVAL
        return self.office.approve(await self.us.collect(path, APPROVAL))

    # What each act of this world is; their names are those of the tests.

    async def provision(self) -> None:
        options = {"fingerprint": self.office.token.fingerprint, "offline-token": True, "unverified-tpm": True}
        secrets = {OWNER: self.office.world.owner.document, OWNER_AUTH: AUTH.reveal()}
        await self.act("Provision", options, **secrets)

    async def certify(self) -> None:
        """Ask the owner, and take the grant."""
        asked = await self.act("Enroll", {"destination": "msa"})
        request = base64.b64decode(asked["document"])
        request_id = read_platform_enrolment(request).request_id
        assert digits(request_id) == asked["request"]
        await self.act("Enroll", {"destination": "msa"}, **{GRANT: self.office.grant(request, request_id)})

    async def enroll_token(self) -> None:
        await self.act("Enroll", {"destination": "token"}, **{OWNER_AUTH: AUTH.reveal()})

    async def enroll_authority(self) -> None:
        await self.act("Enroll", {"destination": "ma"}, **{OWNER_AUTH: AUTH.reveal()})

    async def register(self) -> None:
        await self.act("Register", {"application": "luks", "label": "disk"}, **{PASSWORD: VALUE})

    async def archive(self) -> None:
        await self.act("Archive")

    async def restore_by_token(self) -> None:
        secrets = {TOKEN: signed_token(self.office.world), TOKEN_PASSWORD: documents.PASSWORD.reveal()}
        await self.act("Restore", {"unverified-tpm": True}, **secrets, **{OWNER_AUTH: AUTH.reveal()})

    async def restore_by_authority(self) -> None:
        await self.act("Restore", {"unverified-tpm": True}, **{OWNER_AUTH: AUTH.reveal()})

    async def put_back(self) -> None:
        await self.act("Restore", **{OWNER_AUTH: AUTH.reveal()})
