"""`provision` of a clone, and of a key that outlived its state: cut anywhere and run again, the end is the same."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, Algorithm
from lms.model.packages import ItemUsage
from lms.model.registered import ROOT
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.service.register import Where, register_item
from lms.service.setting import NO_SECRET
from lms.wire.tpm.policy import ADOPTED_OWNER_POLICY
from lms.wire.tpm.public import drsk_template
from tests.service.test_clones import files_of
from tests.support.platform import OWNER_AUTH, PRECIOUS, Platform
from tests.support.proxy import CuttingProxy
from tests.support.victim import KILLED, Victims

CASES = {
    "new-platform": {"new-platform": True},
    "adopt": {"adopt": True},
    "adopt a weaker one": {"adopt": True, "weaker": True},
}
SAMPLES = 5


@dataclass
class Bench:
    """Runs `provision` on copies of a machine: of its disk for a clone, of its TPM for an adoption."""

    victims: Victims
    machines: dict[str, Path]
    inputs: dict[str, dict[str, Path]]
    directory: Path
    children: dict[str, SealedObject]
    runs: int = 0

    def run(self, case: str, cut_at: int = 0, *, after: bool = False, die_at_file: int = 0) -> int:
        """Run to the cut, and again where it was cut: 0 where it was not, else the commands of the last run."""
        self.runs += 1
        directory, clone = self.directory / f"run{self.runs}", case == "new-platform"
        machine = self.machines[case]
        parts = {"disk_of": machine} if clone else {"tpm_of": machine}
        with Platform(directory, **parts) as platform:
            before = files_of(platform.state_directory)
            code, commands = self._once(platform, case, cut_at, after, die_at_file)
            if cut_at or die_at_file:
                if code != KILLED:
                    assert code == 0
                    return 0
                code, commands = self._once(platform, case, 0, False, 0)
            assert code == 0
            self._judge(platform, case, before if clone else None)
        shutil.rmtree(directory)
        return max(commands, 1)

    def _once(self, platform, case, cut_at, after, die_at_file) -> tuple[int, int]:
        with CuttingProxy(platform.machine.path, self.victims.kill, cut_at, after=after) as proxy:
            config = platform.write_config(tcti=proxy.tcti)
            self.victims.start("provision", config, self.inputs[case], die_at_file)
            return self.victims.wait(), proxy.commands

    def _judge(self, platform, case, before) -> None:
        state = platform.state
        drsk = state.require_drsk()
        assert platform.key_at() == drsk.name
        assert drsk.probe is not None
        if before is None:
            assert drsk.birth is None
            assert platform.unseal(self.children[case]) == PRECIOUS
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
def weaker(provisioned_machine, tmp_path_factory):
    """A machine whose key has the preset policy `owner`, switched off, and what hangs below that key."""
    directory = tmp_path_factory.mktemp("weaker")
    with Platform(directory, disk_of=provisioned_machine, tpm_of=provisioned_machine) as platform:
        platform.evict()
        platform.tpm.trust_salt(platform.state.srk_name)
        made = platform.tpm.create_certified(SRK_HANDLE, drsk_template(Algorithm.ECC_P256, ADOPTED_OWNER_POLICY))
        platform.tpm.persist(SRK_HANDLE, made.key, DRSK_HANDLE, OWNER_AUTH)
        child = platform.seal()
    return directory, child


@pytest.fixture(scope="module")
def inputs(token, tmp_path_factory):
    """What `provision` is given, in each case."""
    found = {}
    for case, said in CASES.items():
        directory = tmp_path_factory.mktemp("inputs")
        options = {"fingerprint": token.fingerprint, "offline-token": True, "unverified-tpm": True, **said}
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
def bench(machine, weaker, inputs, tmp_path, child):
    """Machines, and a server of acts."""
    victims = Victims()
    machines = dict(zip(CASES, (machine, machine, weaker[0]), strict=True))
    children = dict(zip(CASES, (child, child, weaker[1]), strict=True))
    yield Bench(victims, machines, inputs, tmp_path, children)
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
