"""Machines at boot: a TPM from a maker, the recovery directory, a token, and somebody who types its password."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lms.adapters.store import RecoveryDirectory
from lms.model.keys import DRSK_HANDLE
from lms.model.recovery import RecoveryFacts
from tests.support.password_agent import PasswordAgent
from tests.support.platform import Platform, Said
from tests.support.swtpm import LocalCa, SoftwareTpm


@dataclass
class Booting:
    """A machine at boot; `agent` saw the questions that the last `look` asked, `tcti` is another way to its TPM."""

    platform: Platform
    boot: Path
    token: Path
    maker: LocalCa
    tcti: str | None = None
    agent: PasswordAgent = field(init=False)

    @property
    def config(self) -> Path:
        """Its configuration."""
        roots = f'["{self.maker.root}", "{self.maker.issuer}"]'
        place, boot = f'"{self.token}"', f'"{self.boot}"'
        return self.platform.write_config(self.tcti, ek_roots=roots, recovery_directory=boot, recovery_token=place)

    def look(self, *answers: bytes | None, **environment: str) -> Said:
        """Run `lms.early`, where somebody answers so."""
        self.platform.let_go()
        with PasswordAgent(self.platform.directory / "ask", *answers) as self.agent:
            command = self.agent.seen_by(sys.executable, "-I", "-m", "lms.early", "--config", self.config)
            done = subprocess.run(
                command, env=os.environ | environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
            )
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(scope="session")
def maker(tmp_path_factory) -> tuple[LocalCa, Path]:
    """The CA of a maker of TPMs, and one of its TPMs as it leaves the factory."""
    directory = tmp_path_factory.mktemp("maker")
    tpm = SoftwareTpm(directory / "tpm")
    ca = tpm.manufacture(directory / "ca")
    tpm.remove()
    return ca, directory


@pytest.fixture
def booting(tmp_path, archived_machine, maker, token) -> Iterator[Callable[..., Booting]]:
    """Makes machines that were archived: `booting()` on a new board, `booting(own=True)` on the one it had."""
    stack = ExitStack()

    def make(*, own: bool = False, published: bool = True) -> Booting:
        ca, new = maker
        platform = Platform(tmp_path / "machine", disk_of=archived_machine, tpm_of=archived_machine if own else new)
        stack.enter_context(platform)
        boot = tmp_path / "boot" / "lms"
        boot.parent.mkdir()
        state = platform.state
        if published:
            facts = RecoveryFacts(DRSK_HANDLE, state.require_drsk().name, state.package_id)
            RecoveryDirectory(boot).publish(facts, platform.store.load_package(), None)
        (tmp_path / "token.xml").write_bytes(token.document)
        return Booting(platform, boot, tmp_path / "token.xml", ca)

    with stack:
        yield make
