"""`enroll msa` through an authority's queue, as a job: it waits for its owner's grant, whoever carries it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.errors import ApprovalPending, GrantMismatch, UntrustedSigner
from lms.model.authorities import Kind
from lms.model.jobs import JobResult, JobState
from lms.model.keys import digits
from lms.service.acts.restore import POLL_S
from lms.service.enrolment import request_enrolment
from lms.service.enrolment_by_authority import enroll_by_authority
from lms.service.keeping.enrolment import (
    accept_authority_grant,
    authority_request_id,
    request_authority_enrolment,
)
from lms.service.setting import NO_SECRET
from lms.wire.exchange_v1 import ENROLMENT_GRANT
from lms.wire.signature import sign
from tests.support.documents import NOW, make_owner
from tests.support.jobs import Jobs
from tests.support.migration import ADDRESS, BOTH_MODES, PLATFORM, Authority, Line, Office
from tests.support.platform import no_authority


class Asking:
    """A machine that nobody approved, and the authority of its owner; `down` is the network between."""

    def __init__(self, directory, machine, made=Authority) -> None:
        self.office, self.machine, self.down = Office(), machine, False
        self.authority = made(directory, self.office)
        machine.now = NOW
        machine.connect = lambda *where: (no_authority if self.down else self.authority.connect)(*where)
        machine.provision(self.office.token)
        self.options = {"destination": "msa", "via": ADDRESS, "id": str(self.authority.identity.ma_id)}

    def ask(self):
        """Once."""
        return enroll_by_authority(self.machine.setting, ADDRESS, self.authority.identity.ma_id, NO_SECRET)

    @property
    def waiting(self):
        """What waits in the owner's queue."""
        return self.authority.station.query(b"").requests

    def granted(self) -> bytes:
        """The owner's answer to what waits."""
        (listed,) = self.waiting
        request = self.authority.station.download(b"", Kind.ENROLMENT_REQUEST, listed.request_id.hex().upper())
        return self.office.grant(request, listed.request_id)

    def approve(self) -> None:
        """The owner approves what waits."""
        self.authority.station.upload(b"", self.granted())


@pytest.fixture(**BOTH_MODES)
def asking(tmp_path, platform, request):
    made = Asking(tmp_path, platform, request.param)
    yield made
    made.authority.close()


def test_the_job_looks_for_the_grant_until_it_is_there(asking):
    with Jobs(asking.machine) as jobs:
        job = jobs.run("enroll", asking.options)
        assert (job.state, job.waiting) == (JobState.WAITING, ("grant",))
        assert jobs.timers.delays == [POLL_S]
        assert digits(asking.waiting[0].request_id) in job.message
        jobs.timers.ring()
        assert jobs.settled(job.number).waiting == ("grant",)
        assert len(asking.waiting) == 1
        asking.approve()
        jobs.timers.ring()
        assert jobs.settled(job.number).result is JobResult.DONE
    assert asking.machine.state.enrolment is not None


def test_a_grant_that_comes_by_hand_ends_the_wait(asking):
    with Jobs(asking.machine) as jobs:
        job = jobs.run("enroll", asking.options)
        asking.down, grant = True, asking.granted()
        jobs.supply(job.number, "grant", grant)
        assert jobs.settled(job.number).result is JobResult.DONE
    assert asking.machine.state.enrolment is not None


def test_a_network_that_is_away_ends_no_job_that_waits_for_a_grant(asking):
    with Jobs(asking.machine) as jobs:
        asking.down = True
        job = jobs.run("enroll", asking.options)
        assert (job.state, "reach" in job.message) == (JobState.WAITING, True)
        assert digits(request_enrolment(asking.machine.setting)[1]) in job.message
        asking.down = False
        jobs.timers.ring()
        jobs.settled(job.number)
        asking.approve()
        jobs.timers.ring()
        assert jobs.settled(job.number).result is JobResult.DONE


def test_a_denial_ends_the_job_and_the_next_asks_anew(asking):
    with Jobs(asking.machine) as jobs:
        job = jobs.run("enroll", asking.options)
        (first,) = asking.waiting
        asking.authority.station.delete(b"", first.request_id.hex().upper())
        jobs.timers.ring()
        ended = jobs.settled(job.number)
        assert (ended.result, ended.error) == (JobResult.FAILED, "Denied")
        jobs.run("enroll", asking.options)
        assert len({r.request_id for r in asking.waiting}) == 2


def test_an_approved_platform_asks_nobody(asking):
    with pytest.raises(ApprovalPending):
        asking.ask()
    asking.approve()
    assert asking.ask()[1]
    asking.down = True
    assert asking.ask() == (asking.machine.state, False)


def test_where_several_owners_are_served_the_keys_policy_tells_whose_machine_it_is(asking):
    """Nobody's trust list knows a new machine; without this its request would wait in nobody's queue."""
    authority, other = asking.authority, Office(world=make_owner("another of this authority"))
    identity = authority.identity
    granted = other.grant(request_authority_enrolment(identity, NOW), authority_request_id(identity))
    with authority.vault.transaction() as transaction:
        accept_authority_grant(identity, authority.opens, transaction, granted, other.world.owner, NOW)
        assert len(transaction.owners()) == 2
    with pytest.raises(ApprovalPending):
        asking.ask()
    with authority.vault.transaction() as transaction:
        assert transaction.requests(other.world.owner.fingerprint) == ()
    asking.approve()
    assert asking.ask()[1]


class Lying(Line):
    """The line to an authority that hands out another grant than the owner gave."""

    grant = b""

    def download(self, session: bytes, kind: Kind, id: str, at_most: int | None = None) -> bytes:
        return self.grant if kind is Kind.ENROLMENT_GRANT else self._served.download(session, kind, id)


def test_the_grant_of_another_machine_or_owner_is_refused(asking, machines, tmp_path):
    other = machines()
    other.now = NOW
    other.provision(asking.office.token)
    theirs = asking.office.grant(*request_enrolment(other.setting))
    forged = replace(ENROLMENT_GRANT.read(theirs)[0], request_id=request_enrolment(asking.machine.setting)[1])
    by_stranger = sign(ENROLMENT_GRANT.write(forged), make_owner("stranger").signer)
    line = Lying(asking.authority, PLATFORM)
    asking.machine.connect = lambda *where: line
    for grant, error in ((theirs, GrantMismatch), (by_stranger, UntrustedSigner)):
        line.grant = grant
        with pytest.raises(error):
            asking.ask()
        assert asking.machine.state.enrolment is None
    line.grant = asking.granted()
    assert asking.ask()[1]
