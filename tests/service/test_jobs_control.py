"""Jobs that are canceled, that ask again, that try again; what one job gives or trusts is nothing to the next."""

from __future__ import annotations

from dataclasses import replace
from threading import Event, Thread

import pytest
from tpm2_pytss.constants import ESYS_TR

from lms.errors import BadRequest, LmsError, TpmBusy, TpmFailed
from lms.model.jobs import Awaiting, JobResult, JobState
from lms.model.secret import Secret
from lms.names import ENDORSEMENT_AUTH
from lms.service.acts import ACTS
from lms.service.jobs import BACKOFF_S
from lms.wire.tpm.public import Attributes, sealed_template
from tests.adapters.tpm.bench import plain_esapi
from tests.service.test_provision import assert_works
from tests.support.jobs import Jobs
from tests.support.platform import OWNER_AUTH as GIVEN

_HANGS_S = 60.0


class Held:
    """An act with two steps that stops before the second until it is let go."""

    def __init__(self) -> None:
        self.began, self.go, self.runs, self.ended = Event(), Event(), 0, 0

    def __call__(self, call, setting):
        self.runs += 1
        setting.step("first")
        self.began.set()
        assert self.go.wait(_HANGS_S)
        setting.step("second")
        self.ended += 1
        return {"runs": self.runs}


@pytest.fixture
def held():
    """The act `hold`."""
    return Held()


@pytest.fixture
def jobs(platform, held):
    """A runner that knows `hold` beside all others."""
    with Jobs(platform, {**ACTS, "hold": held}) as running:
        yield running


def test_one_act_runs_after_the_other_and_each_step_is_told(jobs, held):
    first, second = jobs.submit("hold"), jobs.submit("status")
    assert held.began.wait(_HANGS_S)
    assert jobs.runner.job(first).progress == "first"
    assert jobs.runner.job(second).state is JobState.QUEUED
    held.go.set()
    assert jobs.settled(second).result is JobResult.DONE
    assert jobs.runner.job(first).answer == {"runs": 1}
    assert [j.progress for j in jobs.told if j.number == first] == ["", "", "first", "second", ""]


def test_a_document_is_looked_at_beside_an_act_that_runs(jobs, held, token):
    number = jobs.submit("hold")
    assert held.began.wait(_HANGS_S)
    said = jobs.runner.ask("inspect", {}, {"token": token.document}, 1000)
    assert said == jobs.runner.ask("inspect", {}, {"token": token.document}, 0)
    assert jobs.runner.job(number).state is JobState.RUNNING
    held.go.set()
    assert jobs.settled(number).result is JobResult.DONE


def test_a_queued_job_that_is_canceled_never_runs(jobs, held):
    first = jobs.submit("hold")
    assert held.began.wait(_HANGS_S)
    second = jobs.submit("hold")
    jobs.runner.cancel(second)
    assert jobs.runner.job(second).result is JobResult.CANCELED
    held.go.set()
    assert jobs.settled(jobs.submit("status")).result is JobResult.DONE
    assert jobs.runner.job(first).result is JobResult.DONE
    assert held.runs == 1


def test_a_running_job_that_is_canceled_ends_before_its_next_step(jobs, held):
    number = jobs.submit("hold")
    assert held.began.wait(_HANGS_S)
    jobs.runner.cancel(number)
    assert jobs.runner.job(number).state is JobState.RUNNING
    held.go.set()
    job = jobs.settled(number)
    assert (job.result, job.error, job.answer) == (JobResult.CANCELED, None, {})
    assert held.ended == 0


def test_a_provision_that_is_canceled_between_its_steps_goes_on_when_asked_again(platform, token):
    options = {"fingerprint": token.fingerprint, "offline-token": True, "unverified-tpm": True}
    secrets = {"owner": token.owner.document, "owner_auth": GIVEN.reveal()}
    steps = []

    def canceled_at_a_new_step(call, setting):
        def step(text):
            if text not in steps:
                steps.append(text)
                jobs.runner.cancel(jobs.runner.jobs()[-1].number)
            setting.step(text)

        return ACTS["provision"](call, replace(setting, step=step))

    with Jobs(platform, {"provision": canceled_at_a_new_step}) as jobs:
        while jobs.run("provision", options, **secrets).result is JobResult.CANCELED:
            pass
        assert jobs.runner.jobs()[-1].result is JobResult.DONE
    assert len(steps) > 2
    platform.tpm.trust_salt(platform.state.srk_name)
    assert_works(platform)


def test_a_waiting_job_is_canceled_and_a_finished_one_is_not(jobs):
    number = jobs.run("restore", token_password=b"").number
    assert jobs.runner.job(number).waiting == ("token",)
    jobs.runner.cancel(number)
    assert jobs.settled(number).result is JobResult.CANCELED
    with pytest.raises(BadRequest, match="finished"):
        jobs.runner.cancel(number)
    with pytest.raises(BadRequest, match="does not wait"):
        jobs.supply(number, "token", b"")


def test_a_job_waits_until_it_has_all_words(jobs, token):
    number = jobs.run("restore", package=b"none").number
    assert jobs.runner.job(number).waiting == ("token", "token-password")
    jobs.supply(number, "token", token.document)
    assert jobs.settled(number).waiting == ("token-password",)
    with pytest.raises(BadRequest):
        jobs.supply(number, "token", token.document)
    jobs.supply(number, "token-password", token.password)
    job = jobs.settled(number)
    assert (job.result, job.error) == (JobResult.FAILED, "MalformedXml")


def test_a_stopped_runner_leaves_its_job_to_the_next(platform):
    held = Held()

    def wait(call, setting):
        raise Awaiting(("approval",), "the authority has not answered yet", poll_s=30.0)

    with Jobs(platform, {"hold": held, "wait": wait}) as jobs:
        jobs.run("wait")
        number = jobs.submit("hold")
        assert held.began.wait(_HANGS_S)
        stopping = Thread(target=jobs.runner.stop)
        stopping.start()
        assert jobs.timers.stopped.wait(_HANGS_S)
        held.go.set()
        stopping.join()
    assert held.ended == 0
    assert jobs.runner.job(number).state is JobState.QUEUED
    with Jobs(platform, {"hold": held}) as jobs:
        assert jobs.settled(number).answer == {"runs": 2}


def test_what_waits_for_an_approval_looks_again_when_its_time_has_come(platform):
    comes = iter([False, False, True])

    def approved(call, setting):
        if not next(comes):
            raise Awaiting(("approval",), "the authority has not answered yet", poll_s=30.0)
        return {"given": call.given("approval")}

    with Jobs(platform, {"wait": approved}) as jobs:
        job = jobs.run("wait")
        assert (job.waiting, jobs.timers.delays) == (("approval",), [30.0])
        jobs.timers.ring()
        assert jobs.settled(job.number).waiting == ("approval",)
        jobs.timers.ring()
        assert jobs.settled(job.number).answer == {"given": False}
        assert not jobs.timers.pending


def test_an_approval_that_is_supplied_ends_the_timer(platform):
    def approved(call, setting):
        if not call.given("approval"):
            raise Awaiting(("approval",), "the authority has not answered yet", poll_s=30.0)
        return {"approval": call.document("approval").decode()}

    with Jobs(platform, {"wait": approved}) as jobs:
        number = jobs.run("wait").number
        assert jobs.timers.pending == 1
        jobs.supply(number, "approval", b"yes")
        assert jobs.settled(number).answer == {"approval": "yes"}
        assert not jobs.timers.pending


def test_a_timer_that_rings_while_it_is_stopped_begins_nothing_anew(platform):
    runs = []

    def approved(call, setting):
        runs.append(call.given("approval"))
        if not call.given("approval"):
            raise Awaiting(("approval",), "the authority has not answered yet", poll_s=30.0)
        return {}

    with Jobs(platform, {"wait": approved, "status": ACTS["status"]}) as jobs:
        number = jobs.run("wait").number
        (late,) = jobs.timers.rings
        jobs.supply(number, "approval", b"yes")
        assert jobs.settled(number).result is JobResult.DONE
        late()
        assert jobs.run("status").result is JobResult.DONE
        assert jobs.runner.job(number).state is JobState.FINISHED
    assert runs == [False, True]


def test_a_busy_tpm_is_tried_again_a_few_times(platform):
    busy = [TpmBusy("cannot get a slot")] * 2

    def act(call, setting):
        if busy:
            raise busy.pop()
        return {}

    with Jobs(platform, {"act": act}) as jobs:
        number = jobs.submit("act")
        for _ in range(2):
            jobs.until(number, JobState.RUNNING)
            assert jobs.until(number, JobState.QUEUED).message
            jobs.timers.ring()
        assert jobs.settled(number).result is JobResult.DONE
        assert tuple(jobs.timers.delays) == BACKOFF_S[TpmBusy][:2]


def test_a_tpm_that_stays_busy_and_one_that_fails_end_a_job(platform):
    def fail(error):
        def act(call, setting):
            raise error

        return act

    acts = {"busy": fail(TpmBusy("cannot get a slot")), "failing": fail(TpmFailed("cannot go on"))}
    with Jobs(platform, acts) as jobs:
        assert jobs.run("failing").error == "TpmFailed"
        assert not jobs.timers.delays
        number = jobs.submit("busy")
        for _ in BACKOFF_S[TpmBusy]:
            jobs.until(number, JobState.RUNNING)
            jobs.until(number, JobState.QUEUED)
            jobs.timers.ring()
        job = jobs.settled(number)
        assert (job.error, job.hint) == ("TpmBusy", TpmBusy.hint)


def test_only_what_passes_by_itself_is_tried_again():
    assert all(kind.retry for kind in BACKOFF_S)


def test_a_defect_of_one_act_ends_its_job_only_and_tells_no_secret(platform, caplog):
    def broken(call, setting):
        raise ValueError(call.secret("owner-auth").reveal().decode())

    with Jobs(platform, {**ACTS, "broken": broken}) as jobs:
        job = jobs.run("broken", owner_auth=b"very secret")
        assert (job.result, job.error, job.hint) == (JobResult.FAILED, "LmsError", LmsError.hint)
        assert "very secret" not in repr(job) + caplog.text
        assert "in job 1, broken: ValueError" in caplog.text
        assert "in broken" in caplog.text  # where, for whoever reports it
        assert jobs.run("status").result is JobResult.DONE


def test_a_secret_that_an_act_made_is_collected_once_when_it_is_done(platform):
    def make(call, setting):
        call.offer("password", Secret(b"made"))
        return {}

    with Jobs(platform, {"make": make}) as jobs:
        number = jobs.run("make").number
        assert jobs.runner.collect(number, "password") == Secret(b"made")
        with pytest.raises(BadRequest):
            jobs.runner.collect(number, "password")


def test_an_endorsement_authorisation_serves_its_own_job_only(provisioned):
    provisioned.let_go()
    with plain_esapi(provisioned.machine.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.ENDORSEMENT, b"endorsed")
    options = {"destination": "msa"}
    with Jobs(provisioned) as jobs:
        assert jobs.run("enroll", options, endorsement_auth=b"endorsed").result is JobResult.DONE
        job = jobs.run("enroll", options)
        assert (job.state, job.waiting) == (JobState.WAITING, (ENDORSEMENT_AUTH,))
        jobs.supply(job.number, ENDORSEMENT_AUTH, b"endorsed")
        assert jobs.settled(job.number).result is JobResult.DONE


def test_an_act_knows_whose_job_it_runs(platform):
    def who(call, setting):
        return {"owner": call.caller.owner}

    with Jobs(platform, {"who": who}) as jobs:
        assert jobs.settled(jobs.submit("who", uid=0)).answer == {"owner": "system"}
        assert jobs.settled(jobs.submit("who", uid=1000)).answer == {"owner": "1000:1000"}


def test_what_a_user_entrusted_goes_back_to_that_user_only(provisioned):
    where = {"application": "mail", "label": "account"}
    with Jobs(provisioned) as jobs:
        number = jobs.submit("register", where, uid=1000, password=b"kept", user_password=b"hers")
        assert jobs.settled(number).result is JobResult.DONE
        number = jobs.submit("retrieve", where, uid=1000, user_password=b"not hers")
        assert jobs.settled(number).waiting == ("user-password",)
        jobs.supply(number, "user-password", b"hers")
        assert jobs.settled(number).answer["collect"] == ["password"]
        assert jobs.runner.collect(number, "password") == Secret(b"kept")
        stranger = jobs.submit("retrieve", where, uid=1001, user_password=b"hers")
        assert jobs.settled(stranger).result is JobResult.FAILED
        assert b"kept" not in (provisioned.state_directory / "jobs.json").read_bytes()


def test_what_one_act_trusted_is_nothing_to_the_next(provisioned):
    def careless(call, setting):
        secret = call.secret("data")
        setting.tpm.create(setting.drsk_handle, sealed_template(Attributes.USER_WITH_AUTH), auth=secret, data=secret)
        return {}

    def careful(call, setting):
        setting.tpm.trust_salt(setting.store.load().srk_name)
        return careless(call, setting)

    with Jobs(provisioned, {"careful": careful, "careless": careless}) as jobs:
        assert jobs.run("careful", data=b"secret").result is JobResult.DONE
        job = jobs.run("careless", data=b"secret")
        assert (job.result, job.error) == (JobResult.FAILED, "BadRequest")
        assert "verified" in job.message


@pytest.mark.parametrize("end", [Awaiting(("secret",), "lacks a secret"), BadRequest("cannot do this")])
def test_an_act_that_is_canceled_is_canceled_however_it_would_have_ended(platform, held, end):
    """It has no step between the cancellation and its end."""

    def ends(call, setting):
        held.began.set()
        assert held.go.wait(_HANGS_S)
        raise end

    with Jobs(platform, {**ACTS, "hold": ends}) as jobs:
        number = jobs.submit("hold")
        assert held.began.wait(_HANGS_S)
        jobs.runner.cancel(number)
        held.go.set()
        job = jobs.settled(number)
        assert (job.state, job.result, job.error) == (JobState.FINISHED, JobResult.CANCELED, None)
        other = jobs.settled(jobs.submit("hold"))
        assert other.result is not JobResult.CANCELED
