"""Packages of 1, 100 and 10,000 child keys: build and sign, verify and parse.

The peer of `verify` is a bare lxml parse with XSD validation of the same bytes. Each works in a process of its own:
a tree of a hundred thousand nodes leaves a heap behind that the next one would have to tidy up. Times are of the CPU.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

from lxml import etree

from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.document import _schema
from tests.benchmarks.figures import Figure, Goal, of_pairs
from tests.support.documents import NOW, child_key, make_package, make_platform

SIZES = (1, 100, 10_000)
_ROUNDS = {1: 60, 100: 30, 10_000: 12}
_SLOWEST_S = 2.0
_MOST_OF_PEER = 3.0
_LINEAR = 1.2


def _works(children: int) -> dict[str, Callable[[], object]]:
    platform = make_platform()
    keys = tuple(replace(child_key(platform, f"child {i}"), data=()) for i in range(children))
    package = replace(make_package(platform), child_keys=keys)
    document = platform.signed(package)
    trust = PackageTrust(owner=platform.world.owner, now=NOW, platform_id=platform.id, highest_sequence=7)
    schema = _schema("package-1.xsd")
    return {
        "build": lambda: platform.signed(package),
        "verify": lambda: accept_package(document, trust),
        "bare": lambda: schema.assertValid(etree.fromstring(document)),
    }


class _Worker:
    """A process that does one piece of work whenever it is asked to, and says how long it took."""

    def __init__(self, work: str, children: int) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.packages", work, str(children)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self()  # the first run compiles schemas

    def __call__(self) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def end(self) -> None:
        """No more work."""
        self._process.communicate()


def _serve(work: Callable[[], object]) -> None:
    for _ in sys.stdin:
        began = time.process_time()
        work()
        print(time.process_time() - began, flush=True)


def figures() -> Iterator[Figure]:
    """Build and verify for each size."""
    taken: dict[int, float] = {}
    for children in SIZES:
        with ExitStack() as closing:
            build, verify, bare = (_Worker(work, children) for work in ("build", "verify", "bare"))
            for worker in (build, verify, bare):
                closing.callback(worker.end)
            rounds = [(build(), verify(), bare()) for _ in range(_ROUNDS[children])]
        largest = children == SIZES[-1]
        slow = Goal("ours", at_most=_SLOWEST_S * 1000) if largest else None
        near = Goal("ratio", at_most=_MOST_OF_PEER) if largest else None
        told = f"package of {children} children"
        in_ms = [tuple(1000 * s for s in round_) for round_ in rounds]
        yield of_pairs(f"{told}: build and sign / parse, XSD", "ms", [(b, p) for b, _, p in in_ms], slow)
        verified = of_pairs(f"{told}: verify / parse, XSD", "ms", [(v, p) for _, v, p in in_ms], near)
        taken[children] = verified.ours
        yield verified
    least, most = ((taken[n] - taken[1]) / n for n in SIZES[1:])  # each child's, without what every package takes
    goal = Goal("ratio", at_most=_LINEAR)
    yield Figure("verify: a child of 10,000 / a child of 100", "µs", 1000 * most, 1000 * least, most / least, goal)


if __name__ == "__main__":
    _serve(_works(int(sys.argv[2]))[sys.argv[1]])
