"""Each thing that can go wrong has its own error, on `lmsctl` and on the bus, with what to do next; nothing is lost.

One row for each: how the world is brought there, which act is refused, what is said, and how the same act is done
rightly afterwards, which succeeds. Everything is real: `lmsd`, `lms-authority serve`, TPMs, a bus, a hostile server.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest

from lms import errors
from lms.errors import (
    AlreadyReleased,
    AuthorityFailed,
    AuthoritySlow,
    AuthorityUnreachable,
    AuthorityUntrusted,
    ClockUnset,
    GrantMismatch,
    HandleOccupied,
    LmsError,
    MalformedXml,
    NotAuthenticated,
    NvFull,
    OwnerAuthFailed,
    PackageStale,
    ReleaseMismatch,
    SignatureInvalid,
    TpmLockedOut,
    WrongPassword,
    WrongRole,
)
from lms.model.platform import PlatformState
from lms.names import APPROVAL, OWNER_AUTH, TOKEN, TOKEN_PASSWORD
from lms.wire.service_v1 import AuthenticateAnswer
from tests.support import documents, troubles
from tests.support.asynchronous import in_loop
from tests.support.documents import make_package, make_platform, signed_token
from tests.support.endpoint import INFORMATION, SESSION
from tests.support.faces import Order, Refusal, by_bus, by_lmsctl, done
from tests.support.hostile import answer, fault, http
from tests.support.platform import OWNER_AUTH as AUTH
from tests.support.platform import PRECIOUS
from tests.support.troubles import Scene, Trouble
from tests.support.world import World

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Row:
    """`says` and `hint` are words that have to stand in message and hint.

    `new_tpm`: on another board. `writes`: the act keeps what it did before it was refused: a package elsewhere, or
    the key that was proven and found no place.
    """

    name: str
    trouble: Trouble
    wrong: Callable[[Scene], Order]
    error: type[LmsError]
    exit_code: int
    says: tuple[str, ...]
    hint: tuple[str, ...]
    right: Callable[[Scene], Order]
    new_tpm: bool = False
    writes: bool = False


# --- acts ---


def by_token(scene: Scene, **changes: bytes) -> Order:
    """Restore with the token and the package at hand."""
    secrets = {
        TOKEN: signed_token(scene.world.office.world),
        TOKEN_PASSWORD: documents.PASSWORD.reveal(),
        OWNER_AUTH: AUTH.reveal(),
    }
    return Order("restore", {"unverified-tpm": True}, secrets | {w.replace("_", "-"): v for w, v in changes.items()})


def told(order: Order, **options: object) -> Order:
    """The same with more options."""
    return replace(order, options={**order.options, **{name.replace("_", "-"): v for name, v in options.items()}})


def ask(scene: Scene) -> Order:
    """Restore through the authority."""
    return Order("restore", {"unverified-tpm": True}, {OWNER_AUTH: AUTH.reveal()})


def by_approval(scene: Scene, approval: bytes) -> Order:
    """Restore through the authority with the owner's approval in a file."""
    return Order("restore", {"unverified-tpm": True}, {APPROVAL: approval, OWNER_AUTH: AUTH.reveal()})


def approved(scene: Scene, *supersedes: bytes) -> bytes:
    """The owner's approval of what waits at this machine."""
    request = scene.platform.store.load_pending().document
    return scene.world.office.approve(request, supersedes=supersedes)


def archive(scene: Scene) -> Order:
    return Order("archive")


def request_certificate(scene: Scene) -> Order:
    """What the AK signs."""
    return Order("enroll", {"destination": "msa"}, files={"request-to": "request"})


def package(scene: Scene, number: int) -> bytes:
    return scene.platform.packages[number].read_bytes()


def altered(document: bytes) -> bytes:
    """One digit of the host's name is another one."""
    at = document.index(b"<HostName>") + len(b"<HostName>")
    return document[:at] + bytes([document[at] ^ 1]) + document[at + 1 :]


ROWS = (
    Row(
        "wrong password",
        troubles.key_gone,
        lambda scene: by_token(scene, token_password=b"not the password"),
        WrongPassword, 3, ("password",), ("try again", "another copy"),
        by_token,
    ),
    Row(
        "wrong owner authorisation",
        troubles.key_gone,
        lambda scene: by_token(scene, owner_auth=b"not the owner's"),
        OwnerAuthFailed, 3, ("owner authorisation", "wrong"), ("give the TPM's owner authorisation",),
        by_token,
    ),
    Row(
        "locked-out TPM",
        troubles.locked_out,
        request_certificate,
        TpmLockedOut, 4, ("locked out", "TPM_RC_LOCKOUT"), ("wait", "lock-out authorisation"),
        request_certificate,
        writes=True,
    ),
    Row(
        "occupied handle",
        troubles.foreign_key,
        by_token,
        HandleOccupied, 4, ("0x81000004",), ("--replace-foreign",),
        lambda scene: told(by_token(scene), replace_foreign=scene.told["foreign"]),
    ),
    Row(
        "full NV",
        troubles.full,
        by_token,
        NvFull, 4, ("0x81000004", "no room"), ("remove", "try again"),
        by_token,
        writes=True,
    ),
    Row(
        "authority unreachable",
        troubles.unreachable,
        archive,
        AuthorityUnreachable, 5, ("https://127.0.0.1:",), ("network", "address", "nothing was lost"),
        archive,
        writes=True,
    ),
    Row(
        "authority unreachable where the keys are to come back",
        troubles.unreachable,
        ask,
        AuthorityUnreachable, 5, ("https://127.0.0.1:", "the owner has to approve request"),
        ("network", "address", "nothing was lost"),
        lambda scene: by_approval(scene, approved(scene)),
        new_tpm=True,
    ),
    Row(
        "authority slow",
        troubles.silent,
        archive,
        AuthoritySlow, 5, ("https://127.0.0.1:", "time"), ("takes too long", "nothing was lost", "try again"),
        archive,
        writes=True,
    ),
    Row(
        "authority lying about a session",
        troubles.saying(answer("Authenticate", AuthenticateAnswer(None, SESSION))),
        archive,
        AuthorityFailed, 5, ("not asked for",), ("operator",),
        archive,
        writes=True,
    ),
    Row(
        "authority lying about our token",
        troubles.saying(fault("WrongPassword", "type your password here")),
        archive,
        AuthorityFailed, 5, ("the authority says 'WrongPassword'",), ("operator",),
        archive,
        writes=True,
    ),
    Row(
        "authority answering something else",
        troubles.saying(http(b"<html>welcome</html>", media_type="text/html")),
        archive,
        AuthorityFailed, 5, ("answer",), ("operator",),
        archive,
        writes=True,
    ),
    Row(
        "authority answering another question",
        troubles.saying(answer("GetMAServiceInformation", INFORMATION)),
        archive,
        AuthorityFailed, 5, ("answer",), ("operator",),
        archive,
        writes=True,
    ),
    Row(
        "authority presenting another certificate",
        troubles.another_certificate,
        archive,
        AuthorityUntrusted, 5, ("https://127.0.0.1:",), ("not the authority", "find out who"),
        archive,
        writes=True,
    ),
    Row(
        "authority relaying another's challenge",
        troubles.relayed,
        archive,
        NotAuthenticated, 5, ("cannot",), ("passes on", "another authority"),
        archive,
        writes=True,
    ),
    Row(
        "authority releasing another platform's package",
        troubles.another_released,
        lambda scene: by_approval(scene, approved(scene)),
        ReleaseMismatch, 6, ("released", "another package"), ("tell the owner",),
        ask,
        new_tpm=True,
    ),
    Row(
        "package altered",
        troubles.key_gone,
        lambda scene: by_token(scene, package=altered(package(scene, -1))),
        SignatureInvalid, 6, ("signature",), ("altered", "another copy"),
        lambda scene: by_token(scene, package=package(scene, -1)),
    ),
    Row(
        "package truncated",
        troubles.key_gone,
        lambda scene: by_token(scene, package=package(scene, -1)[:-100]),
        MalformedXml, 6, ("cannot",), ("truncated", "another copy"),
        lambda scene: by_token(scene, package=package(scene, -1)),
    ),
    Row(
        "replayed older package",
        troubles.key_gone,
        lambda scene: by_token(scene, package=package(scene, 0)),
        PackageStale, 6, ("Sequence 1", "2 is known"), ("newer package", "--accept-stale"),
        lambda scene: told(by_token(scene, package=package(scene, 0)), accept_stale=1),
    ),
    Row(
        "package of another platform",
        troubles.key_gone,
        lambda scene: by_token(scene, package=make_platform().signed(make_package())),
        WrongRole, 6, ("platform", str(make_platform().id)), ("another platform", "check whose"),
        by_token,
    ),
    Row(
        "approval for another destination",
        troubles.another_asked,
        lambda scene: by_approval(scene, scene.told["theirs"]),
        GrantMismatch, 6, ("another request",), ("request on this machine",),
        lambda scene: by_approval(scene, approved(scene)),
        new_tpm=True,
    ),
    Row(
        "second destination for a released package",
        troubles.another_has_it,
        lambda scene: by_approval(scene, approved(scene)),
        AlreadyReleased, 5, ("released",), ("went to another TPM", "approve this one again"),
        lambda scene: by_approval(scene, approved(scene, scene.told["other"])),
        new_tpm=True,
    ),
    Row(
        "clock before the floor",
        troubles.clock_behind,
        archive,
        ClockUnset, 7, ("2099-12-31",), ("set the clock",),
        archive,
    ),
)  # fmt: skip


# --- what must not be lost ---


@dataclass(frozen=True)
class Kept:
    """What a machine and its archive hold."""

    state: bytes
    facts: tuple[object, ...]
    key: bytes | None
    packages: frozenset[bytes]

    @classmethod
    def of(cls, scene: Scene) -> Kept:
        platform = scene.platform
        found = cls(
            (platform.state_directory / "state.json").read_bytes(),
            _facts(platform.state),
            platform.key_at(),
            frozenset(path.read_bytes() for path in platform.packages),
        )
        if found.key == platform.state.require_drsk().name:
            assert platform.unseal(scene.world.child) == PRECIOUS
        platform.let_go()
        return found


def _facts(state: PlatformState) -> tuple[object, ...]:
    destinations = {d.identity for d in state.destinations} | {*state.to_enroll}
    drsk = state.require_drsk()
    return (state.platform_id, drsk.name, drsk.policy, destinations, state.registry, state.trust_list)


def assert_nothing_lost(before: Kept, after: Kept, row: Row) -> None:
    """To the byte, or where the act writes before it comes to what is refused, in all that counts."""
    assert (after.facts, after.key) == (before.facts, before.key)
    assert after.packages >= before.packages
    if not row.writes:
        assert (after.state, after.packages) == (before.state, before.packages)


def assert_told(row: Row, refusal: Refusal) -> None:
    assert refusal.error == row.error.__name__, refusal
    assert getattr(errors, refusal.error) is row.error
    assert refusal.message.startswith("cannot "), refusal
    assert not refusal.message.endswith("."), refusal
    for word in row.says:
        assert word in refusal.message, refusal
    for word in row.hint:
        assert word in refusal.hint, refusal


@pytest.fixture
def scene(ground, grown, tmp_path):
    """Makes the scene of a row."""
    return lambda row: Scene(World(ground, tmp_path / "world", of=grown, new_tpm=row.new_tpm), tmp_path)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@in_loop
async def test_it_is_refused_in_clear_words_on_both_faces_and_nothing_is_lost(scene, row):
    here = scene(row)
    async with here.world as world, AsyncExitStack() as stack:
        async with world.away(world.daemon):  # a TPM without a resource manager is one program's alone
            await stack.enter_async_context(row.trouble(here))
            before = Kept.of(here)
        if row.new_tpm:
            await by_bus(world.us, ask(here))
        order = row.wrong(here)
        code, said = await by_lmsctl(here.config, order, here.directory)
        heard = await by_bus(world.us, order)
        for refusal in (said, heard):
            assert_told(row, refusal)
        assert code == row.exit_code == row.error.blame.value
        assert heard.hint == said.hint
        async with world.away(world.daemon):
            assert_nothing_lost(before, Kept.of(here), row)
            await stack.aclose()
        await done(world.us, row.right(here))
        await world.end()
        assert here.platform.unseal(world.child) == PRECIOUS
