"""`lmsctl purge`, killed anywhere and run again: the same is gone, and what opens the keys is there all the time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lms.adapters.store.remains import remains
from lms.model.keys import DRSK_HANDLE
from tests.support.platform import OWNER_AUTH, Platform, lmsctl
from tests.support.proxy import CuttingProxy
from tests.support.victim import KILLED, LMSCTL

PARTS = 2
GOES = ("--archives", "--evict")


@pytest.fixture(scope="module")
def before(archived_machine, tmp_path_factory):
    """A machine that has registered something, keeps records of applications and has two packages; switched off."""
    directory = tmp_path_factory.mktemp("before")
    with Platform(directory, disk_of=archived_machine, tpm_of=archived_machine) as platform:
        platform.let_go()
        config = configured(platform)
        (directory / "data").write_bytes(b"data")
        where = ("--application", "luks", "--label", "disk", "--data", directory / "data")
        for words in (("register", *where), ("archive",)):
            assert lmsctl(*words, config=config).exit_code == 0
        (directory / "digits").write_text(lmsctl("purge", *GOES, config=config).json["confirm"])
    return directory


def configured(platform: Platform, tcti: str | None = None) -> Path:
    """The configuration, in two files, and what applications keep; below the machine's directory."""
    here = platform.directory
    for room in ("csp", "kernel", "luks/some-uuid"):
        (here / "applications" / room).mkdir(parents=True, exist_ok=True)
        (here / "applications" / room / "registered").write_bytes(b"digest")
    more = here / "lms.toml.d"
    more.mkdir(exist_ok=True)
    (more / "10-more.toml").write_text("restore_unasked = false\n")
    config = platform.write_config(
        tcti, recovery_directory=f'"{here}/boot"', applications_directory=f'"{here}/applications"'
    )
    config.write_text(config.read_text().replace("restore_unasked = false\n", ""))
    return config


class Bench:
    """Purges of copies of the machine; `act` is the service's part, or the whole of `lmsctl`."""

    def __init__(self, victims, before, directory) -> None:
        self.victims, self.before, self.directory = victims, before, directory
        self.runs = 0

    def run(self, act: str, *, die_at: int = 0, cut_at: int = 0) -> tuple[int, int] | None:
        """Purge, killed at a point or at a TPM command, and again with `lmsctl`; None where the kill was not reached.

        The numbers of points and of TPM commands.
        """
        self.runs += 1
        here = self.directory / f"run{self.runs}"
        with Platform(here, disk_of=self.before, tpm_of=self.before) as platform:
            for part in ("boot", "archive"):
                shutil.copytree(self.before / part, here / part, dirs_exist_ok=True)
            newest, name = platform.packages[-1], platform.state.require_drsk().name
            confirm = (self.before / "digits").read_text()
            platform.let_go()
            with CuttingProxy(platform.machine.path, self.victims.kill, cut_at) as proxy:
                code = self._purge(act, here, configured(platform, proxy.tcti), confirm, die_at)
                passed = self.victims.points.passed, proxy.commands
            if die_at or cut_at:
                if code != KILLED:
                    assert code == 0
                    return None
                assert newest.exists()
                if (here / "lms.toml").exists():
                    configured_again = platform.write_config(
                        recovery_directory=f'"{here}/boot"', applications_directory=f'"{here}/applications"'
                    )
                    code = lmsctl(*self._words(here, confirm), config=configured_again).exit_code
            elif act != LMSCTL:
                code = lmsctl(*self._words(here, confirm), config=here / "lms.toml").exit_code
            assert code == 0
            self._judge(platform, here, newest, name)
        shutil.rmtree(here)
        return passed

    def _words(self, here: Path, confirm: str) -> list[str]:
        (here / "owner-auth").write_bytes(OWNER_AUTH.reveal())
        return ["purge", "--confirm", confirm, *GOES, "--lose", "--owner-auth", f"{here}/owner-auth"]

    def _purge(self, act: str, here: Path, config: Path, confirm: str, die_at: int) -> int:
        words, options = self._words(here, confirm), {"confirm": confirm, "archives": True, "evict": True, "lose": True}
        (here / "words").write_text(json.dumps(words))
        (here / "options").write_text(json.dumps(options))
        files = {"owner-auth": here / "owner-auth", "options": here / "options", "answer": here / "answer"}
        self.victims.start(act, config, {"words": here / "words"} if act == LMSCTL else files, die_at)
        return self.victims.wait()

    def _judge(self, platform: Platform, here: Path, newest: Path, name: bytes) -> None:
        assert platform.key_at(DRSK_HANDLE) is None
        assert remains(platform.state_directory) == []
        assert {path.name for path in platform.state_directory.iterdir()} == {"package.xml", "lock"}
        assert {path.name for path in (here / "boot").iterdir()} == {"lms-package.xml"}
        assert platform.packages == [newest]
        assert list((here / "applications").iterdir()) == []
        assert not (here / "lms.toml").exists()
        assert not list((here / "lms.toml.d").iterdir())


@pytest.fixture
def bench(victims, before, tmp_path):
    return Bench(victims, before, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("act", ["purge", LMSCTL], ids=["the service's part", "the whole"])
def test_a_purge_that_is_killed_at_a_change_of_a_file_goes_on_when_run_again(bench, act):
    number = 1
    while bench.run(act, die_at=number):
        number += 1
    assert number > 4


@pytest.mark.slow
def test_a_purge_that_is_killed_at_a_tpm_command_goes_on_when_run_again(bench):
    _, commands = bench.run("purge")
    for cut_at in (1, commands // 2, commands):
        assert bench.run("purge", cut_at=cut_at)


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(PARTS))
def test_a_purge_can_be_killed_at_any_tpm_command(bench, part):
    _, commands = bench.run("purge")
    for cut_at in range(1 + part, commands + 1, PARTS):
        assert bench.run("purge", cut_at=cut_at)
