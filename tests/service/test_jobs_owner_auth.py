"""The generated owner authorisation: in its owner's hands before it is in the TPM, and on no disk."""

from __future__ import annotations

import math

import pytest

from lms.errors import BadRequest
from lms.model.jobs import JobResult, JobState
from lms.model.secret import Secret
from lms.names import OWNER_AUTH
from lms.service.acts.owner_auth import generated_owner_auth
from tests.support.jobs import Jobs
from tests.support.platform import OWNER_AUTH as GIVEN


@pytest.fixture
def jobs(platform):
    """A runner on a new machine."""
    with Jobs(platform) as running:
        yield running


@pytest.fixture
def order(token):
    """Options of `provision`."""
    return {"fingerprint": token.fingerprint, "offline-token": True, "unverified-tpm": True}


@pytest.fixture
def waiting(jobs, token, order):
    """A job that waits for its owner to take the generated value."""
    job = jobs.run("provision", order, owner=token.owner.document)
    assert (job.state, job.waiting) == (JobState.WAITING, (OWNER_AUTH,))
    return job.number


def assert_opens(platform, owner_auth: Secret) -> None:
    """This is the TPM's owner authorisation."""
    platform.tpm.trust_salt(platform.state.srk_name)
    platform.enroll(owner_auth)


def test_a_generated_value_has_128_bits_fits_a_tpm_and_can_be_typed():
    values = {generated_owner_auth().reveal() for _ in range(50)}
    assert len(values) == 50
    for value in values:
        assert len(value) <= 32
        characters = value.decode("ascii").replace("-", "")
        assert set(characters) <= set("abcdefghijklmnopqrstuvwxyz234567")
        assert len(characters) * math.log2(32) >= 128
    assert {len({value[place] for value in values}) > 1 for place in range(31) if place % 8 != 7} == {True}


def test_nothing_changes_before_the_owner_has_it(jobs, waiting):
    assert not jobs.platform.tpm.owner_auth_is_set()
    value = jobs.runner.collect(waiting, OWNER_AUTH)
    assert not jobs.platform.tpm.owner_auth_is_set()
    assert jobs.platform.store.load() is None
    jobs.runner.supply(waiting, OWNER_AUTH, value)
    assert jobs.settled(waiting).result is JobResult.DONE
    assert jobs.platform.tpm.owner_auth_is_set()
    assert_opens(jobs.platform, value)


def test_none_is_generated_for_what_is_refused(jobs, token, order):
    """Nobody writes down what never counts."""
    unproven = {word: value for word, value in order.items() if word != "unverified-tpm"}
    for options, error in ((unproven, "EkUntrusted"), (order | {"fingerprint": "A" * 16}, "FingerprintDiffers")):
        job = jobs.run("provision", options, owner=token.owner.document)
        assert (job.result, job.error) == (JobResult.FAILED, error)
    assert jobs.run("provision", order, owner=token.owner.document).waiting == (OWNER_AUTH,)


def test_it_is_handed_out_once(jobs, waiting):
    value = jobs.runner.collect(waiting, OWNER_AUTH)
    with pytest.raises(BadRequest, match="collected already"):
        jobs.runner.collect(waiting, OWNER_AUTH)
    jobs.runner.supply(waiting, OWNER_AUTH, value)
    jobs.settled(waiting)
    with pytest.raises(BadRequest):
        jobs.runner.collect(waiting, OWNER_AUTH)


def test_a_value_other_than_the_collected_one_is_not_set(jobs, waiting):
    value = jobs.runner.collect(waiting, OWNER_AUTH)
    with pytest.raises(BadRequest, match="not the one"):
        jobs.runner.supply(waiting, OWNER_AUTH, Secret(value.reveal()[:-1]))
    assert jobs.runner.job(waiting).state is JobState.WAITING
    jobs.runner.supply(waiting, OWNER_AUTH, value)
    assert jobs.settled(waiting).result is JobResult.DONE


def test_an_own_value_may_be_supplied_instead(jobs, waiting):
    jobs.runner.supply(waiting, OWNER_AUTH, GIVEN)
    assert jobs.settled(waiting).result is JobResult.DONE
    assert_opens(jobs.platform, GIVEN)


def test_an_empty_value_leaves_the_tpm_without(jobs, waiting):
    jobs.supply(waiting, OWNER_AUTH, b"")
    assert jobs.settled(waiting).result is JobResult.DONE
    assert not jobs.platform.tpm.owner_auth_is_set()
    assert jobs.run("status").answer["owner-auth-set"] is False


def test_another_run_of_a_finished_provision_asks_for_nothing(jobs, waiting, token, order):
    jobs.supply(waiting, OWNER_AUTH, b"")
    jobs.settled(waiting)
    again = jobs.run("provision", order, owner=token.owner.document)
    assert again.result is JobResult.DONE
    assert not again.answer["changed"]


def test_it_is_on_no_disk_of_ours(jobs, waiting):
    value = jobs.runner.collect(waiting, OWNER_AUTH)
    jobs.runner.supply(waiting, OWNER_AUTH, value)
    jobs.settled(waiting)
    files = [path for path in jobs.platform.state_directory.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"jobs.json", "state.json"}
    assert not [path for path in files if value.reveal() in path.read_bytes()]


def test_after_a_restart_the_collected_value_still_serves(platform, token, order):
    with Jobs(platform) as jobs:
        number = jobs.run("provision", order).number
        jobs.supply(number, "owner", token.owner.document)
        assert jobs.settled(number).waiting == (OWNER_AUTH,)
        value = jobs.runner.collect(number, OWNER_AUTH)
    with Jobs(platform) as jobs:
        assert jobs.runner.job(number).waiting == ("owner",)
        jobs.supply(number, "owner", token.owner.document)
        assert jobs.settled(number).waiting == (OWNER_AUTH,)
        jobs.runner.supply(number, OWNER_AUTH, value)
        assert jobs.settled(number).result is JobResult.DONE
    assert_opens(platform, value)


def test_a_restore_on_a_new_tpm_hands_one_out_as_well(machines, archived_machine, token, child):
    platform = machines(disk_of=archived_machine)
    options = {"unverified-tpm": True}
    with Jobs(platform) as jobs:
        job = jobs.run("restore", options, token=token.document, token_password=token.password)
        assert job.waiting == (OWNER_AUTH,)
        assert jobs.platform.key_at() is None
        value = jobs.runner.collect(job.number, OWNER_AUTH)
        jobs.runner.supply(job.number, OWNER_AUTH, value)
        job = jobs.settled(job.number)
        assert job.answer["changed"]
        again = jobs.run("restore", options, token=token.document, token_password=token.password)
        assert (again.result, again.answer["changed"]) == (JobResult.DONE, False)
    assert platform.tpm.owner_auth_is_set()
    assert platform.unseal(child)


def test_a_wrong_token_password_is_asked_for_again(machines, archived_machine, token, child):
    platform = machines(disk_of=archived_machine)
    secrets = {"token": token.document, "token_password": b"another", "owner_auth": GIVEN.reveal()}
    with Jobs(platform) as jobs:
        job = jobs.run("restore", {"unverified-tpm": True}, **secrets)
        assert (job.state, job.waiting) == (JobState.WAITING, ("token-password",))
        jobs.supply(job.number, "token-password", token.password)
        assert jobs.settled(job.number).result is JobResult.DONE
    assert platform.unseal(child)
