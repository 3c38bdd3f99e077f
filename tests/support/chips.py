"""TPMs whose state is frozen beside the vectors: boards to which something was released once and for all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lms.adapters.tpm import TpmDevice
from lms.model.keys import SRK_HANDLE, Algorithm
from lms.service.setting import NO_SECRET
from tests.support.swtpm import SoftwareTpm

STATES = Path(__file__).parents[1] / "vectors" / "states"
_KEPT = "tpm2-00.permall"


@contextmanager
def _running(directory: Path) -> Iterator[TpmDevice]:
    machine = SoftwareTpm(directory)
    try:
        with TpmDevice(machine.start().tcti) as tpm:
            yield tpm
        machine.stop()
    finally:
        machine.remove()


@contextmanager
def frozen_chip(label: str) -> Iterator[TpmDevice]:
    """A TPM in the state that is kept under a label; what it does is forgotten."""
    with tempfile.TemporaryDirectory() as name:
        shutil.copy(STATES / f"{label}.permall", Path(name, _KEPT))
        with _running(Path(name)) as tpm:
            yield tpm


def freeze_chip(label: str) -> None:
    """Make a TPM with an SRK, and keep its state under a label."""
    with tempfile.TemporaryDirectory() as name:
        with _running(Path(name)) as tpm:
            tpm.ensure_srk(SRK_HANDLE, Algorithm.ECC_P256, NO_SECRET)
        (STATES / f"{label}.permall").write_bytes(Path(name, _KEPT).read_bytes())
