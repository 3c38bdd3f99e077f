"""Every act is cut at TPM commands and at changes of files, and run again: the end is always the same.

The process is killed, the TPM goes on; then the act runs again on the same TPM and the same disk. `make test`
cuts at a sample; `make test-exhaustive` before every command. After a command and before the next one there is a
state of its own only where a file was changed in between, and every change of a file is a cut of `make test`.
"""

from __future__ import annotations

import json
import shutil

import pytest

from lms.model.packages import ItemUsage
from lms.model.registered import ROOT
from lms.model.secret import Secret
from lms.service.register import Where, register_item
from lms.service.retrieve import retrieve
from lms.service.setting import NO_SECRET
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.package_v1 import read_package
from tests.service.test_provision import assert_works
from tests.support.platform import OWNER_AUTH, PRECIOUS, Platform
from tests.support.proxy import CuttingProxy
from tests.support.victim import KILLED

ACTS = ("provision", "enroll", "archive", "restore", "register")
SAMPLES = {"provision": 10, "enroll": 8, "archive": 6, "restore": 6, "register": 4}
PARTS = 2  # of an exhaustive run, for more processors
_BEFORE = {
    "provision": None,
    "enroll": "provisioned",
    "archive": "enrolled",
    "restore": "archived",
    "register": "registered",
    "unregister": "registered",
}
DISK, VALUE = Where("luks", "disk"), Secret(b"the passphrase of a volume")


@pytest.fixture(scope="module")
def inputs(token, archived_machine, tmp_path_factory):
    """What an act is given, by words."""
    directory = tmp_path_factory.mktemp("inputs")
    (package,) = (archived_machine / "archive").glob("*/*.xml")
    options = {
        "fingerprint": token.fingerprint,
        "destination": "token",
        "offline-token": True,
        "unverified-tpm": True,
        "package-given": True,
        "application": DISK.application,
        "label": DISK.label,
        "confirm-key": read_package(package.read_bytes()).content.migrating_keys[0].key_id.digits,
    }
    contents = {
        "owner-auth": OWNER_AUTH.reveal(),
        "owner": token.owner.document,
        "token": token.document,
        "token-password": token.password,
        "package": package.read_bytes(),
        "password": VALUE.reveal(),
        "options": json.dumps(options).encode(),
        "answer": b"",
    }
    for word, content in contents.items():
        (directory / word).write_bytes(content)
    return {word: directory / word for word in contents}


@pytest.fixture(scope="module")
def before(provisioned_machine, archived_machine, tmp_path_factory):
    """Directories of switched-off machines on which an act can begin."""
    enrolled = tmp_path_factory.mktemp("enrolled")
    with Platform(enrolled, disk_of=provisioned_machine, tpm_of=provisioned_machine) as platform:
        platform.enroll()
    registered = tmp_path_factory.mktemp("registered")
    with Platform(registered, disk_of=archived_machine, tpm_of=archived_machine) as platform:
        register_item(platform.setting, ROOT, DISK, ItemUsage.DATA, Secret(b"the value before"), NO_SECRET)
    return {
        "provisioned": provisioned_machine,
        "enrolled": enrolled,
        "archived": archived_machine,
        "registered": registered,
        None: None,
    }


@pytest.fixture
def bench(victims, inputs, before, tmp_path, token, child):
    """Runs acts on copies of machines and judges the end."""
    return Bench(victims, inputs, before, tmp_path, token, child)


class Bench:
    def __init__(self, victims, inputs, before, directory, token, child) -> None:
        self.victims, self.inputs, self.before, self.directory = victims, inputs, before, directory
        self.token, self.child = token, child
        self.runs = 0

    def run(self, act, cut_at=0, *, after=False, die_at_file=0) -> int:
        """Run an act to its cut; if it was cut, run it again. 0 where the cut was never reached, else the number of
        commands of the last run, at least 1."""
        self.runs += 1
        directory = self.directory / f"run{self.runs}"
        start = self.before[_BEFORE[act]]
        # Restore: the old disk, a new TPM.
        tpm = None if act == "restore" else start
        with Platform(directory, disk_of=start, tpm_of=tpm) as platform:
            code, commands = self._run(platform, act, cut_at, after, die_at_file)
            if cut_at or die_at_file:
                if code != KILLED:
                    assert code == 0
                    return 0
                code, commands = self._run(platform, act, 0, False, 0)
            assert code == 0
            self._judge(platform, act)
        shutil.rmtree(directory)
        return max(commands, 1)

    def _run(self, platform, act, cut_at, after, die_at_file) -> tuple[int, int]:
        with CuttingProxy(platform.machine.path, self.victims.kill, cut_at, after=after) as proxy:
            self.victims.start(act, platform.write_config(tcti=proxy.tcti), self.inputs, die_at_file)
            return self.victims.wait(), proxy.commands

    def _judge(self, platform, act) -> None:
        state = platform.state
        platform.tpm.trust_salt(state.srk_name)
        assert_works(platform)
        assert len(state.destinations) == (act != "provision")
        if act in ("archive", "restore"):
            assert state.package_id is not None
            newest = platform.store.load_package()
            assert platform.packages[-1].read_bytes() == newest
            numbers = [read_package(p.read_bytes()).content.header.sequence for p in platform.packages]
            assert len(set(numbers)) == len(numbers)
            self._accept(state, newest)
        if act == "restore":
            assert platform.unseal(self.child) == PRECIOUS
        if act in ("register", "unregister"):
            self._judge_items(platform, act)

    def _judge_items(self, platform, act) -> None:
        """The new value or none is there, and no ciphertext that nobody names."""
        digests = platform.state.registry.digests
        assert len(digests) == (act == "register")
        assert {f.name for f in (platform.state_directory / "items").iterdir()} == {d.hex() for d in digests}
        if act == "register":
            assert retrieve(platform.setting, ROOT, DISK, OWNER_AUTH, NO_SECRET) == {"password": VALUE}

    def _accept(self, state, document) -> None:
        trust = PackageTrust(
            owner=self.token.owner,
            now=state.time_floor,
            platform_id=state.platform_id,
            parent=self.token.owner.recovery_key_name,
            highest_sequence=state.sequence,
            known_drsks=frozenset({state.require_drsk().name}),
        )
        content = accept_package(document, trust).content
        assert content.header.package_id == state.package_id
        assert content.migrating_keys[0].blobs[0].outer == state.destinations[0].outer


@pytest.mark.parametrize("act", ACTS)
def test_an_act_that_is_killed_at_a_tpm_command_goes_on_when_run_again(bench, act):
    commands, samples = bench.run(act), SAMPLES[act]
    assert commands > samples
    for number in range(samples):
        cut_at = 1 + number * (commands - 1) // (samples - 1)
        assert bench.run(act, cut_at, after=bool(number % 2))


@pytest.mark.parametrize("act", [*ACTS, "unregister"])
def test_an_act_that_is_killed_at_a_change_of_a_file_goes_on_when_run_again(bench, act):
    number = 1
    while bench.run(act, die_at_file=number):
        number += 1
    assert number > 1


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("act", ACTS)
def test_an_act_that_is_killed_at_any_tpm_command_goes_on_when_run_again(bench, act, part):
    commands, cut_at = bench.run(act), 1 + part
    while bench.run(act, cut_at):
        cut_at += PARTS
    assert cut_at > commands * 9 // 10  # one run in ten takes some commands more than others
