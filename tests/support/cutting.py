"""Runs each act of a world uncut, counts what can be cut, and runs it again cut down anywhere."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from tests.support.ending import end_of
from tests.support.world import Ground, World

# Each act and the one that makes the world in which it begins.
ACTS: Final[Mapping[str, str | None]] = {
    "provision": None,
    "certify": "provision",
    "enroll_token": "certify",
    "enroll_authority": "enroll_token",
    "register": "enroll_authority",
    "archive": "register",
    "restore_by_token": "archive",
    "restore_by_authority": "archive",
    "put_back": "archive",
}
_ON_ANOTHER_BOARD: Final = ("restore_by_token", "restore_by_authority")


class Cut(Enum):
    """Who is killed, and where."""

    COMMAND = "lmsd at a TPM command"
    FILE = "lmsd at a change of a directory"
    STATEMENT = "lms-authority at a step of its store"
    REWRAP = "lms-authority at a TPM command"


_PASSED: Final[Mapping[Cut, Callable[[World], int]]] = {
    Cut.COMMAND: lambda world: world.tpm.commands,
    Cut.FILE: lambda world: world.daemon.points.passed,
    Cut.STATEMENT: lambda world: world.authority.points.passed,
    Cut.REWRAP: lambda world: 0 if world.vault_tpm is None else world.vault_tpm.commands,
}
_ARM: Final[Mapping[Cut, Callable[[World, int], None]]] = {
    Cut.COMMAND: lambda world, number: world.tpm.arm(number),
    Cut.FILE: lambda world, number: world.daemon.points.arm(number),
    Cut.STATEMENT: lambda world, number: world.authority.points.arm(number),
    Cut.REWRAP: lambda world, number: world.vault_tpm.arm(number) if world.vault_tpm else None,
}


@dataclass(frozen=True)
class Uncut:
    """An act that nobody disturbed: the world after it, how often it could be cut, and how it ended.

    `surely` is how many of these a run passes before its client hears of the end.
    """

    world: World
    points: Mapping[Cut, int]
    surely: Mapping[Cut, int]
    end: Mapping[str, Any]


class Bench:
    """Runs of acts below a directory."""

    def __init__(self, ground: Ground, directory: Path, *, chip: bool) -> None:
        self._ground, self._directory, self._chip = ground, directory, chip
        self._uncut: dict[str, Uncut] = {}
        self._runs = 0

    def world(self, act: str) -> World:
        """A new world in which the act can begin."""
        before = ACTS[act]
        of = None if before is None else self.uncut(before).world
        self._runs += 1
        directory = self._directory / f"run{self._runs}"
        world = World(self._ground, directory, of=of, new_tpm=act in _ON_ANOTHER_BOARD, chip=self._chip)
        world.lost_its_key = act == "put_back"
        return world

    def uncut(self, act: str) -> Uncut:
        """Run it once, undisturbed."""
        if act not in self._uncut:
            self._uncut[act] = asyncio.run(self._run_uncut(act))
        return self._uncut[act]

    async def _run_uncut(self, act: str) -> Uncut:
        world = await asyncio.to_thread(self.world, act)
        async with world:
            # After each job and at its start the daemon looks at the TPM, in nobody's way.
            began = {cut: passed(world) for cut, passed in _PASSED.items()}
            await getattr(world, act)()
            points = {cut: passed(world) - began[cut] for cut, passed in _PASSED.items()}
            await world.end()
            assert not world.kills
            end = end_of(world)
            if world.child is None:
                world.child = world.platform.seal()
        looks = {Cut.COMMAND: began[Cut.COMMAND]}
        return Uncut(world, points, {cut: n - looks.get(cut, 0) for cut, n in points.items()}, end)

    def cut(self, act: str, cut: Cut, number: int) -> bool:
        """Run it, killed at the n-th point; whoever was killed starts again. False where it was not reached.

        Fails where the end is another one than that of the run that nobody disturbed.
        """
        uncut = self.uncut(act)
        world = self.world(act)
        end = asyncio.run(asyncio.wait_for(self._run_cut(world, act, cut, number), 60))
        assert end == uncut.end, (act, cut, number)
        shutil.rmtree(world.directory)
        return bool(world.kills)

    async def _run_cut(self, world: World, act: str, cut: Cut, number: int) -> Mapping[str, Any]:
        async with world:
            _ARM[cut](world, number)
            await getattr(world, act)()
            _ARM[cut](world, 0)
            await world.end()
            return end_of(world)
