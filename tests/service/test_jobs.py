"""Jobs on a real TPM: what they wait for, what they hand out, and how they end."""

from __future__ import annotations

import pytest

from lms.errors import BadRequest, NoSuchJob
from lms.model.jobs import JobResult, JobState
from lms.model.secret import Secret
from lms.names import OWNER_AUTH
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


def test_an_act_runs_as_a_job_and_its_answer_is_kept(jobs, token, order):
    job = jobs.run("provision", order, owner=token.owner.document, owner_auth=GIVEN.reveal())
    assert (job.state, job.result) == (JobState.FINISHED, JobResult.DONE)
    assert job.answer["changed"]
    assert job.answer["platform"] == str(jobs.platform.state.platform_id)
    assert jobs.runner.job(job.number) == job
    assert [told.state.value for told in jobs.told if not told.progress] == ["queued", "running", "finished"]


def test_a_missing_document_is_waited_for(jobs, token, order):
    job = jobs.run("provision", order, owner_auth=GIVEN.reveal())
    assert (job.state, job.waiting) == (JobState.WAITING, ("owner",))
    jobs.supply(job.number, "owner", token.owner.document)
    assert jobs.settled(job.number).result is JobResult.DONE
    assert jobs.platform.tpm.owner_auth_is_set()


def test_no_such_act_and_no_such_job(jobs):
    with pytest.raises(BadRequest):
        jobs.submit("destroy")
    for asked in (jobs.runner.job, jobs.runner.cancel):
        with pytest.raises(NoSuchJob):
            asked(1)
    with pytest.raises(NoSuchJob):
        jobs.runner.supply(1, OWNER_AUTH, Secret(b"x"))
    with pytest.raises(NoSuchJob):
        jobs.runner.collect(1, OWNER_AUTH)


def test_a_wrong_owner_authorisation_is_forgotten_and_asked_for_again(provisioned):
    with Jobs(provisioned) as jobs:
        job = jobs.run("enroll", {"destination": "token"}, owner_auth=b"wrong")
        assert (job.state, job.waiting) == (JobState.WAITING, (OWNER_AUTH,))
        assert job.message
        assert job.hint
        jobs.supply(job.number, OWNER_AUTH, GIVEN.reveal())
        assert jobs.settled(job.number).result is JobResult.DONE
    assert provisioned.state.destinations


def test_three_wrong_owner_authorisations_end_a_job(provisioned):
    with Jobs(provisioned) as jobs:
        job = jobs.run("enroll", {"destination": "token"})
        assert job.waiting == (OWNER_AUTH,)
        for _ in range(3):
            assert job.state is JobState.WAITING
            jobs.supply(job.number, OWNER_AUTH, b"wrong")
            job = jobs.settled(job.number)
        assert (job.result, job.error) == (JobResult.FAILED, "OwnerAuthFailed")
        assert job.hint
    assert not provisioned.state.destinations
