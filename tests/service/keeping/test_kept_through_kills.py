"""An authority is killed at any statement of a call: all of the call was kept or nothing, and asking again goes on.

A child of this process makes the call; it dies before a statement, before a commit, or after one.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import event

from lms.adapters.tpm import TpmDevice
from lms.adapters.vault import open_vault
from lms.errors import ApprovalPending, Denied
from lms.model.authorities import Kind, RequestState
from tests.support.asking import House, VaultChip, id_of
from tests.support.documents import make_platform

BOARD, NEXT_BOARD = make_platform("board"), make_platform("next board")
_MOMENTS = ("before_cursor_execute", "commit", "checkin")


class Scene:
    """A platform with two archives; a board got its keys, and the next one is approved."""

    def __init__(self, directory: Path, chip: VaultChip | None) -> None:
        self.chip = chip
        self.house = house = House(directory, chip=chip)
        self.path = directory / "ma.sqlite"
        self.platform = platform = house.enrol(make_platform())
        for sequence in (1, 2):
            house.asker(platform).upload(house.package(platform, sequence))
            house.later(days=1)
        self.first = self.ask(BOARD)
        self.approve(self.first)
        self.at(BOARD).download(Kind.RELEASED_PACKAGE, id_of(self.first))
        house.later(seconds=1)
        self.second = self.ask(NEXT_BOARD)
        self.package = house.package(platform, 3)
        self.confirmation = house.package(platform, 3, chip=BOARD)
        self.instead = house.restore_request(platform, NEXT_BOARD, bytes(16))
        self.approval = house.approval(platform, self.second)
        self.oldest = str(house.kept(platform)[-1].package_id)
        self.content = self.path.read_bytes()

    def at(self, chip):
        return self.house.asker(chip, self.platform.id)

    def ask(self, chip):
        request = self.house.restore_request(self.platform, chip)
        self.at(chip).upload(request)
        return request

    def approve(self, request):
        self.house.station().upload(self.house.approval(self.platform, request))

    def begin_anew(self, content: bytes | None = None) -> None:
        """As the process that starts after one that was killed; with another content where one is given."""
        if content is not None:
            self.path.with_name("ma.sqlite-journal").unlink(missing_ok=True)
            self.path.write_bytes(content)
        self.house.vault.close()
        self.house.vault = open_vault(self.house.url)
        if self.chip is not None:
            self.chip.tpm.close()
            self.chip = self.house._chip = replace(self.chip, tpm=TpmDevice(self.chip.machine.tcti))
        self.house.begin()

    def state_of(self, request) -> RequestState | None:
        with self.house.vault.transaction() as transaction:
            kept = transaction.request(bytes.fromhex(id_of(request)))
        return None if kept is None else kept.state

    def list_number(self) -> int:
        return self.at(self.platform).query().trust_list_number

    # --- what may be found after a kill, and that the call can be made again ---

    def judge_package(self) -> None:
        again = self.at(self.platform).upload(self.package)
        assert self.house.sequences(self.platform) == [1, 2, 3]
        assert self.at(self.platform).download(Kind.PACKAGE, again.id) == self.package

    def judge_confirmation(self) -> None:
        kept = 3 in self.house.sequences(self.platform)
        (release,) = self.house.releases(self.platform)
        assert release.confirmed is kept
        again = self.at(BOARD).upload(self.confirmation)
        assert again.changed is not kept
        assert self.at(BOARD).download(Kind.PACKAGE, again.id) == self.confirmation
        assert self.house.releases(self.platform)[0].confirmed

    def judge_request(self) -> None:
        waiting = [self.state_of(request) for request in (self.second, self.instead)]
        assert waiting in ([RequestState.PENDING, None], [None, RequestState.PENDING])
        self.at(NEXT_BOARD).upload(self.instead)
        assert self.state_of(self.instead) is RequestState.PENDING

    def judge_approval(self) -> None:
        approved = self.state_of(self.second) is RequestState.APPROVED
        assert (self.list_number() > self.number_before) is approved
        assert self.house.station().upload(self.approval).changed is not approved
        assert self.at(NEXT_BOARD).download(Kind.RELEASED_PACKAGE, id_of(self.second))

    def judge_denial(self) -> None:
        assert self.state_of(self.second) in (RequestState.PENDING, RequestState.DENIED)
        if self.state_of(self.second) is RequestState.PENDING:
            with pytest.raises(ApprovalPending):
                self.at(NEXT_BOARD).download(Kind.RELEASED_PACKAGE, id_of(self.second))
        self.house.station().delete(id_of(self.second))
        with pytest.raises(Denied):
            self.at(NEXT_BOARD).download(Kind.RELEASED_PACKAGE, id_of(self.second))

    def judge_release(self) -> None:
        """Either both are written down, the end of the first and the second, or neither."""
        found = {r.ek_name: r.ended for r in self.house.releases(self.platform)}
        assert found in ({BOARD.ek.name: False}, {BOARD.ek.name: True, NEXT_BOARD.ek.name: False})
        assert self.at(NEXT_BOARD).download(Kind.RELEASED_PACKAGE, id_of(self.second))
        assert len(self.house.releases(self.platform)) == 2

    def judge_mark(self) -> None:
        self.at(self.platform).delete(self.oldest)
        assert [p.marked is None for p in self.house.kept(self.platform)] == [True, False]
        assert self.at(self.platform).download(Kind.PACKAGE, self.oldest)

    def judge_repeat(self) -> None:
        assert self.at(BOARD).download(Kind.RELEASED_PACKAGE, id_of(self.first))
        assert len(self.house.releases(self.platform)) == 1

    @property
    def number_before(self) -> int:
        return self.house.list_of().number - 1


@dataclass(frozen=True)
class Act:
    """A call, prepared up to its first statement; what is to be seen afterwards; and what went before it."""

    prepare: Callable[[Scene], Callable[[], object]]
    judge: Callable[[Scene], None]
    before: Callable[[Scene], object] = lambda scene: None


def bring(chip, what):
    def prepare(scene):
        asker, document = scene.at(scene.platform if chip is None else chip), getattr(scene, what)
        return lambda: asker.upload(document)

    return prepare


def fetch(chip, what):
    def prepare(scene):
        asker = scene.at(chip)
        return lambda: asker.download(Kind.RELEASED_PACKAGE, id_of(getattr(scene, what)))

    return prepare


def mark(scene):
    asker = scene.at(scene.platform)
    return lambda: asker.delete(scene.oldest)


ACTS = {
    "a package is kept": Act(bring(None, "package"), Scene.judge_package),
    "a release is confirmed": Act(bring(BOARD, "confirmation"), Scene.judge_confirmation),
    "a request takes another's place": Act(bring(NEXT_BOARD, "instead"), Scene.judge_request),
    "an approval is taken": Act(
        lambda scene: lambda: scene.house.station().upload(scene.approval), Scene.judge_approval
    ),
    "a request is denied": Act(
        lambda scene: lambda: scene.house.station().delete(id_of(scene.second)), Scene.judge_denial
    ),
    "a release begins and ends another": Act(
        fetch(NEXT_BOARD, "second"), Scene.judge_release, lambda s: s.house.station().upload(s.approval)
    ),
    "a release is repeated": Act(fetch(BOARD, "first"), Scene.judge_repeat),
    "a package is marked": Act(mark, Scene.judge_mark),
}


def run_killed(scene: Scene, act: Act, number: int) -> bool:
    """Make the call in a child that dies at its n-th moment; whether it came that far."""
    pid = os.fork()
    if pid == 0:
        try:
            scene.begin_anew()
            call, seen = act.prepare(scene), 0

            def look(*_: object) -> None:
                nonlocal seen
                seen += 1
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)

            for moment in _MOMENTS:
                event.listen(scene.house.vault._engine, moment, look)
            call()
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


@pytest.fixture(scope="module", params=["software", pytest.param("tpm", marks=pytest.mark.slow)])
def scene(request, tmp_path_factory):
    chip = VaultChip.made(tmp_path_factory.mktemp("vault")) if request.param == "tpm" else None
    made = Scene(tmp_path_factory.mktemp("killed"), chip)
    yield made
    made.house.vault.close()
    if made.chip is not None:
        made.chip.close()


@pytest.mark.parametrize("name", ACTS)
def test_a_call_that_is_killed_is_kept_whole_or_not_at_all(scene, name):
    act = ACTS[name]
    scene.begin_anew(scene.content)
    act.before(scene)
    start, number = scene.path.read_bytes(), 1
    while True:
        scene.begin_anew(start)
        died = run_killed(scene, act, number)
        scene.begin_anew()
        act.judge(scene)
        check = sqlite3.connect(scene.path)
        assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        check.close()
        if not died:
            break
        number += 1
    assert number > 4  # BEGIN, at least one statement, COMMIT, and afterwards
