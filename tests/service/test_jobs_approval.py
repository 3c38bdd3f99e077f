"""A restore through an authority as a job: it waits for its owner's approval, whatever the network does meanwhile."""

from __future__ import annotations

import pytest

from lms.model.jobs import JobResult, JobState
from lms.service.acts.restore import POLL_S
from tests.support.documents import NOW, PASSWORD, signed_token
from tests.support.jobs import Jobs
from tests.support.migration import BOTH_MODES, archived_at
from tests.support.opening import OpenedHere
from tests.support.platform import OWNER_AUTH, PRECIOUS, no_authority

_OPTIONS = {"unverified-tpm": True}


class Lost:
    """A board that needs its keys; `down` is the network between it and the authority."""

    def __init__(self, board, office, authority, child) -> None:
        self.board, self.office, self.authority, self.child, self.down = board, office, authority, child, False
        board.now = NOW
        board.connect = lambda *where: (no_authority if self.down else authority.connect)(*where)

    @property
    def approval(self) -> bytes:
        """The owner's answer to the request that waits."""
        return self.office.approve(self.board.store.load_pending().document)


@pytest.fixture(**BOTH_MODES)
def lost(tmp_path, machines, request):
    """The disk of a machine that had archived at an authority, in a new board."""
    with archived_at(request.param, tmp_path) as (machine, *kept):
        yield Lost(machines(disk_of=machine.directory), *kept)


def test_the_job_looks_for_the_approval_until_it_is_there(lost):
    with Jobs(lost.board) as jobs:
        job = jobs.run("restore", _OPTIONS, owner_auth=OWNER_AUTH.reveal())
        assert (job.state, job.waiting) == (JobState.WAITING, ("approval",))
        assert jobs.timers.delays == [POLL_S]
        jobs.timers.ring()
        assert jobs.settled(job.number).waiting == ("approval",)
        jobs.supply(job.number, "approval", lost.approval)
        assert jobs.settled(job.number).result is JobResult.DONE
    assert lost.board.unseal(lost.child) == PRECIOUS


def test_a_network_that_is_away_ends_no_job_that_waits_for_an_approval(lost):
    with Jobs(lost.board) as jobs:
        lost.down = True
        job = jobs.run("restore", _OPTIONS, owner_auth=OWNER_AUTH.reveal())
        assert (job.state, job.waiting) == (JobState.WAITING, ("approval",))
        assert "reach" in job.message
        lost.down = False
        jobs.timers.ring()
        job = jobs.settled(job.number)
        assert job.waiting == ("approval",)
        assert "reach" not in job.message
        jobs.supply(job.number, "approval", lost.approval)
        assert jobs.settled(job.number).result is JobResult.DONE
    assert lost.board.unseal(lost.child) == PRECIOUS


def test_an_approval_that_comes_while_the_network_is_away_is_kept(lost):
    with Jobs(lost.board) as jobs:
        job = jobs.run("restore", _OPTIONS, owner_auth=OWNER_AUTH.reveal())
        lost.down = True
        jobs.supply(job.number, "approval", lost.approval)
        assert jobs.settled(job.number).waiting == ("approval",)
        lost.down = False
        jobs.timers.ring()
        assert jobs.settled(job.number).result is JobResult.DONE
    assert lost.board.unseal(lost.child) == PRECIOUS


def test_the_token_is_opened_once_for_as_long_as_the_job_waits(lost, machines):
    """A wrong password is asked for again, and the right one is not tried at each look for the approval."""
    opened = []

    class Counting(OpenedHere):
        def vouch(self, owner) -> None:
            opened.append(owner)
            super().vouch(owner)

    bare, office = machines(), lost.office
    bare.now, bare.connect, bare.opener = NOW, lost.authority.connect, Counting
    given = {"token": signed_token(office.world), "sheet": office.sheets[lost.board.state.platform_id]}
    with Jobs(bare) as jobs:
        job = jobs.run("restore", _OPTIONS, owner_auth=OWNER_AUTH.reveal(), token_password=b"wrong", **given)
        assert job.waiting == ("token-password",)
        jobs.supply(job.number, "token-password", PASSWORD.reveal())
        assert jobs.settled(job.number).waiting == ("approval",)
        assert len(opened) == 2
        for _ in range(3):
            jobs.timers.ring()
            assert jobs.settled(job.number).waiting == ("approval",)
        assert len(opened) == 2
        request = bare.store.load_pending()
        annex = lost.authority.annex(request.request_id)
        jobs.supply(job.number, "approval", office.approve(request.document, annex))
        assert jobs.settled(job.number).result is JobResult.DONE
    assert bare.unseal(lost.child) == PRECIOUS


def test_after_a_restart_the_same_request_waits(lost):
    with Jobs(lost.board) as jobs:
        job = jobs.run("restore", _OPTIONS, owner_auth=OWNER_AUTH.reveal())
        request = lost.board.store.load_pending().document
    with Jobs(lost.board) as jobs:
        assert jobs.runner.job(job.number).waiting == ("owner-auth",)
        jobs.supply(job.number, "owner-auth", OWNER_AUTH.reveal())
        assert jobs.settled(job.number).waiting == ("approval",)
        assert lost.board.store.load_pending().document == request
        jobs.runner.cancel(job.number)
        assert jobs.settled(job.number).result is JobResult.CANCELED
        assert not jobs.timers.pending
