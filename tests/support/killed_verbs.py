"""Runs verbs of applications, kills them anywhere and runs them again: one bench for all applications."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.platform import Platform
from tests.support.victim import APPLICATION, KILLED, Victims

SAMPLES = 3
PARTS = 2  # of an exhaustive run, for more processors


@dataclass(frozen=True)
class Verb:
    """A verb, the machine on which it begins (switched off), and what has to be so after it, however often it began.

    What is the application's lies in `ours` of that machine. `safe` is so at any moment.
    """

    name: str
    before: Path
    judge: Callable[[Platform, Path], None]
    told: Mapping[str, Any] = field(default_factory=dict)
    prepare: Callable[[Platform], None] = lambda platform: None
    safe: Callable[[Path], None] = lambda ours: None


class Bench:
    """Runs of verbs on copies of their machines."""

    def __init__(self, victims: Victims, directory: Path) -> None:
        self.victims, self.directory = victims, directory
        self.runs = 0

    def run(self, verb: Verb, die_at: int = 0) -> int:
        """Run a verb to its end, or kill it and run it again; how many points it has, 0 where it was not killed."""
        self.runs += 1
        here = self.directory / f"run{self.runs}"
        with Platform(here, disk_of=verb.before, tpm_of=verb.before) as platform:
            shutil.copytree(verb.before / "ours", here / "ours")
            verb.prepare(platform)
            code = self._run(platform, verb, die_at)
            if die_at:
                if code != KILLED:
                    assert code == 0
                    return 0
                verb.safe(here / "ours")
                code = self._run(platform, verb, 0)
            assert code == 0
            points = self.victims.points.passed
            verb.judge(platform, here / "ours")
        shutil.rmtree(here)
        return points

    def _run(self, platform: Platform, verb: Verb, die_at: int) -> int:
        platform.let_go()
        order = platform.directory / "order"
        said = {"verb": verb.name, "ours": str(platform.directory / "ours"), "told": dict(verb.told)}
        order.write_text(json.dumps(said))
        self.victims.start(APPLICATION, platform.write_config(), {"order": order}, die_at)
        return self.victims.wait()

    def sampled(self, verb: Verb) -> Iterator[int]:
        """Run it uncut, then killed at some of its points; the points of each cut run, so none is 0."""
        points = self.run(verb)
        assert points >= SAMPLES
        for sample in range(SAMPLES):
            yield self.run(verb, 1 + (2 * sample + 1) * points // (2 * SAMPLES))

    def everywhere(self, verb: Verb, part: int) -> Iterator[int]:
        """The same at all points of one of the parts."""
        for die_at in range(1 + part, self.run(verb) + 1, PARTS):
            yield self.run(verb, die_at)
