"""A process that runs jobs is killed at each change of a file, the journal's among them, and started again.

Nothing is lost: the job ends as it would have, the owner holds the TPM's owner authorisation. Nothing runs
twice in a harmful way: one job, one platform, no two packages with one number.
"""

from __future__ import annotations

import json
import shutil

import pytest

from lms.adapters.store import JobFile
from lms.model.jobs import JobResult
from lms.model.secret import Secret
from lms.wire.package_v1 import read_package
from tests.service.test_provision import assert_works
from tests.support.platform import OWNER_AUTH, Platform
from tests.support.proxy import CuttingProxy
from tests.support.victim import JOBS, KILLED

_SAMPLES = 6


@pytest.fixture(scope="module")
def enrolled_machine(provisioned_machine, tmp_path_factory):
    """A machine that can archive, switched off."""
    directory = tmp_path_factory.mktemp("enrolled")
    with Platform(directory, disk_of=provisioned_machine, tpm_of=provisioned_machine) as platform:
        platform.enroll()
    return directory


@pytest.fixture
def bench(victims, provisioned_machine, enrolled_machine, tmp_path, token):
    """Runs jobs on copies of machines and judges the end."""
    before = {"provision": None, "enroll": provisioned_machine, "archive": enrolled_machine}
    return Bench(victims, before, tmp_path, token)


class Bench:
    def __init__(self, victims, before, directory, token) -> None:
        self.victims, self.before, self.directory, self.runs = victims, before, directory, 0
        options = {"fingerprint": token.fingerprint, "offline-token": True, "unverified-tpm": True}
        self.options = {"provision": options, "enroll": {"destination": "token"}, "archive": {}}
        self.given = {"provision": ["owner"], "enroll": ["owner-auth"], "archive": []}
        contents = {"provision": {"owner": token.owner.document}, "enroll": {"owner-auth": OWNER_AUTH.reveal()}}
        self.files = {}
        for verb, words in contents.items():
            for word, content in words.items():
                (directory / word).write_bytes(content)
                self.files.setdefault(verb, {})[word] = str(directory / word)

    def run(self, verb, *, die_at_file=0, cut_at=0) -> int | None:
        """Run a job to its cut, and again where it was cut.

        The number of TPM commands of the last run; None where there was no cut to make.
        """
        self.runs += 1
        directory = self.directory / f"run{self.runs}"
        start = self.before[verb]
        with Platform(directory, disk_of=start, tpm_of=start) as platform:
            order = {"verb": verb, "options": self.options[verb], "files": self.files.get(verb, {})}
            order |= {"given": self.given[verb], "kept": str(directory / "kept")}
            (directory / "order").write_text(json.dumps(order))
            code, commands = self._start(platform, die_at_file, cut_at)
            if die_at_file or cut_at:
                if code != KILLED:
                    assert code == 0
                    return None
                code, commands = self._start(platform, 0, 0)
            assert code == 0
            self._judge(platform, verb)
        shutil.rmtree(directory)
        return commands

    def _start(self, platform, die_at_file, cut_at) -> tuple[int, int]:
        with CuttingProxy(platform.machine.path, self.victims.kill, cut_at, after=bool(cut_at % 2)) as proxy:
            config = platform.write_config(tcti=proxy.tcti)
            self.victims.start(JOBS, config, {"order": platform.directory / "order"}, die_at_file)
            return self.victims.wait(), proxy.commands

    def _judge(self, platform, verb) -> None:
        (record,) = JobFile(platform.state_directory).load().records
        assert (record.job.number, record.job.result) == (1, JobResult.DONE)
        state = platform.state
        platform.now = state.time_floor
        platform.tpm.trust_salt(state.srk_name)
        assert_works(platform)
        assert len(state.destinations) == (verb != "provision")
        numbers = [read_package(path.read_bytes()).content.header.sequence for path in platform.packages]
        assert len(numbers) == len(set(numbers))
        if verb == "provision":
            # What the owner was handed is what the TPM asks for.
            assert platform.tpm.owner_auth_is_set()
            platform.enroll(Secret((platform.directory / "kept").read_bytes()))
        if verb == "archive":
            assert state.archived == numbers[-1]


@pytest.mark.parametrize("verb", ["provision", "enroll", "archive"])
def test_a_job_that_is_killed_at_a_change_of_a_file_goes_on_in_the_next_process(bench, verb):
    number = 1
    while bench.run(verb, die_at_file=number) is not None:
        number += 1
    assert number > 4


@pytest.mark.parametrize("verb", ["provision", "enroll", "archive"])
def test_a_job_that_is_killed_at_a_tpm_command_goes_on_in_the_next_process(bench, verb):
    commands = bench.run(verb)
    for number in range(_SAMPLES):
        assert bench.run(verb, cut_at=1 + number * (commands - 1) // (_SAMPLES - 1)) is not None
