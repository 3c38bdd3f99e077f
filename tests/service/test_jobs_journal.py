"""What the journal keeps of jobs: enough to go on in another process, never a secret, no number twice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lms.adapters.store import JobFile
from lms.errors import BadRequest, FileProblem, LmsError, NoSuchJob, StateDamaged
from lms.model.jobs import TRANSITIONS, Job, JobLedger, JobRecord, JobResult, JobState
from lms.wire.record import read_record, write_record
from tests.support.jobs import Jobs
from tests.support.platform import OWNER_AUTH


def done(call, setting):
    """An act that has nothing to do."""
    return {"done": True}


def test_a_job_that_no_process_ran_runs_in_the_next(platform):
    idle = Jobs(platform, {"act": done})  # never started
    number = idle.submit("act", {"count": 3, "text": "ü", "flag": True})
    with Jobs(platform, {"act": lambda call, setting: {"count": call.number("count")}}) as jobs:
        assert jobs.settled(number).answer == {"count": 3}


def test_a_job_that_came_with_secrets_waits_for_them_again(provisioned):
    idle = Jobs(provisioned)
    number = idle.submit("enroll", {"destination": "token"}, owner_auth=OWNER_AUTH.reveal())
    with Jobs(provisioned) as jobs:
        job = jobs.runner.job(number)
        assert (job.state, job.waiting) == (JobState.WAITING, ("owner-auth",))
        assert "'owner-auth'" in job.message
        jobs.supply(number, "owner-auth", OWNER_AUTH.reveal())
        assert jobs.settled(number).result is JobResult.DONE
    assert provisioned.state.destinations


def test_two_restarts_later_it_still_waits_for_all_that_it_had(platform):
    idle = Jobs(platform, {"act": done})
    number = idle.submit("act", owner=b"document", owner_auth=b"secret")
    again = Jobs(platform, {"act": done})
    again.supply(number, "owner", b"document")
    again.submit("act")
    assert Jobs(platform, {"act": done}).runner.job(number).waiting == ("owner", "owner-auth")


def test_no_secret_is_in_the_journal(platform):
    with Jobs(platform, {"act": done}) as jobs:
        jobs.run("act", {"word": "seen"}, owner_auth=b"never seen", token_password=b"nor this")
        journal = (platform.state_directory / "jobs.json").read_bytes()
    assert b"seen" in journal
    assert b"never seen" not in journal
    assert b"nor this" not in journal
    assert (platform.state_directory / "jobs.json").stat().st_mode & 0o077 == 0


def test_finished_jobs_stay_over_a_restart_and_for_a_day(platform):
    with Jobs(platform, {"act": done}) as jobs:
        first = jobs.run("act")
    platform.now += timedelta(hours=23)
    with Jobs(platform, {"act": done}) as jobs:
        assert jobs.runner.job(first.number) == first
        jobs.run("act")
        platform.now += timedelta(hours=2)
        assert [job.number for job in jobs.runner.jobs()] == [2]
        with pytest.raises(NoSuchJob):
            jobs.runner.job(first.number)


def test_the_last_hundred_finished_jobs_stay(platform):
    with Jobs(platform, {"act": done}) as jobs:
        for _ in range(102):
            jobs.run("act")
        assert [job.number for job in jobs.runner.jobs()] == list(range(3, 103))
    assert len(jobs.journal.load().records) == 100


def test_a_number_never_means_two_jobs(platform):
    with Jobs(platform, {"act": done}) as jobs:
        assert jobs.run("act").number == 1
    platform.now += timedelta(days=2)
    with Jobs(platform, {"act": done}) as jobs:
        assert jobs.runner.jobs() == ()
        assert jobs.run("act").number == 2


def test_an_option_that_cannot_be_written_down_is_refused(platform):
    jobs = Jobs(platform, {"act": done})
    for refused in (b"bytes", "x" * 17_000):
        with pytest.raises(BadRequest):
            jobs.submit("act", {"option": refused})
    assert jobs.runner.jobs() == ()
    assert jobs.submit("act", {"option": "x" * 15_000}) == 1


def test_what_cannot_be_written_down_is_not_begun(platform):
    ran = []
    acts = {"act": lambda call, setting: ran.append(call) or {}}
    with Jobs(platform, acts) as jobs:
        blocked = platform.state_directory / ".jobs.json.new"
        blocked.mkdir()
        with pytest.raises(FileProblem):
            jobs.submit("act")
        assert jobs.runner.jobs() == ()
        assert not ran
        blocked.rmdir()
        assert jobs.run("act").result is JobResult.DONE
    assert len(ran) == 1


def test_a_journal_that_is_no_journal_is_refused(platform):
    assert JobFile(platform.state_directory).load() == JobLedger()
    (platform.state_directory / "jobs.json").write_text("{}")
    with pytest.raises(StateDamaged):
        Jobs(platform)


def test_a_ledger_reads_back(platform):
    job = Job(7, "archive", 1000, JobState.FINISHED, result=JobResult.DONE, answer={"a": [1, {"b": None}]})
    ledger = JobLedger(8, (JobRecord(job, {"text": "x"}, ("token",), platform.now),))
    assert read_record(JobLedger, write_record(ledger)) == ledger


@pytest.mark.parametrize("before", JobState)
@pytest.mark.parametrize("after", JobState)
def test_a_job_changes_only_as_the_table_says(before, after):
    job = Job(1, "archive", 0, before, waiting=("token",), message="old")
    if after in TRANSITIONS[before]:
        assert job.moved(after) == Job(1, "archive", 0, after)
    else:
        with pytest.raises(LmsError):
            job.moved(after)


def test_a_flood_of_finished_jobs_pushes_out_its_own(platform):
    def make(call, setting):
        call.offer("password", OWNER_AUTH)
        return {}

    with Jobs(platform, {"act": done, "make": make}) as jobs:
        mine = jobs.submit("make", uid=1000)
        jobs.settled(mine)
        flood = [jobs.submit("act", uid=1001) for _ in range(120)]
        jobs.settled(flood[-1])
        assert len(jobs.runner.jobs()) == 100
        assert jobs.runner.collect(mine, "password") == OWNER_AUTH
        with pytest.raises(NoSuchJob):
            jobs.runner.job(flood[0])


def test_a_job_that_waited_long_stays_as_long_as_others_when_it_ends(platform):
    def wait(call, setting):
        call.require("data")
        return {}

    with Jobs(platform, {"act": done, "wait": wait}) as jobs:
        waiting = jobs.submit("wait")
        jobs.settled(waiting)
        for _ in range(110):
            platform.now += timedelta(seconds=1)
            jobs.run("act")
        platform.now += timedelta(seconds=1)
        jobs.supply(waiting, "data", b"x")
        jobs.until(waiting, JobState.FINISHED)
        assert jobs.runner.job(waiting).result is JobResult.DONE
