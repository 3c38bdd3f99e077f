"""The real `lmsd` and `lms-authority` are killed at any point of an act; after the next start the end is the same.

An uncut run counts the points: each TPM command, each change of a directory (the journal's among them), each step of
the authority's store. `make test-slow` cuts at a sample, `make test-exhaustive` at all.
"""

from __future__ import annotations

import pytest

from tests.support.cutting import ACTS, Cut

# How many points of an act are cut: spread over the run, its very end left out.
SAMPLES = {
    ("provision", Cut.COMMAND): 3,
    ("provision", Cut.FILE): 2,
    ("certify", Cut.COMMAND): 2,
    ("certify", Cut.FILE): 2,
    ("enroll_token", Cut.FILE): 1,
    ("enroll_authority", Cut.COMMAND): 1,
    ("enroll_authority", Cut.FILE): 2,
    ("register", Cut.COMMAND): 1,
    ("register", Cut.FILE): 2,
    ("archive", Cut.COMMAND): 1,
    ("archive", Cut.FILE): 3,
    ("archive", Cut.STATEMENT): 2,
    ("restore_by_token", Cut.COMMAND): 1,
    ("restore_by_token", Cut.FILE): 3,
    ("restore_by_token", Cut.STATEMENT): 2,
    ("restore_by_authority", Cut.COMMAND): 2,
    ("restore_by_authority", Cut.FILE): 2,
    ("restore_by_authority", Cut.STATEMENT): 2,
    ("put_back", Cut.COMMAND): 2,
    ("put_back", Cut.FILE): 3,
    ("put_back", Cut.STATEMENT): 1,
}
CHIP_SAMPLES = {("restore_by_authority", Cut.REWRAP): 1, ("put_back", Cut.REWRAP): 1}


def named(value) -> str:
    return value.name.lower() if isinstance(value, Cut) else str(value)


def spread(points: int, samples: int) -> list[int]:
    """So many of the numbers from 1 to `points`."""
    return [1 + (2 * number + 1) * points // (2 * samples + 1) for number in range(samples)]


@pytest.mark.slow
@pytest.mark.parametrize(("act", "cut"), SAMPLES, ids=named)
def test_an_act_whose_process_is_killed_ends_as_if_it_had_not_been(software, act, cut):
    for number in spread(software.uncut(act).surely[cut], SAMPLES[act, cut]):
        assert software.cut(act, cut, number)


@pytest.mark.slow
@pytest.mark.parametrize(("act", "cut"), CHIP_SAMPLES, ids=named)
def test_so_it_does_where_the_authority_has_its_vault_in_a_tpm(chip, act, cut):
    for number in spread(chip.uncut(act).surely[cut], CHIP_SAMPLES[act, cut]):
        assert chip.cut(act, cut, number)


_PARTS = 4


def everywhere(bench, act, cut, part) -> None:
    """Cut at each point, until a run passes the point's number uncut; the parts are for more processors.

    Who waits asks again and again, some runs more often than others: a tenth of the points may be such questions.
    """
    number = 1 + part
    while bench.cut(act, cut, number):
        number += _PARTS
    assert number > bench.uncut(act).surely[cut] * 9 // 10


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(_PARTS))
@pytest.mark.parametrize("cut", [Cut.COMMAND, Cut.FILE, Cut.STATEMENT], ids=named)
@pytest.mark.parametrize("act", ACTS)
def test_an_act_can_be_killed_anywhere(software, act, cut, part):
    everywhere(software, act, cut, part)


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(_PARTS))
@pytest.mark.parametrize("cut", [Cut.STATEMENT, Cut.REWRAP], ids=named)
@pytest.mark.parametrize("act", ["archive", "restore_by_authority", "put_back"])
def test_so_it_can_where_the_authority_has_its_vault_in_a_tpm(chip, act, cut, part):
    everywhere(chip, act, cut, part)
