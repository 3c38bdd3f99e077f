"""Registering and retrieving as jobs of users: what is asked for, what is collected, what is written down."""

from __future__ import annotations

import pytest

from lms.errors import BadRequest, NotRegistered
from lms.model.jobs import JobResult, JobState
from lms.model.secret import Secret
from lms.names import OWNER_AUTH, USER_PASSWORD
from tests.support.jobs import Jobs
from tests.support.platform import OWNER_AUTH as GIVEN

VALUE = b"the passphrase of a volume"
PASSWORD = b"annas password"
PLACE = {"application": "mail", "label": "account"}
ANNA, BERT = 1000, 1001


@pytest.fixture
def jobs(archived):
    """A runner on the archived machine."""
    with Jobs(archived) as running:
        yield running


def test_a_users_item_goes_through_jobs_and_is_collected_once(jobs):
    job = jobs.settled(jobs.submit("register", PLACE, ANNA, data=VALUE))
    assert (job.state, job.waiting) == (JobState.WAITING, (USER_PASSWORD,))
    jobs.supply(job.number, USER_PASSWORD, PASSWORD)
    assert jobs.settled(job.number).answer == {
        "kind": "data", "owner": "1000:1000", "application": "mail", "label": "account", "changed": True,
    }  # fmt: skip
    job = jobs.settled(jobs.submit("retrieve", PLACE, ANNA))
    assert (job.state, job.waiting) == (JobState.WAITING, (USER_PASSWORD,))
    jobs.supply(job.number, USER_PASSWORD, PASSWORD)
    done = jobs.settled(job.number)
    assert done.answer["collect"] == ["data"]
    assert jobs.runner.collect(job.number, "data") == Secret(VALUE)
    with pytest.raises(BadRequest):
        jobs.runner.collect(job.number, "data")
    for file in jobs.platform.state_directory.rglob("*"):
        written = file.read_bytes() if file.is_file() else b""
        assert VALUE not in written
        assert PASSWORD not in written


def test_another_user_gets_and_sees_nothing(jobs):
    jobs.settled(jobs.submit("register", PLACE, ANNA, data=VALUE, user_password=PASSWORD))
    for place in (PLACE, PLACE | {"user": "1000:1000"}):
        job = jobs.settled(jobs.submit("retrieve", place, BERT, user_password=PASSWORD))
        assert (job.result, job.error) == (JobResult.FAILED, NotRegistered.__name__)
        assert jobs.settled(jobs.submit("unregister", place, BERT)).answer == {"changed": False}
    assert jobs.runner.ask("keys", {}, {}, BERT) == {"entries": []}
    assert {e["kind"] for e in jobs.runner.ask("keys", {}, {}, ANNA)["entries"]} == {"key", "data"}
    job = jobs.settled(jobs.submit("retrieve", PLACE, ANNA, user_password=PASSWORD))
    assert jobs.runner.collect(job.number, "data") == Secret(VALUE)


def test_a_system_item_waits_for_the_owner_authorisation(jobs):
    assert jobs.run("register", PLACE, password=VALUE).result is JobResult.DONE
    job = jobs.run("retrieve", PLACE)
    assert (job.state, job.waiting) == (JobState.WAITING, (OWNER_AUTH,))
    jobs.supply(job.number, OWNER_AUTH, GIVEN.reveal())
    assert jobs.settled(job.number).result is JobResult.DONE
    assert jobs.runner.collect(job.number, "password") == Secret(VALUE)


def test_a_leftover_of_a_crash_is_removed_when_the_runner_starts(archived):
    archived.store.keep_ciphertext(b"nobody names this")
    with Jobs(archived):
        assert list((archived.state_directory / "items").iterdir()) == []
