"""What goes wrong in a world, brought about with the real thing: a TPM, a disk, a clock, an authority, a document.

Each trouble is entered with a `Scene` and is over when it is left; what it leaves to be cleared away by the owner
himself stands in `rightly` of the scene.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tpm2_pytss.constants import ESYS_TR

from lms.adapters.authority import AuthorityClient
from lms.errors import ApprovalPending, AuthFailed, AuthorityUnreachable, NvFull, TpmLockedOut
from lms.model.authorities import Kind
from lms.model.keys import SRK_HANDLE, Algorithm
from lms.model.secret import Secret
from lms.service.setting import NO_SECRET
from lms.wire.certificates import OwnerSigner
from lms.wire.exchange_v1 import RELEASED_PACKAGE
from lms.wire.reply import read_reply
from lms.wire.service_v1 import OPERATIONS, DownloadAnswer
from lms.wire.signature import sign
from lms.wire.tpm.public import Attributes, sealed_template, srk_template
from tests.adapters.tpm.bench import plain_esapi
from tests.support import migration
from tests.support.documents import OwnerWorld, make_owner, private_key
from tests.support.hostile import HostileServer, Line, Script, answer, say
from tests.support.platform import OWNER_AUTH, Platform
from tests.support.serving import enrolled
from tests.support.tls import MA, tls_certificate
from tests.support.tls_client import secured
from tests.support.victim import DAEMON, IMPATIENT
from tests.support.world import World, free_port, now

_FILLED = range(0x81000100, 0x81000180)
_RELAY = private_key("relay")


@dataclass
class Scene:
    """A world, a directory for what is written, and what a trouble has to tell its row."""

    world: World
    directory: Path
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def platform(self) -> Platform:
        """The machine."""
        return self.world.platform

    @property
    def config(self) -> Path:
        """Its configuration."""
        return self.platform.directory / "lms.toml"


Trouble = Callable[[Scene], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def nothing(scene: Scene) -> AsyncIterator[None]:
    """All is well."""
    yield


# --- the TPM ---


@asynccontextmanager
async def key_gone(scene: Scene) -> AsyncIterator[None]:
    """Another administrator took the DRSK from its handle."""
    scene.platform.evict()
    scene.platform.let_go()
    yield


@asynccontextmanager
async def foreign_key(scene: Scene) -> AsyncIterator[None]:
    """Another program's key lives at the DRSK's handle."""
    scene.platform.evict()
    scene.told["foreign"] = str(scene.platform.place_foreign_key())
    scene.platform.let_go()
    yield


@asynccontextmanager
async def full(scene: Scene) -> AsyncIterator[None]:
    """The DRSK is gone, and the NV is full of others' keys; the owner removes some."""
    scene.platform.evict()
    tpm = scene.platform.tpm
    tpm.trust_salt(scene.platform.state.srk_name)
    key = tpm.create(SRK_HANDLE, srk_template(Algorithm.ECC_P256), auth=NO_SECRET, data=NO_SECRET)
    with suppress(NvFull):
        for handle in _FILLED:
            tpm.persist(SRK_HANDLE, key, handle, OWNER_AUTH)
    scene.platform.let_go()
    yield
    scene.platform.tpm.trust_salt(scene.platform.state.srk_name)
    for handle in _FILLED[:3]:
        scene.platform.tpm.evict(handle, OWNER_AUTH)
    scene.platform.let_go()


@asynccontextmanager
async def locked_out(scene: Scene) -> AsyncIterator[None]:
    """Somebody guessed another program's password; the holder of the lock-out authorisation ends it."""
    tpm = scene.platform.tpm
    tpm.trust_salt(scene.platform.state.srk_name)
    template = sealed_template(Attributes.USER_WITH_AUTH)
    guarded = tpm.create(SRK_HANDLE, template, auth=Secret(b"pin"), data=Secret(b"another's"))
    with plain_esapi(scene.platform.machine.tcti) as esapi:
        esapi.dictionary_attack_parameters(
            new_max_tries=1, new_recovery_time=1000, lockout_recovery=1000, lock_handle=ESYS_TR.LOCKOUT
        )
    with pytest.raises((AuthFailed, TpmLockedOut)):  # a power cut counts as a guess
        tpm.unseal(SRK_HANDLE, guarded, auth=Secret(b"guessed"))
    scene.platform.let_go()
    yield
    with plain_esapi(scene.platform.machine.tcti) as esapi:
        esapi.dictionary_attack_lock_reset(lock_handle=ESYS_TR.LOCKOUT)


# --- the clock ---


@asynccontextmanager
async def clock_behind(scene: Scene) -> AsyncIterator[None]:
    """The platform saw a time that its clock has not reached; the clock is set right."""
    state = scene.platform.state
    scene.platform.store.save(replace(state, time_floor=datetime(2099, 12, 31, tzinfo=UTC)))
    yield
    scene.platform.store.save(state)


# --- the authority ---


@asynccontextmanager
async def unreachable(scene: Scene) -> AsyncIterator[None]:
    """Nobody listens at the authority's address."""
    async with scene.world.away(scene.world.authority):
        yield


@contextmanager
def _in_its_place(scene: Scene, script: Script, owner: OwnerWorld | None = None) -> Iterator[None]:
    """Another server at the authority's address, with a certificate that `owner` issued for the authority's ID."""
    certificate = tls_certificate(owner or scene.world.office.world, MA, key=_RELAY)
    with HostileServer(script, certificate, key=_RELAY, port=scene.world.port):
        yield


@asynccontextmanager
async def another_certificate(scene: Scene) -> AsyncIterator[None]:
    """Who answers has the certificate of another owner."""
    async with scene.world.away(scene.world.authority):
        with _in_its_place(scene, Line.wait, make_owner("another owner")):
            yield


def saying(*answers: bytes) -> Trouble:
    """The authority says this."""

    @asynccontextmanager
    async def trouble(scene: Scene) -> AsyncIterator[None]:
        async with scene.world.away(scene.world.authority):
            with _in_its_place(scene, say(*answers)):
                yield

    return trouble


@asynccontextmanager
async def silent(scene: Scene) -> AsyncIterator[None]:
    """The authority takes the request and never answers; our patience is shorter than usual."""
    scene.world.daemon.act = IMPATIENT
    async with scene.world.away(scene.world.authority):
        with _in_its_place(scene, Line.wait):
            yield
    scene.world.daemon.act = DAEMON


@asynccontextmanager
async def relayed(scene: Scene) -> AsyncIterator[None]:
    """Somebody with a certificate of his own passes everything on to the real authority, which is elsewhere."""
    world, elsewhere = scene.world, free_port()

    def pass_on(line: Line) -> None:
        with secured(elsewhere) as real:
            real.sendall(line.last)
            line.send(_answer(real))

    async with world.away(world.authority):
        world.house.configure(elsewhere, None)
    with _in_its_place(scene, pass_on):
        yield
    async with world.away(world.authority):
        world.house.configure(world.port, None)


@contextmanager
def _archived_by_another(scene: Scene) -> Iterator[bytes]:
    """The package of another platform of this owner, which the authority keeps, too."""
    with Platform(scene.directory / "other") as other:
        other.now, other.connect = now(), AuthorityClient
        enrolled(other, scene.world.office)
        other.archive()
        yield other.packages[-1].read_bytes()


@asynccontextmanager
async def another_released(scene: Scene) -> AsyncIterator[None]:
    """The authority itself, by its own key and certificate, but for one lie: it releases another's package."""
    world, elsewhere = scene.world, free_port()
    with _archived_by_another(scene) as package:
        key, certificate = world.house.tls
        signer = OwnerSigner(key, certificate)

    def lie(line: Line) -> None:
        with secured(elsewhere) as real:
            real.sendall(line.last)
            said = _answer(real)
        if Kind.RELEASED_PACKAGE.value.encode() in line.last:
            reply = read_reply(said.partition(b"\r\n\r\n")[2], OPERATIONS["Download"])
            if isinstance(reply, DownloadAnswer):
                released, _ = RELEASED_PACKAGE.read(reply.document)
                lied = sign(RELEASED_PACKAGE.write(replace(released, package=package)), signer)
                said = answer("Download", DownloadAnswer(lied))
        line.send(said)

    async with world.away(world.authority):
        world.house.configure(elsewhere, None)
    with HostileServer(lie, certificate, key=key, port=world.port):
        yield
    async with world.away(world.authority):
        world.house.configure(world.port, None)


def _answer(connection) -> bytes:
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += connection.recv(65536)
    head, _, body = heard.partition(b"\r\n\r\n")
    size = next(int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:"))
    while len(body) < size:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


# --- another board ---


class _BrokenLine(AuthorityClient):
    """The connection breaks as soon as the keys were released."""

    def download(self, session: bytes, kind: Kind, id: str, at_most: int | None = None) -> bytes:
        super().download(session, kind, id, at_most)
        raise AuthorityUnreachable("cannot go on: the connection broke")


@contextmanager
def _asked_by_another(scene: Scene) -> Iterator[tuple[Platform, bytes]]:
    """A second new TPM, whose request for these keys the owner approved."""
    with Platform(scene.directory / "other", disk_of=scene.platform.directory) as board:
        board.now, board.connect = now(), AuthorityClient
        with pytest.raises(ApprovalPending):
            migration.restore(board)
        pending = board.store.load_pending()
        scene.told["other"] = pending.request_id
        yield board, scene.world.office.approve(pending.document)


@asynccontextmanager
async def another_asked(scene: Scene) -> AsyncIterator[None]:
    """The owner approved another new TPM."""
    with _asked_by_another(scene) as (_, approval):
        scene.told["theirs"] = approval
    yield


@asynccontextmanager
async def another_has_it(scene: Scene) -> AsyncIterator[None]:
    """The keys were released to another new TPM, which then lost its line."""
    with _asked_by_another(scene) as (board, approval):
        board.connect = _BrokenLine
        with pytest.raises(AuthorityUnreachable):
            migration.restore(board, approval=approval)
    yield
