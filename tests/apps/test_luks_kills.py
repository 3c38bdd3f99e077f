"""A verb that was killed at any point leaves a volume that opens, and the same verb again brings it to the same end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lms.apps.luks.checking import check
from lms.apps.luks.enrolling import enroll
from lms.apps.luks.token import Binding
from lms.service.setting import NO_SECRET
from tests.service.test_sealing import extend
from tests.support.platform import Platform
from tests.support.victim import KILLED, LUKS
from tests.support.volumes import PASSPHRASE, Acting, metadata, opens

VERBS = ("enroll", "reseal", "remove")
BOUND = (11,)
SAMPLES = 3
PARTS = 2


@pytest.fixture(scope="module")
def before(archived_machine, blank_volume, tmp_path_factory):
    """Machines that are switched off, each with its volume: one that was never enrolled, and one that is."""
    enrolled = tmp_path_factory.mktemp("enrolled")
    shutil.copy(blank_volume, enrolled / "volume")
    with Platform(enrolled, disk_of=archived_machine, tpm_of=archived_machine) as platform:
        person = lambda: PASSPHRASE  # noqa: E731
        enroll(Acting(platform), enrolled / "volume", enrolled / "apps", person, Binding(BOUND), NO_SECRET)
    fresh = tmp_path_factory.mktemp("fresh")
    shutil.copytree(archived_machine, fresh, dirs_exist_ok=True)
    shutil.copy(blank_volume, fresh / "volume")
    (fresh / "apps").mkdir()
    return {"enroll": fresh, "reseal": enrolled, "remove": enrolled}


class Bench:
    def __init__(self, victims, before, directory) -> None:
        self.victims, self.before, self.directory = victims, before, directory
        self.runs = 0

    def run(self, verb: str, die_at: int = 0) -> int:
        """Run a verb to its end, or kill it and run it again; how many points it has, 0 where it was not killed."""
        self.runs += 1
        start, here = self.before[verb], self.directory / f"run{self.runs}"
        with Platform(here, disk_of=start, tpm_of=start) as platform:
            shutil.copy(start / "volume", here / "volume")
            shutil.copytree(start / "apps", here / "apps")
            if verb == "reseal":
                extend(platform, BOUND[0])
            code = self._run(platform, verb, die_at)
            if die_at:
                if code != KILLED:
                    assert code == 0
                    return 0
                assert opens(here / "volume", PASSPHRASE)
                code = self._run(platform, verb, 0)
            assert code == 0
            points = self.victims.points.passed
            self._judge(platform, verb, here)
        shutil.rmtree(here)
        return points

    def _run(self, platform: Platform, verb: str, die_at: int) -> int:
        platform.let_go()
        order, here = platform.directory / "order", platform.directory
        said = {"verb": verb, "volume": str(here / "volume"), "directory": str(here / "apps"), "pcrs": BOUND}
        order.write_text(json.dumps(said))
        self.victims.start(LUKS, platform.write_config(), {"order": order}, die_at)
        return self.victims.wait()

    def _judge(self, platform: Platform, verb: str, here: Path) -> None:
        found = metadata(here / "volume")
        assert opens(here / "volume", PASSPHRASE, 0)
        labels = {entry.place.label for entry in platform.state.registry.entries if entry.place.application == "luks"}
        (records,) = (here / "apps" / "luks").iterdir()
        assert {file.name for file in records.iterdir()} == {"lock", "registered"}
        if verb == "remove":
            assert (set(found["keyslots"]), found["tokens"], labels) == ({"0"}, {}, set())
            return
        ((_, token),) = found["tokens"].items()
        (slot,) = token["keyslots"]
        assert set(found["keyslots"]) == {"0", slot}
        assert labels == {records.name, f"{records.name}:{slot}"}
        row = check(Acting(platform), here / "volume", here / "apps", lambda: NO_SECRET)
        assert (row["opens"], row["header-kept"]) == (True, True)


@pytest.fixture
def bench(victims, before, tmp_path):
    return Bench(victims, before, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_is_killed_goes_on_when_run_again(bench, verb):
    points = bench.run(verb)
    assert points > SAMPLES
    for sample in range(SAMPLES):
        assert bench.run(verb, 1 + (2 * sample + 1) * points // (2 * SAMPLES))


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_is_killed_anywhere_goes_on_when_run_again(bench, verb, part):
    for die_at in range(1 + part, bench.run(verb) + 1, PARTS):
        assert bench.run(verb, die_at)
