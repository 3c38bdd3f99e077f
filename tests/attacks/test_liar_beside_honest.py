"""One of two Migration Authorities lies about a restore that the owner approved: the other one's word is enough.

The liar is asked first. Whatever it hands out, the keys come back from the honest one, and the request that the owner
approved is not given up. The positive control is `test_the_first_one_is_asked_first`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from lms.errors import ApprovalPending
from lms.model.authorities import Inventory, Kind, ListedPackage
from lms.service.archive import archive
from lms.service.enroll import enroll_authority, trust_list_of
from tests.support.documents import NOW, uuid
from tests.support.migration import BOTH_MODES, PLATFORM, Authority, Line, Office, approve_platform, restore
from tests.support.platform import OWNER_AUTH, Platform


class LyingLine(Line):
    """The line to an authority that answers as it is told to."""

    released: Callable[[bytes], bytes]
    listed: tuple[ListedPackage, ...]

    def download(self, session: bytes, kind: Kind, id: str, at_most: int | None = None) -> bytes:
        document = self._served.download(session, kind, id)
        return self.released(document) if kind is Kind.RELEASED_PACKAGE else document

    def query(self, session: bytes) -> Inventory:
        inventory: Inventory = self._served.query(session)
        return replace(inventory, packages=(*self.listed, *inventory.packages))


class World:
    """A platform that had archived at two authorities, and its disk in a new board; `liar` is asked before `honest`."""

    def __init__(self, directory, machines, made: type[Authority]) -> None:
        self.office = Office()
        self.authorities = {}
        for name in ("one", "two"):
            authority = made(directory, self.office, name)
            self.authorities[authority.identity.ma_id] = authority
        self.asked: list[Authority] = []
        self.released: Callable[[bytes], bytes] = bytes
        self.listed: tuple[ListedPackage, ...] = ()
        with Platform(directory / "machine") as machine:
            machine.now, machine.connect = NOW, self.connect_honestly
            machine.provision(self.office.token, offline_token=False)
            approve_platform(machine, self.office)
            self.liar, self.honest = (self.authorities[a.ma_id] for a in trust_list_of(machine.state).authorities)
            for ma_id in self.authorities:
                enroll_authority(machine.setting, ma_id, OWNER_AUTH)
            archive(machine.setting)
        self.board = machines(disk_of=directory / "machine")
        self.board.now, self.board.connect = NOW, self.connect

    def connect_honestly(self, address, ma_id, owner, trust_list) -> Line:
        return Line(self.authorities[ma_id], PLATFORM)

    def connect(self, address, ma_id, owner, trust_list) -> Line:
        self.asked.append(self.authorities[ma_id])
        if self.asked[-1] is self.honest:
            return Line(self.honest, PLATFORM)
        line = LyingLine(self.liar, PLATFORM)
        line.released, line.listed = self.released, self.listed
        return line

    def approval(self) -> bytes:
        """The owner's answer to the request that waits."""
        with pytest.raises(ApprovalPending):
            restore(self.board)
        self.asked.clear()
        return self.office.approve(self.board.store.load_pending().document)


@pytest.fixture(**BOTH_MODES)
def world(tmp_path, machines, request):
    made = World(tmp_path, machines, request.param)
    yield made
    for authority in made.authorities.values():
        authority.close()


def test_the_first_one_is_asked_first(world):
    assert restore(world.board, approval=world.approval()).changed
    assert world.asked[0] is world.liar
    assert world.board.key_at() == world.board.state.drsk.name


@pytest.mark.parametrize(
    "lie", [lambda document: b"nonsense", lambda document: document[:-1], lambda document: document.replace(b"A", b"B")]
)
def test_a_release_that_is_none_keeps_nobody_from_the_honest_one(world, lie):
    approval = world.approval()
    world.released = lie
    assert restore(world.board, approval=approval).changed
    assert world.asked[:2] == [world.liar, world.honest]
    assert world.board.key_at() == world.board.state.drsk.name


def test_a_newer_package_that_nobody_made_ends_no_request(world):
    approval = world.approval()
    request = world.board.store.load_pending()
    world.liar.station.upload(b"", approval)
    world.listed = (ListedPackage(uuid("nobody made it"), 10**18 - 1, NOW, bytes(32), 1, None),)
    with pytest.raises(ApprovalPending):  # the honest one was not told yet
        restore(world.board)
    assert world.board.store.load_pending() == request
    world.listed = ()
    assert restore(world.board, approval=approval).changed
