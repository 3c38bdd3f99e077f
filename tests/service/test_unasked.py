"""When `lmsd` begins a restore by itself, and when it leaves that to somebody."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from lms.adapters.store import JobFile
from lms.errors import Denied
from lms.model.jobs import Job, JobLedger, JobRecord, JobResult, JobState
from lms.service.jobs import JobRunner
from lms.service.unasked import ask_authorities
from tests.support.platform import Platform


@pytest.fixture
def lost(machines, archived_machine) -> Platform:
    """A machine with another board, whose keys an authority held."""
    platform = machines(disk_of=archived_machine)
    platform.store.save(replace(platform.state, to_enroll=(str(uuid4()),)))
    return platform


def begun(platform: Platform, *before: Job) -> list[str]:
    """The acts that begin by themselves, after these jobs."""
    journal = JobFile(platform.state_directory)
    journal.save(JobLedger(len(before) + 1, tuple(JobRecord(job, {}, finished_at=platform.now) for job in before)))
    runner = JobRunner(platform.setting, journal)  # it is not started: what begins stays queued
    ask_authorities(runner, 0)
    return [job.verb for job in runner.jobs() if job.number > len(before)]


def ended(error: str, verb: str = "restore") -> Job:
    return Job(1, verb, 0, JobState.FINISHED, result=JobResult.FAILED, error=error)


def test_a_machine_that_lost_its_keys_asks(lost):
    assert begun(lost) == ["restore"]


def test_one_that_has_them_does_not(archived):
    archived.store.save(replace(archived.state, to_enroll=(str(uuid4()),)))
    assert begun(archived) == []


def test_one_whose_key_was_evicted_puts_it_back_whoever_knows_it(archived):
    archived.evict()
    assert begun(archived) == ["restore"]


def test_one_that_has_nobody_to_ask_does_not(machines, archived_machine, platform):
    assert begun(machines(disk_of=archived_machine)) == []
    assert begun(platform) == []


def test_a_foreign_key_is_left_alone(archived):
    archived.store.save(replace(archived.state, to_enroll=(str(uuid4()),)))
    archived.evict()
    archived.place_foreign_key()
    assert begun(archived) == []


def test_a_restore_that_is_not_finished_is_enough(lost):
    assert begun(lost, Job(1, "restore", 0)) == []
    assert begun(lost, Job(1, "archive", 0)) == ["restore"]


def test_who_was_denied_does_not_ask_again(lost):
    assert begun(lost, ended(Denied.__name__)) == []
    assert begun(lost, ended("AuthorityFailed")) == ["restore"]


def test_a_tpm_that_is_not_there_ends_nothing(lost):
    lost.let_go()
    lost.machine.stop()
    assert begun(lost) == []
