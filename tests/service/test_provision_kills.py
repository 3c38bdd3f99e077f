"""`provision` of a clone, and of a key that outlived its state: cut anywhere and run again, the end is the same."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from lms.model.packages import ItemUsage
from lms.model.registered import ROOT
from lms.model.secret import Secret
from lms.service.register import Where, register_item
from lms.service.setting import NO_SECRET
from tests.service.test_clones import files_of
from tests.support.platform import OWNER_AUTH, PRECIOUS, Platform
from tests.support.proxy import CuttingProxy
from tests.support.victim import KILLED, Victims

CASES = ("new-platform", "adopt")
SAMPLES = 5


@dataclass
class Bench:
    """Runs `provision` on copies of a machine: of its disk for a clone, of its TPM for an adoption."""

    victims: Victims
    machine: Path
    inputs: dict[str, dict[str, Path]]
    directory: Path
    child: object
    runs: int = 0

    def run(self, case: str, cut_at: int = 0, *, after: bool = False, die_at_file: int = 0) -> int:
        """Run to the cut, and again where it was cut: 0 where it was not, else the commands of the last run."""
        self.runs += 1
        directory, clone = self.directory / f"run{self.runs}", case == "new-platform"
        parts = {"disk_of": self.machine} if clone else {"tpm_of": self.machine}
        with Platform(directory, **parts) as platform:
            before = files_of(platform.state_directory)
            code, commands = self._once(platform, case, cut_at, after, die_at_file)
            if cut_at or die_at_file:
                if code != KILLED:
                    assert code == 0
                    return 0
                code, commands = self._once(platform, case, 0, False, 0)
            assert code == 0
            self._judge(platform, before if clone else None)
        shutil.rmtree(directory)
        return max(commands, 1)

    def _once(self, platform, case, cut_at, after, die_at_file) -> tuple[int, int]:
        with CuttingProxy(platform.machine.path, self.victims.kill, cut_at, after=after) as proxy:
            config = platform.write_config(tcti=proxy.tcti)
            self.victims.start("provision", config, self.inputs[case], die_at_file)
            return self.victims.wait(), proxy.commands

    def _judge(self, platform, before) -> None:
        state = platform.state
        drsk = state.require_drsk()
        assert platform.key_at() == drsk.name
        assert drsk.probe is not None
        if before is None:
            assert drsk.birth is None
            assert platform.unseal(self.child) == PRECIOUS
        else:
            assert drsk.birth is not None
            (aside,) = (platform.state_directory / "before").iterdir()
            assert files_of(aside) == before
            assert aside.name != str(state.platform_id)
            assert files_of(platform.state_directory).keys() == {"state.json"}


@pytest.fixture(scope="module")
def machine(archived_machine, tmp_path_factory):
    """A machine with an item, switched off."""
    directory = tmp_path_factory.mktemp("machine")
    with Platform(directory, disk_of=archived_machine, tpm_of=archived_machine) as platform:
        register_item(platform.setting, ROOT, Where("luks", "disk"), ItemUsage.DATA, Secret(b"value"), NO_SECRET)
    return directory


@pytest.fixture(scope="module")
def inputs(token, tmp_path_factory):
    """What `provision` is given, in each case."""
    found = {}
    for case in CASES:
        directory = tmp_path_factory.mktemp(case)
        options = {"fingerprint": token.fingerprint, "offline-token": True, "unverified-tpm": True, case: True}
        contents = {
            "owner-auth": OWNER_AUTH.reveal(),
            "owner": token.owner.document,
            "options": json.dumps(options).encode(),
            "answer": b"",
        }
        for word, content in contents.items():
            (directory / word).write_bytes(content)
        found[case] = {word: directory / word for word in contents}
    return found


@pytest.fixture
def bench(machine, inputs, tmp_path, child):
    """Machines, and a server of acts."""
    victims = Victims()
    yield Bench(victims, machine, inputs, tmp_path, child)
    victims.close()


@pytest.mark.parametrize("case", CASES)
def test_killed_at_a_tpm_command(bench, case):
    commands = bench.run(case)
    assert commands > SAMPLES
    for number in range(SAMPLES):
        assert bench.run(case, 1 + number * (commands - 1) // (SAMPLES - 1), after=bool(number % 2))


@pytest.mark.parametrize("case", CASES)
def test_killed_at_a_change_of_a_file(bench, case):
    number = 1
    while bench.run(case, die_at_file=number):
        number += 1
    assert number > 1


@pytest.mark.exhaustive
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("case", CASES)
def test_killed_at_any_tpm_command(bench, case, after):
    for cut_at in range(1, bench.run(case) + 1):
        assert bench.run(case, cut_at, after=after)
