"""An authority is made in a TPM, killed on the way at TPM commands and changes of files, and made again: one vault.

What the first run wrote down before it died is what the second one goes on with; nobody was asked to approve keys
that are lost.
"""

from __future__ import annotations

import json
import shutil

import pytest

from lms.adapters.store import AuthorityDirectory
from lms.adapters.tpm import TpmDevice
from lms.model.keys import VAULT_HANDLE, digits
from lms.service.keeping.chip import ChipVaultKey, chip_opener
from lms.service.keeping.enrolment import authority_request_id
from lms.service.setting import NO_SECRET
from lms.wire.enrolment import read_authority_enrolment
from lms.wire.tpm.credential import make_credential
from lms.wire.tpm.public import name_of
from tests.support.authority import ADDRESS, Place
from tests.support.platform import OWNER_AUTH
from tests.support.proxy import CuttingProxy
from tests.support.swtpm import SoftwareTpm
from tests.support.victim import AUTHORITY, KILLED

SAMPLES = 10


@pytest.fixture
def bench(victims, tmp_path):
    return Bench(victims, tmp_path)


class Bench:
    """Runs `init` on new machines and judges the end."""

    def __init__(self, victims, directory) -> None:
        self.victims, self.directory, self.runs = victims, directory, 0
        self.auth = directory / "owner-auth"
        self.auth.write_bytes(OWNER_AUTH.reveal())

    def run(self, cut_at=0, *, after=False, die_at_file=0) -> int:
        """Run `init` to its cut; if it was cut, run it again. 0 where the cut was never reached, else the number of
        commands of the last run."""
        self.runs += 1
        directory = self.directory / f"run{self.runs}"
        place, machine = Place(directory), SoftwareTpm(directory / "tpm").start()
        try:
            code, commands = self._init(place, machine, cut_at, after, die_at_file)
            if cut_at or die_at_file:
                if code != KILLED:
                    assert code == 0
                    return 0
                code, commands = self._init(place, machine, 0, False, 0)
            assert code == 0
            self._judge(place, machine)
        finally:
            machine.remove()
        shutil.rmtree(directory)
        return commands

    def _init(self, place, machine, cut_at, after, die_at_file) -> tuple[int, int]:
        words = ["init", "--address", ADDRESS, "--output", str(place.request), "--unverified-tpm"]
        order = place.directory / "words"
        order.write_text(json.dumps([*words, "--owner-auth", str(self.auth)]))
        with CuttingProxy(machine.path, self.victims.kill, cut_at, after=after) as proxy:
            self.victims.start(AUTHORITY, place.configure(proxy.tcti), {"words": order}, die_at_file)
            return self.victims.wait(), proxy.commands

    def _judge(self, place, machine) -> None:
        identity = AuthorityDirectory(place.state).load()
        asked = read_authority_enrolment(place.request.read_bytes())
        assert digits(asked.request_id) == digits(authority_request_id(identity))
        assert asked.authority.vault == identity.vault
        with TpmDevice(machine.tcti) as tpm:
            assert tpm.read_public(VAULT_HANDLE) == identity.vault
            assert ChipVaultKey(tpm, identity).public == identity.vault
            tpm.certify(VAULT_HANDLE, None, identity.chip.vault_auth)
            opens = chip_opener(tpm, identity, NO_SECRET)
            assert opens(make_credential(asked.ek, b"k" * 32, name_of(identity.chip.ak))).reveal() == b"k" * 32


def test_killed_at_a_tpm_command_it_goes_on_when_run_again(bench):
    commands = bench.run()
    assert commands > SAMPLES
    for number in range(SAMPLES):
        cut_at = 1 + number * (commands - 1) // (SAMPLES - 1)
        assert bench.run(cut_at, after=bool(number % 2))


def test_killed_at_a_change_of_a_file_it_goes_on_when_run_again(bench):
    number = 1
    while bench.run(die_at_file=number):
        number += 1
    assert number > 1


@pytest.mark.exhaustive
def test_killed_at_any_tpm_command_it_goes_on_when_run_again(bench):
    for cut_at in range(1, bench.run() + 1):
        assert bench.run(cut_at)
