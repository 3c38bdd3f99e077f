"""`evm create` and `csp add`, killed at any change of a file: run again, no key is lost and nothing is half there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lms.apps.csp.listing import listed
from lms.apps.kernel.blobs import Master
from lms.apps.kernel.checking import check
from lms.apps.kernel.creating import create
from lms.apps.kernel.files import Files
from lms.apps.kernel.keyring import Evm
from tests.support.containers import make_pkcs12, signs
from tests.support.killed_verbs import PARTS, Verb
from tests.support.platform import Platform
from tests.support.volumes import Acting

VERBS = ("evm create, user", "evm create, trusted", "evm create, replace", "csp add, new", "csp add, brought")


@pytest.fixture(scope="module")
def verbs(archived_machine, tmp_path_factory):
    """Each verb with its machine: one that has no key of an application, or one with a key for EVM."""
    fresh, keyed = tmp_path_factory.mktemp("fresh"), tmp_path_factory.mktemp("keyed")
    for machine in (fresh, keyed):
        (machine / "ours/apps").mkdir(parents=True)
        (machine / "ours/keys").mkdir()
    shutil.copytree(archived_machine, fresh, dirs_exist_ok=True)
    with Platform(keyed, disk_of=archived_machine, tpm_of=archived_machine) as platform:
        create(Acting(platform), files(keyed / "ours"), Master.USER)
    before = files(keyed / "ours").evm(Master.USER).read_bytes()
    source = str(make_pkcs12(tmp_path_factory.mktemp("brought"), "EC"))

    def judge_replaced(platform: Platform, ours: Path) -> None:
        there = {path.name: path.read_bytes() for path in (ours / "keys").iterdir()}
        assert before in there.values()  # the old one, aside
        assert there["evm-user.blob"] != before
        judge_evm(platform, ours, Master.USER)

    def judge_old_stays(ours: Path) -> None:
        assert before in [path.read_bytes() for path in (ours / "keys").iterdir()]

    return {
        "evm create, user": Verb("evm create", fresh, judge_user, {"master": "user", "replace": False}),
        "evm create, trusted": Verb("evm create", fresh, judge_trusted, {"master": "trusted", "replace": False}),
        "evm create, replace": Verb(
            "evm create", keyed, judge_replaced, {"master": "user", "replace": True}, safe=judge_old_stays
        ),
        "csp add, new": Verb("csp add", fresh, judge_made, {"source": None}),
        "csp add, brought": Verb("csp add", fresh, judge_brought, {"source": source}),
    }


def files(ours: Path) -> Files:
    return Files(ours / "keys", ours / "apps")


def names(ours: Path) -> set[str]:
    return {path.name for path in (ours / "keys").iterdir()}


def registered(platform: Platform) -> list[tuple[str, str]]:
    return sorted((entry.place.application, entry.place.label) for entry in platform.state.registry.entries)


def judge_evm(platform: Platform, ours: Path, master: Master) -> None:
    """The one EVM key that is registered is in its file, and opens."""
    row = check(Acting(platform), files(ours), Evm(ours / "none"))
    assert (row["master"], row["opens"]) == (master.value, True)
    assert len(registered(platform)) == 2
    assert {path.name for path in (ours / "apps/kernel").iterdir()} == {"lock"}


def judge_user(platform: Platform, ours: Path) -> None:
    judge_evm(platform, ours, Master.USER)
    assert names(ours) == {"evm-user.blob"}


def judge_trusted(platform: Platform, ours: Path) -> None:
    judge_evm(platform, ours, Master.TRUSTED)
    assert names(ours) == {"evm-trusted.blob", files(ours).master.name}


def judge_made(platform: Platform, ours: Path) -> None:
    judge_container(platform, ours, {"web.pem"})


def judge_brought(platform: Platform, ours: Path) -> None:
    judge_container(platform, ours, {"web.pem", "web.pem.crt"})


def judge_container(platform: Platform, ours: Path, there: set[str]) -> None:
    """One key is registered for the file, it is in it, and OpenSSL signs with it."""
    (row,) = listed(Acting(platform))
    assert (row["path"], row["file"]) == (str(ours / "keys/web.pem"), "present")
    assert names(ours) == there
    assert len(registered(platform)) == len(there)
    platform.let_go()
    assert signs(platform, ours / "keys/web.pem")


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_is_killed_goes_on_when_run_again(bench, verbs, verb):
    assert all(bench.sampled(verbs[verb]))


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_is_killed_anywhere_goes_on_when_run_again(bench, verbs, verb, part):
    assert all(bench.everywhere(verbs[verb], part))
