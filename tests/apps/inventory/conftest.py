"""Files that other programs sealed to a TPM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from lms.model.keys import DRSK_HANDLE
from lms.wire.tpm.key_file import tss2_private_key
from tests.support.foreign import Foreign
from tests.support.swtpm import SoftwareTpm


@pytest.fixture(scope="session")
def stranger_tpm(tmp_path_factory):
    """A TPM that knows nothing of us."""
    tpm = SoftwareTpm(tmp_path_factory.mktemp("stranger-tpm")).start()
    yield tpm
    tpm.stop()
    tpm.remove()


@pytest.fixture(scope="session")
def programs(stranger_tpm, tmp_path_factory):
    """Other programs at that TPM."""
    return Foreign(stranger_tpm.tcti, tmp_path_factory.mktemp("foreign"))


@dataclass(frozen=True)
class Made:
    """Real files by what they are."""

    credential: Path
    unsealed: Path
    jwe: Path
    openssl: Path
    store: Path


@pytest.fixture(scope="session")
def made(programs):
    """One of each."""
    return Made(
        programs.credential("sealed"),
        programs.credential("unsealed", "tpm2-absent"),
        programs.jwe("secret.jwe"),
        programs.openssl_key("key.pem"),
        programs.store("store"),
    )


@pytest.fixture
def blob(child):
    """The kernel's blob of a sealed object below the recoverable key."""
    return tss2_private_key(child.public, child.private, DRSK_HANDLE, sealed=True).hex().encode()
