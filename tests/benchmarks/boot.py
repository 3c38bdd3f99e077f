"""What a boot costs when nothing is wrong: one look at the TPM, against the start of the interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from lms.adapters.store import RecoveryDirectory
from lms.model.keys import DRSK_HANDLE, Name
from lms.model.recovery import RecoveryFacts
from tests.benchmarks.figures import Figure, Goal, paired
from tests.benchmarks.programs import timed
from tests.support.platform import Platform

_ROUNDS = 25
_AT_MOST_MS = 150


def figures() -> Iterator[Figure]:
    """The look at a software TPM, whose key is in its place."""
    with TemporaryDirectory(prefix="lms-benchmark-") as folder, Platform(Path(folder) / "machine") as machine:
        name = Name(machine.place_foreign_key())
        machine.let_go()
        RecoveryDirectory(Path(folder) / "boot").publish(RecoveryFacts(DRSK_HANDLE, name, uuid4()), b"", None)
        config = machine.write_config(recovery_directory=f'"{folder}/boot"')
        look = timed("-m", "lms.early", "--config", str(config))
        goal = Goal("ours", at_most=_AT_MOST_MS)
        yield paired("look at boot / python3 -I -c pass", "ms", look, timed("-c", "pass"), _ROUNDS, goal)
