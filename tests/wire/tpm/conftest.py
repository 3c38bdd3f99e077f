"""One software TPM for all tests of `lms.wire.tpm`; they leave nothing behind in it."""

from __future__ import annotations

import pytest

from tests.support.swtpm import SoftwareTpm
from tests.wire.tpm.bench import Bench


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """A `Bench` on a fresh TPM."""
    machine = SoftwareTpm(tmp_path_factory.mktemp("wire") / "tpm").start()
    try:
        control = machine.path.with_name(f"{machine.path.name}.ctrl")
        if not control.exists():  # libtss2's own name for the control socket; the machine calls it `ctrl`
            control.symlink_to("ctrl")
        bench = Bench(machine.tcti)
        yield bench
        bench.tpm.close()
    finally:
        machine.remove()
