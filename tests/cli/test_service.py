"""`lmsctl` and a real lmsd: the same answers and errors as without one, and a person who is asked."""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
from types import SimpleNamespace

import pytest

from lms.model.keys import digits
from lms.model.platform import Health
from lms.service.enroll import trust_list_of
from tests.support import migration
from tests.support.containers import certify
from tests.support.migration import BOTH_MODES_IN_TIME, archived_at
from tests.support.platform import OWNER_AUTH, PASSWORD, Platform, lmsctl
from tests.support.seat import Seat

AUTH = OWNER_AUTH.reveal().decode()


@pytest.fixture
def files(tmp_path, token, package):
    """What a person has on a medium."""
    contents = {
        "token": token.document,
        "owner": token.owner.document,
        "package": package,
        "password": token.password,
        "auth": OWNER_AUTH.reveal(),
        "wrong": b"wrong",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return SimpleNamespace(**{name: tmp_path / name for name in contents})


@pytest.fixture
def served(daemons, bus):
    """Puts lmsd before a machine: `served(platform)` has `daemon` and `config`."""

    def make(platform: Platform) -> SimpleNamespace:
        daemon = daemons(platform)
        return SimpleNamespace(daemon=daemon, config=platform.write_config(bus=f'"{bus.address}"'))

    return make


def jobs(config) -> list[dict]:
    """What `lmsctl jobs` lists."""
    return lmsctl("jobs", config=config).json["jobs"]


def asked(*more) -> tuple:
    """A restore with the token in a file."""
    return ("restore", "--unverified-tpm", *more)


QUESTIONS = [
    ("status",),
    ("keys",),
    ("packages",),
    ("authorities",),
    ("forget", "token"),
    ("forget", "no-such-thing"),
    ("forget", "0b9d8b2c-3b52-4d5e-9ad0-0a5b3d2c1e4f"),
    ("retrieve", "--application", "luks", "--label", "disk", "--output", "/nowhere/file"),
    ("enroll", "ma"),
    ("enroll", "token"),
]


def test_the_same_is_said_with_a_daemon_and_without_one(archived, served):
    archived.let_go()
    alone = [lmsctl(*question, config=archived.write_config()) for question in QUESTIONS]
    config = served(archived).config
    for question, before in zip(QUESTIONS, alone, strict=True):
        said = lmsctl(*question, config=config)
        answer = said.json
        if question == ("status",):
            assert answer.pop("jobs-waiting") == []
        assert (said.exit_code, answer, said.stderr) == (before.exit_code, before.json, before.stderr), question
    assert {said.exit_code for said in alone} == {0, 2, 7}
    assert {job["verb"] for job in jobs(config)} == {"forget", "retrieve", "enroll"}


def test_an_act_without_a_daemon_is_refused_while_there_is_one(archived, served):
    config = served(archived).config
    said = lmsctl("--no-daemon", "status", config=config)
    assert (said.exit_code, said.json["error"]) == (7, "Busy")
    said = lmsctl("jobs", "--no-daemon", config=config)
    assert (said.exit_code, said.json["error"]) == (2, "BadRequest")


def test_there_are_no_jobs_without_a_daemon(archived):
    archived.let_go()
    said = lmsctl("jobs", config=archived.write_config())
    assert (said.exit_code, said.json["error"]) == (7, "ServiceAbsent")


def test_a_wrong_secret_in_a_file_ends_the_job_as_it_ends_an_act(archived, served, files):
    archived.evict()
    archived.let_go()
    order = asked("--token", files.token, "--token-password", files.wrong, "--owner-auth", files.auth)
    alone = lmsctl(*order, config=archived.write_config())
    config = served(archived).config
    said = lmsctl(*order, config=config)
    assert (said.exit_code, said.json, said.stderr) == (alone.exit_code, alone.json, alone.stderr)
    assert (said.exit_code, said.json["error"]) == (3, "WrongPassword")
    assert [job["state"] for job in jobs(config)] == ["finished"]


def test_a_secret_that_nobody_can_be_asked_for_is_supplied_later(provisioned, served, files):
    config = served(provisioned).config
    said = lmsctl("enroll", "token", config=config)
    assert (said.exit_code, said.json["error"]) == (3, "OwnerAuthFailed")
    assert "job 1 waits for 'owner-auth'" in said.json["message"]
    assert "`lmsctl supply 1 owner-auth FILE`" in said.json["message"]
    waiting = {"job": 1, "verb": "enroll", "for": "owner-auth"}
    assert lmsctl("status", config=config).json["jobs-waiting"] == [waiting]
    (job,) = jobs(config)
    assert (job["state"], job["waiting"]) == ("waiting", ["owner-auth"])
    refused = lmsctl("supply", 1, "token", files.token, config=config)
    assert (refused.exit_code, refused.json["error"]) == (2, "BadRequest")
    assert lmsctl("supply", 2, "owner-auth", files.auth, config=config).json["error"] == "NoSuchJob"
    assert lmsctl("supply", 1, "owner-auth", files.auth, config=config).json == {"job": 1, "supplied": "owner-auth"}
    assert not lmsctl("enroll", "token", config=config).json["changed"]  # it was done in between, in its turn
    assert AUTH not in str(jobs(config))


def test_a_job_is_canceled(provisioned, served):
    config = served(provisioned).config
    lmsctl("enroll", "token", config=config)
    assert lmsctl("cancel", 1, config=config).json == {"job": 1, "changed": True}
    assert [(job["state"], job["result"]) for job in jobs(config)] == [("finished", "canceled")]
    assert lmsctl("cancel", 1, config=config).json["error"] == "BadRequest"


def test_what_was_registered_comes_back_by_the_service(archived, served, files, tmp_path):
    config = served(archived).config
    place = ("--application", "luks", "--label", "disk")
    assert lmsctl("register", *place, "--password", files.password, config=config).json["changed"]
    output = tmp_path / "back"
    said = lmsctl("retrieve", *place, "--output", output, "--owner-auth", files.auth, config=config)
    assert (said.exit_code, output.read_bytes()) == (0, PASSWORD)
    assert PASSWORD.decode() not in said.stdout + said.stderr + str(jobs(config))


def test_a_new_owner_authorisation_is_shown_once_and_set_when_it_is_kept(platform, served, token, files):
    config = served(platform).config
    order = ("provision", "--owner", files.owner, "--fingerprint", token.fingerprint, "--unverified-tpm")
    seat = Seat(*order, config=config)
    seat.until("shown this once: ")
    generated = seat.until("\r\n").strip()
    seat.until("press Enter when you have it: ")
    assert not lmsctl("status", config=config).json["owner-auth-set"]
    seat.type()
    seat.until("making the recoverable key")
    assert seat.end() == 0
    assert seat.shown.count(generated) == 1
    assert lmsctl("status", config=config).json["owner-auth-set"]
    assert generated not in str(jobs(config))


def test_a_new_owner_authorisation_is_supplied_later(platform, served, token, files):
    config = served(platform).config
    order = ("provision", "--owner", files.owner, "--fingerprint", token.fingerprint, "--unverified-tpm")
    said = lmsctl(*order, config=config)
    assert (said.exit_code, said.json["error"]) == (2, "JobWaits")
    seat = Seat("supply", 1, "owner-auth", config=config)
    seat.until("shown this once: ")
    generated = seat.until("\r\n").strip()
    seat.until("press Enter when you have it: ")
    seat.type()
    assert seat.end() == 0
    files.auth.write_text(generated)
    assert lmsctl(*order, "--owner-auth", files.auth, config=config).exit_code == 0
    assert lmsctl("status", config=config).json["owner-auth-set"]


def test_a_new_owner_authorisation_is_collected_by_who_has_no_terminal(platform, served, token, files, tmp_path):
    config = served(platform).config
    order = ("provision", "--owner", files.owner, "--fingerprint", token.fingerprint, "--unverified-tpm")
    said = lmsctl(*order, config=config)
    how = "`lmsctl collect 1 owner-auth FILE`, keep FILE, then `lmsctl supply 1 owner-auth FILE`"
    assert how in said.json["message"]
    collect = ("collect", 1, "owner-auth")
    assert lmsctl(*collect, files.auth, config=config).json["error"] == "FileExists"
    kept = tmp_path / "kept"
    assert lmsctl(*collect, kept, config=config).json == {"job": 1, "collected": "owner-auth", "file": str(kept)}
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert lmsctl(*collect, tmp_path / "again", config=config).json["error"] == "BadRequest"
    assert not (tmp_path / "again").exists()
    assert lmsctl("supply", 1, "owner-auth", kept, config=config).exit_code == 0
    assert lmsctl(*order, "--owner-auth", kept, config=config).exit_code == 0
    assert lmsctl("status", config=config).json["owner-auth-set"]


def test_an_empty_list_is_told_to_a_person_and_empty_for_a_program(provisioned, served):
    config = served(provisioned).config
    for verb, listed, words in (
        ("jobs", "jobs", "there are no jobs"),
        ("keys", "entries", "nothing is registered"),
        ("packages", "packages", "`lmsctl archive` makes one"),
        ("authorities", "authorities", "no Migration Authority is known"),
    ):
        said = lmsctl(verb, config=config)
        assert (said.exit_code, said.json, said.stderr) == (0, {listed: []}, "")
        said = lmsctl(verb, config=config, as_json=False)
        assert (said.exit_code, said.stdout) == (0, "")
        assert said.stderr.startswith("lmsctl: ")
        assert words in said.stderr


def test_a_person_is_asked_for_what_a_job_lacks_and_again_where_it_was_wrong(archived, served, files):
    archived.evict()
    config = served(archived).config
    seat = Seat(*asked("--token", files.token), config=config)
    seat.until("token password: ")
    seat.type("wrong")
    seat.until("owner authorisation: ")
    seat.type(AUTH)
    seat.until("cannot open")
    seat.until("token password: ")
    seat.type(PASSWORD)
    seat.until("was:            drsk-absent")
    assert seat.end() == 0
    for secret in (AUTH, PASSWORD.decode()):
        assert secret not in seat.shown


@pytest.fixture(**BOTH_MODES_IN_TIME)
def switched_off(request, tmp_path, monkeypatch):
    """The directory of a machine that has archived at an authority, which is away."""
    monkeypatch.setattr(migration, "ADDRESS", "https://127.0.0.1:1")
    with archived_at(request.param, tmp_path) as (machine, *_):
        yield machine.directory


@pytest.fixture
def lost(switched_off, machines):
    """Its disk in a new board."""
    return machines(disk_of=switched_off)


def test_a_job_that_waits_for_an_approval_shows_its_digits_and_goes_on_alone(lost, served, files):
    config = served(lost).config
    seat = Seat(*asked("--owner-auth", files.auth), config=config)
    said = seat.until("Ctrl-C leaves it")
    assert digits(lost.store.load_pending().request_id) in said
    assert "`lmsctl supply 1 approval FILE`" in said
    seat.interrupt()
    seat.until("job 1 goes on without you: `lmsctl jobs` shows it, `lmsctl cancel 1` ends it")
    assert seat.end() == 130
    (job,) = jobs(config)
    assert job["state"] != "finished"
    assert lmsctl("cancel", 1, config=config).exit_code == 0


def test_a_job_that_waited_for_the_person_who_left_is_canceled(provisioned, served):
    config = served(provisioned).config
    seat = Seat("enroll", "token", config=config)
    seat.until("owner authorisation: ")
    seat.interrupt()
    seat.until("job 1 is canceled, because it waited for you; the same command begins it anew")
    assert seat.end() == 130
    (job,) = jobs(config)
    assert (job["state"], job["result"]) == ("finished", "canceled")


def test_who_leaves_a_step_of_something_larger_leaves_all_of_it(provisioned, served, tmp_path):
    config, key = served(provisioned).config, tmp_path / "key.pem"
    assert lmsctl("csp", "add", key, config=config).exit_code == 0
    certificate = certify(provisioned, key, tmp_path / "key.pem.crt")
    assert lmsctl("csp", "add", key, config=config).exit_code == 0
    certificate.unlink()
    seat = Seat("csp", "export", str(key), config=config)
    seat.until("owner authorisation: ")
    seat.interrupt()
    assert "goes on" not in seat.until("running the same command again goes on where this one stopped")[:-60]
    assert seat.end() == 130
    assert not certificate.exists()


def test_a_request_is_written_for_who_carries_it_by_hand(lost, served, files, tmp_path):
    output = tmp_path / "request"
    order = asked("--owner-auth", files.auth, "--request-to", output)
    config = served(lost).config
    said = lmsctl(*order, config=config)
    pending = lost.store.load_pending()
    assert said.json == {"waiting": "approval", "request": digits(pending.request_id), "job": 1}
    assert output.read_bytes() == pending.document
    unattended = lmsctl(*order[:-2], config=config)
    assert (unattended.exit_code, unattended.json["error"]) == (5, "AuthorityUnreachable")
    assert digits(pending.request_id) in unattended.json["message"]


def test_a_daemon_that_goes_away_is_told(provisioned, served):
    machine = served(provisioned)
    seat = Seat("enroll", "token", config=machine.config)
    assert "cannot" not in seat.until("owner authorisation: ")
    machine.daemon.stop(signal.SIGKILL)
    seat.type(AUTH)
    seat.until("lmsctl: hint: ")
    assert seat.end() == 7


def test_a_daemon_that_goes_away_before_its_answer_is_told(archived, served):
    machine = served(archived)
    os.kill(machine.daemon.pid, signal.SIGSTOP)
    seat = Seat("status", config=machine.config)
    seat.until("waiting for the TPM…")
    machine.daemon.stop(signal.SIGKILL)
    seat.until("cannot go on: lmsd went away before it answered")
    assert seat.end() == 7


@pytest.mark.parametrize("end", ["daemon", "bus"])
def test_who_waits_hears_that_it_went_away(lost, served, files, bus, end):
    machine = served(lost)
    seat = Seat(*asked("--owner-auth", files.auth), config=machine.config)
    seat.until("Ctrl-C leaves it")
    if end == "daemon":
        machine.daemon.stop(signal.SIGKILL)
        seat.until("cannot follow the job: lmsd went away")
    else:
        bus.stop()
        seat.until("cannot follow the job: the bus went away")
    seat.until("an unfinished job goes on when lmsd is back")
    assert seat.end() == 7


def test_a_bus_that_hangs_up_is_no_absent_bus(archived, tmp_path):
    archived.let_go()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "bus"))
        listening.listen()
        thread = threading.Thread(target=lambda: listening.accept()[0].close())
        thread.start()
        said = lmsctl("status", config=archived.write_config(bus=f'"unix:path={tmp_path}/bus"'))
        thread.join()
    assert (said.exit_code, said.json["error"]) == (7, "BusUnavailable")


@pytest.mark.parametrize("with_daemon", [True, False])
def test_a_tpm_that_takes_its_time_is_waited_for_aloud(archived, served, with_daemon):
    archived.let_go()
    config = served(archived).config if with_daemon else archived.write_config()
    archived.machine.freeze()
    seat = Seat("status", config=config)
    seat.until("waiting for the TPM…")
    archived.machine.thaw()
    seat.until("at-risk")
    assert seat.end() == 0


def test_a_forgotten_destination_is_in_no_further_package(switched_off, machines, served):
    machine = machines(disk_of=switched_off, tpm_of=switched_off)
    (authority,) = (d.identity for d in machine.state.destinations)
    config = served(machine).config
    refused = lmsctl("forget", authority, config=config)
    assert (refused.exit_code, refused.json["error"]) == (7, "LastDestination")
    done = lmsctl("forget", authority, "--last", config=config).json
    assert (done["changed"], "destinations" in done and done["destinations"]) == (True, [])
    assert not lmsctl("forget", authority, config=config).json["changed"]
    assert lmsctl("archive", config=config).json["error"] == "NothingEnrolled"
    assert machine.state.health is Health.CREATED
    (known,) = lmsctl("authorities", config=config).json["authorities"]
    (listed,) = trust_list_of(machine.state).authorities
    mode = listed.mode.value
    assert (known["id"], known["mode"], known["combined"], known["enrolled"]) == (authority, mode, False, False)
