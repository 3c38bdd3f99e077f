"""Figures: what we take, what a named peer takes in the same run, and the goal for the ratio of the two.

Rounds of ours and of the peer alternate, so that what else the machine does hits both. Nothing here fails because a
figure is bad: that is for people to judge.
"""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

_COLUMNS = ("figure", "unit", "ours", "peer", "ratio", "goal", "verdict")


@dataclass(frozen=True)
class Goal:
    """What a value has to be: `of` is the attribute of a figure, `ratio` or `ours`."""

    of: str
    at_least: float = float("-inf")
    at_most: float = float("inf")

    def __str__(self) -> str:
        sign, bound = ("≥", self.at_least) if self.at_most == float("inf") else ("≤", self.at_most)
        return f"{self.of} {sign} {bound:g}"


@dataclass(frozen=True)
class Figure:
    """Medians of ours and of the peer; `ratio` is the median of the rounds' ratios, ours to the peer's."""

    name: str
    unit: str
    ours: float
    peer: float | None = None
    ratio: float | None = None
    goal: Goal | None = None

    @property
    def verdict(self) -> str:
        """Whether the goal is met; a figure without a goal only informs."""
        if self.goal is None:
            return ""
        value = self.ours if self.goal.of == "ours" else self.ratio
        assert value is not None
        return "met" if self.goal.at_least <= value <= self.goal.at_most else "MISSED"


def paired(
    name: str,
    unit: str,
    ours: Callable[[], float],
    peer: Callable[[], float],
    rounds: int,
    goal: Goal | None = None,
) -> Figure:
    """Ours and the peer in turn, `rounds` times; each call measures once and returns what it measured."""
    return of_pairs(name, unit, [(ours(), peer()) for _ in range(rounds)], goal)


def of_pairs(name: str, unit: str, pairs: list[tuple[float, float]], goal: Goal | None = None) -> Figure:
    """The figure of rounds that were measured elsewhere."""
    mine, theirs = ([pair[i] for pair in pairs] for i in (0, 1))
    ratio = statistics.median(a / b for a, b in pairs)
    return Figure(name, unit, statistics.median(mine), statistics.median(theirs), ratio, goal)


def _row(figure: Figure) -> tuple[str, ...]:
    numbers = ("" if n is None else f"{n:.4g}" for n in (figure.ours, figure.peer, figure.ratio))
    return (figure.name, figure.unit, *numbers, str(figure.goal or ""), figure.verdict)


def table(figures: Iterable[Figure]) -> str:
    """All figures for people."""
    rows = [_COLUMNS, *map(_row, figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def write(figures: Iterable[Figure], to: Path) -> None:
    """All figures for programs."""
    found = [asdict(f) | {"goal": str(f.goal or ""), "verdict": f.verdict} for f in figures]
    machine = {"machine": platform.machine(), "system": platform.platform(), "python": platform.python_version()}
    to.write_text(json.dumps({"on": machine, "figures": found}, indent=2) + "\n")
