"""A verb that was killed at any point leaves a volume that opens, and the same verb again brings it to the same end."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lms.apps.luks.checking import check
from lms.apps.luks.enrolling import enroll
from lms.apps.luks.token import Binding
from lms.service.setting import NO_SECRET
from tests.service.test_sealing import extend
from tests.support.killed_verbs import PARTS, Verb
from tests.support.platform import Platform
from tests.support.volumes import PASSPHRASE, Acting, metadata, opens, person

VERBS = ("enroll", "reseal", "remove")
BOUND = (11,)


@pytest.fixture(scope="module")
def verbs(archived_machine, blank_volume, tmp_path_factory):
    """Each verb with its volume: one that was never enrolled, or one that is."""
    fresh, enrolled = tmp_path_factory.mktemp("fresh"), tmp_path_factory.mktemp("enrolled")
    for ours in (fresh / "ours", enrolled / "ours"):
        (ours / "apps").mkdir(parents=True)
        shutil.copy(blank_volume, ours / "volume")
    shutil.copytree(archived_machine, fresh, dirs_exist_ok=True)
    with Platform(enrolled, disk_of=archived_machine, tpm_of=archived_machine) as platform:
        ours = enrolled / "ours"
        enroll(Acting(platform), ours / "volume", ours / "apps", person, Binding(BOUND), NO_SECRET)
    return {
        "enroll": Verb("luks enroll", fresh, judge_enrolled, {"pcrs": BOUND}, safe=opens_for_a_person),
        "reseal": Verb("luks reseal", enrolled, judge_enrolled, prepare=change_pcr, safe=opens_for_a_person),
        "remove": Verb("luks remove", enrolled, judge_removed, safe=opens_for_a_person),
    }


def change_pcr(platform: Platform) -> None:
    extend(platform, BOUND[0])


def opens_for_a_person(ours: Path) -> None:
    assert opens(ours / "volume", PASSPHRASE)


def judge_removed(platform: Platform, ours: Path) -> None:
    found = metadata(ours / "volume")
    assert (set(found["keyslots"]), found["tokens"], labels_and_records(platform, ours)[0]) == ({"0"}, {}, set())


def judge_enrolled(platform: Platform, ours: Path) -> None:
    found = metadata(ours / "volume")
    labels, uuid = labels_and_records(platform, ours)
    ((_, token),) = found["tokens"].items()
    (slot,) = token["keyslots"]
    assert set(found["keyslots"]) == {"0", slot}
    assert labels == {uuid, f"{uuid}:{slot}"}
    row = check(Acting(platform), ours / "volume", ours / "apps", lambda: NO_SECRET)
    assert (row["opens"], row["header-kept"]) == (True, True)


def labels_and_records(platform: Platform, ours: Path) -> tuple[set[str], str]:
    """What is registered, and the volume's directory, in which nothing is left; a person's slot is as it was."""
    assert opens(ours / "volume", PASSPHRASE, 0)
    (records,) = (ours / "apps" / "luks").iterdir()
    assert {file.name for file in records.iterdir()} == {"lock", "registered"}
    entries = platform.state.registry.entries
    return {entry.place.label for entry in entries if entry.place.application == "luks"}, records.name


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_is_killed_goes_on_when_run_again(bench, verbs, verb):
    assert all(bench.sampled(verbs[verb]))


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_is_killed_anywhere_goes_on_when_run_again(bench, verbs, verb, part):
    assert all(bench.everywhere(verbs[verb], part))
