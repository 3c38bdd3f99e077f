"""A Migration Authority that boasts of a package nobody made, to put its platform's next ones out of others' reach.

An honest authority takes a Sequence that is at most so much higher than the last; who makes the platform skip far
more shuts it out there. The positive control is an authority that can show what it says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from lms.errors import AuthorityFailed, LmsError, NotAtAuthority, WrongRole
from lms.model.authorities import Inventory, Kind, ListedPackage
from lms.service.archive import archive
from lms.service.enroll import enroll_authority
from tests.support.documents import NOW, uuid
from tests.support.migration import ADDRESS, BOTH_MODES, PLATFORM, Authority, Line, Office, approve_platform
from tests.support.platform import OWNER_AUTH, Platform

BOASTED = 10**18 - 1  # what a message can hold


class BoastingLine(Line):
    """The line to an authority that lists a package with an absurd Sequence, and hands another document out for it."""

    shown: Callable[[], bytes]
    claimed = ListedPackage(uuid("nobody made it"), BOASTED, NOW, bytes(32), 1, None)

    def query(self, session: bytes) -> Inventory:
        inventory: Inventory = self._served.query(session)
        return replace(inventory, packages=(self.claimed, *inventory.packages))

    def download(self, session: bytes, kind: Kind, id: str, at_most: int | None = None) -> bytes:
        if id == str(self.claimed.package_id):
            return self.shown()
        return self._served.download(session, kind, id)


class World:
    """A platform that archives at two authorities; `shown` is what the second hands out, None while it is honest."""

    def __init__(self, directory, board: Platform, made: type[Authority]) -> None:
        self.office = Office()
        self.honest, self.second = (made(directory, self.office, name) for name in ("honest", "second"))
        self.shown: Callable[[], bytes] | None = None
        self.board = self.archived(board)

    def archived(self, board: Platform) -> Platform:
        """A machine of this owner's, which has archived at both."""
        board.now, board.connect = NOW, self.connect
        board.provision(self.office.token, offline_token=False)
        approve_platform(board, self.office)
        for authority in (self.honest, self.second):
            enroll_authority(board.setting, authority.identity.ma_id, OWNER_AUTH)
        archive(board.setting)
        return board

    def connect(self, address: str, ma_id, owner, trust_list) -> Line:
        assert address == ADDRESS
        if ma_id == self.honest.identity.ma_id:
            return Line(self.honest, PLATFORM)
        line = Line(self.second, PLATFORM) if self.shown is None else BoastingLine(self.second, PLATFORM)
        if self.shown is not None:
            line.shown = self.shown
        return line

    def sequences(self) -> list[int]:
        return [p.sequence for p in self.honest.packages(self.board.state.platform_id)]


@pytest.fixture(**BOTH_MODES)
def world(tmp_path, machines, request):
    made = World(tmp_path, machines(), request.param)
    yield made
    made.honest.close()
    made.second.close()


def nothing() -> bytes:
    raise NotAtAuthority("cannot find it")


def refused(world: World, shown: Callable[[], bytes], *errors: type[LmsError]) -> None:
    """The boast is told, and the package stands at the honest authority; the truth is then believed by all."""
    world.shown = shown
    with pytest.raises(errors):
        archive(world.board.setting)
    assert world.board.state.sequence == 2
    assert world.sequences() == [2, 1]
    world.shown = None
    assert archive(world.board.setting).sequence == 3
    assert world.sequences() == [3, 2, 1]


def test_a_boast_without_a_package(world):
    refused(world, nothing, NotAtAuthority)


def test_a_boast_with_an_old_package(world):
    refused(world, world.board.store.load_package, AuthorityFailed)


def test_a_boast_with_the_package_of_another_platform(world, tmp_path):
    with Platform(tmp_path / "other") as other:
        document = world.archived(other).store.load_package()
    refused(world, lambda: document, WrongRole)


def test_a_disk_that_was_brought_back_goes_on_above_what_an_authority_can_show(world):
    before = world.board.state
    for _ in range(3):
        archive(world.board.setting)
    world.board.store.save(before)
    assert archive(world.board.setting).sequence == 5
    assert world.sequences() == [5, 4, 3, 2, 1]
