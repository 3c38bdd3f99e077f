"""What it costs to start `lmsctl`, against the bare interpreter."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.figures import Figure, paired
from tests.support.documents import make_package, make_platform

_ROUNDS = 15


def timed(*arguments: str) -> Callable[[], float]:
    """What runs the interpreter with these arguments, and returns how many milliseconds that took."""

    def once() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-I", *arguments], check=True, capture_output=True)
        return (time.perf_counter() - began) * 1000

    once()  # compiles what is not compiled yet
    return once


def figures() -> Iterator[Figure]:
    """Help, and a look at a package."""
    bare = timed("-c", "pass")
    with TemporaryDirectory(prefix="lms-benchmark-") as folder:
        package = Path(folder) / "package.xml"
        platform = make_platform()
        package.write_bytes(platform.signed(make_package(platform)))
        for told, arguments in (("--help", ("--help",)), ("inspect FILE", ("inspect", str(package)))):
            ours = timed("-m", "lms.cli.main", *arguments)
            yield paired(f"lmsctl {told} / python3 -I -c pass", "ms", ours, bare, _ROUNDS)
