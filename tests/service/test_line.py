"""A line to an authority outlives its session, and does not ask for ever."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.errors import AuthorityFailed, SessionExpired
from lms.model.authorities import Kind, Session
from lms.service.archive import archive
from lms.service.keeping import Keeper
from lms.service.keeping.sessions import LIFETIME_S
from lms.service.line import Whereabouts, chip_of, open_line
from lms.service.setting import NO_SECRET
from tests.support.migration import ADDRESS, BOTH_MODES, PLATFORM, Line, Office, enrolled

CALLS = {
    "upload": lambda line, kept: line.upload(kept.document),
    "newest": lambda line, kept: line.newest(),
    "download": lambda line, kept: line.download(Kind.PACKAGE, kept.id),
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


class Kept:
    """A machine that has archived at an authority, whose clock stands until it is moved."""

    def __init__(self, directory, machine, made) -> None:
        self.office, self.seconds = Office(), 0.0
        self.authority = made(directory, self.office)
        self.authority.keeper = Keeper(replace(self.authority.setting, monotonic=lambda: self.seconds))
        self.machine = enrolled(machine, self.office, self.authority)
        self.document = machine.store.load_package()
        self.id = str(machine.state.package_id)

    def line(self):
        where = Whereabouts(self.authority.identity.ma_id, (ADDRESS,), self.office.world.owner, None)
        setting, state = self.machine.setting, self.machine.state
        return open_line(setting, where, state.platform_id, chip_of(setting, state), NO_SECRET)


@pytest.fixture(**BOTH_MODES)
def kept(tmp_path, platform, request):
    made = Kept(tmp_path, platform, request.param)
    yield made
    made.authority.close()


class ForgetfulLine(Line):
    """The line to an authority that knows none of the sessions that it opens."""

    opened = 0

    def session(self, server_nonce: bytes, proof: bytes) -> Session:
        self.opened += 1
        return replace(self._served.session(server_nonce, proof), token=bytes(32))


class NotingLine(Line):
    """The line to an authority, and how much is wanted of it."""

    wanted: int | None = None

    def download(self, session: bytes, kind: Kind, id: str, at_most: int | None = None) -> bytes:
        self.wanted = at_most
        return super().download(session, kind, id, at_most)


class ForgingLine(Line):
    """The line to an authority that gives something else back than it was given."""

    def download(self, session: bytes, kind: Kind, id: str, at_most: int | None = None) -> bytes:
        return super().download(session, kind, id, at_most).replace(b"testhost", b"otherone")


@calls
def test_a_session_that_ended_is_made_anew(kept, call):
    line = kept.line()
    before = call(line, kept)
    kept.seconds += LIFETIME_S + 1
    assert call(line, kept) == before


@calls
def test_a_session_that_never_holds_is_made_anew_once(kept, call):
    forgetful = ForgetfulLine(kept.authority, PLATFORM)
    kept.machine.connect = lambda *_: forgetful
    line = kept.line()
    with pytest.raises(SessionExpired):
        call(line, kept)
    assert forgetful.opened == 2


def test_what_is_read_back_is_no_longer_than_what_was_uploaded(kept):
    noting = NotingLine(kept.authority, PLATFORM)
    kept.machine.connect = lambda *_: noting
    archive(kept.machine.setting)
    assert noting.wanted == len(kept.machine.store.load_package())


def test_an_authority_that_gives_another_package_back_is_not_counted_on(kept):
    kept.machine.connect = lambda *_: ForgingLine(kept.authority, PLATFORM)
    with pytest.raises(AuthorityFailed, match="another package back"):
        archive(kept.machine.setting)
    (destination,) = kept.machine.state.destinations
    assert destination.held < kept.machine.state.sequence
    kept.machine.connect = kept.authority.connect
    (destination,) = archive(kept.machine.setting).destinations
    assert destination.held == kept.machine.state.sequence
