"""A station looks into the queues of its owner's authorities, approves and denies: every program as it is run."""

from __future__ import annotations

import re
import stat
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from lms.adapters.store import StationDirectory
from lms.model.station import StationIdentity
from lms.model.trust import Identity, Mode, Role, Withdrawal
from lms.wire.certificates import identity_of, issue, issued_by_owner
from lms.wire.exchange_v1 import TRUST_LIST
from lms.wire.signature import sign
from lms.wire.station import read_station_request
from lms.wire.trust_list import read_trust_list
from tests.support.documents import make_owner
from tests.support.platform import OWNER_AUTH, lmsctl
from tests.support.seat import Seat
from tests.support.station import Serving, Station, provisioned

pytestmark = pytest.mark.slow

DIGITS = re.compile("[A-Z2-7]{4}(-[A-Z2-7]{4}){3}")
LONG_AGO = datetime(2020, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module", params=Mode, ids=[mode.value for mode in Mode])
def mode(request):
    """Of the authority."""
    return request.param


@pytest.fixture(scope="module")
def station(mode, tmp_path_factory):
    return Station(tmp_path_factory.mktemp("owner") / "desk")


@pytest.fixture(scope="module")
def serving(station, mode, tmp_path_factory):
    """An authority that serves, and the station that is enrolled with the owner of both."""
    with Serving(tmp_path_factory.mktemp("authority") / "ma", station, mode) as running:
        station.enrolled()
        yield running


@pytest.fixture
def machine(machines, station):
    """A machine of the owner that nobody approved yet, and its configuration."""
    made = machines()
    return made, provisioned(made, station)


@pytest.fixture
def auth(tmp_path):
    path = tmp_path / "auth"
    path.write_bytes(OWNER_AUTH.reveal())
    return path


def ask(serving, config):
    """`lmsctl enroll msa` through the authority."""
    return lmsctl("enroll", "msa", "--via", serving.address, "--id", serving.ma_id, config=config)


def shown(said) -> str:
    """The digits that a machine shows which waits."""
    assert (said.exit_code, said.json["error"]) == (5, "ApprovalPending")
    return DIGITS.search(said.json["message"])[0]


def waiting(station, digits) -> list[dict]:
    """What the station lists of the request with these digits; other machines of the module may wait, too."""
    said = station.run("pending")
    assert (said.exit_code, said.stderr) == (0, "")
    return of(said, digits)


def of(said, digits) -> list[dict]:
    return [listed for listed in said.json["requests"] if listed["digits"] == f"{digits[:4]}-…"]


def assert_refused(said, exit_code, error) -> None:
    assert (said.exit_code, said.json["error"]) == (exit_code, error)
    assert said.stderr.endswith(f"lms-authority: {said.json['message']}\nlms-authority: hint: {said.json['hint']}\n")


# The station itself


def test_a_station_is_certified_as_a_tls_client_and_nothing_else(station, serving):
    again = station.init()
    assert (again.exit_code, again.json["changed"], again.json["enrolled"]) == (0, False, True)
    certificate = x509.load_pem_x509_certificate((station.directory / "station.pem").read_bytes())
    assert issued_by_owner(certificate, station.world.owner)
    assert str(identity_of(certificate).uuid) == again.json["station"]
    assert identity_of(certificate).role is Role.STATION
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert (station.state / "stations" / f"{again.json['station']}.pem").exists()


def test_a_register_that_the_configuration_names_is_that_of_all_verbs(tmp_path):
    desk = Station(tmp_path / "desk")
    desk.trust_list = tmp_path / "trust.xml"
    desk.config.write_text(desk.config.read_text().replace("[station]", f'[station]\ntrust_list = "{desk.trust_list}"'))
    with Serving(tmp_path / "ma", desk):
        desk.enrolled()
        said = desk.run("pending")
    assert (said.exit_code, said.json["requests"]) == (0, [])
    assert (desk.trust_list.exists(), (desk.state / "trust.xml").exists()) == (True, False)


def test_only_its_user_can_read_a_stations_key(station, serving):
    assert stat.S_IMODE(station.state.stat().st_mode) == 0o700
    assert stat.S_IMODE((station.state / "station.json").stat().st_mode) == 0o600


def test_a_station_takes_no_certificate_but_its_own(station, serving, tmp_path):
    other = Station(tmp_path / "other")
    theirs = station.directory / "station.pem"
    assert_refused(other.enroll(theirs), 7, "NotInitialised")
    made = other.init()
    assert "its key lies in" in made.stderr
    assert_refused(other.enroll(theirs), 6, "GrantMismatch")
    assert_refused(other.enroll(theirs, fingerprint="AAAA-AAAA-AAAA-AAAA"), 6, "FingerprintDiffers")
    stranger = Station(tmp_path / "stranger", make_owner("stranger"))
    forged = tmp_path / "forged.pem"
    request = other.directory / "station.csr"
    assert stranger.approve(request, "--digits", made.json["request"], "--output", forged).exit_code == 0
    assert_refused(other.enroll(forged), 6, "UntrustedSigner")
    assert_refused(other.run("pending"), 7, "NotInitialised")


def test_a_station_is_not_certified_without_its_digits(station, serving, tmp_path):
    other = Station(tmp_path / "other")
    other.init()
    request, output = other.directory / "station.csr", tmp_path / "certificate"
    assert_refused(station.approve(request, "--output", output), 2, "BadRequest")
    said = station.approve(request, "--output", output, "--digits", "AAAA-AAAA-AAAA-AAAA")
    assert_refused(said, 6, "DigitsDiffer")
    assert not output.exists()


# The queue


def test_a_machine_is_enrolled_through_the_queue(station, serving, machine):
    _, config = machine
    said = ask(serving, config)
    digits = shown(said)
    assert shown(ask(serving, config)) == digits
    (listed,) = waiting(station, digits)
    assert (listed["kind"], listed["authority"]) == ("enrolment", serving.ma_id)
    assert digits not in station.run("pending").stdout
    done = station.approve(digits)
    assert (done.exit_code, done.stderr) == (0, "")
    assert (done.json["request"], done.json["platform"]) == (digits, listed["platform"])
    assert (done.json["taken-by"], done.json["unreached"]) == ([serving.ma_id], [])
    taken = ask(serving, config)
    assert (taken.exit_code, taken.json["approved"], taken.json["changed"]) == (0, True, True)
    assert waiting(station, digits) == []
    assert ask(serving, config).json["changed"] is False


def test_the_digits_come_from_the_machine_and_not_from_the_queue(station, serving, machine):
    digits = shown(ask(serving, machine[1]))
    before = station.trust_list.read_bytes()
    request_id = waiting(station, digits)[0]["request"]
    assert_refused(station.approve("AAAA-AAAA-AAAA-AAAA"), 5, "NotAtAuthority")
    assert_refused(station.approve(request_id), 2, "BadRequest")
    assert_refused(station.approve(request_id, "--digits", "AAAA-AAAA-AAAA-AAAA"), 6, "DigitsDiffer")
    assert station.trust_list.read_bytes() == before
    assert station.approve(request_id, "--digits", digits).exit_code == 0


def test_a_machine_that_is_denied_hears_it_and_asks_anew(station, serving, machine):
    _, config = machine
    digits = shown(ask(serving, config))
    (listed,) = waiting(station, digits)
    denied = station.run("deny", listed["digits"])
    assert (denied.exit_code, denied.json["denied-at"]) == (0, [serving.ma_id])
    assert (denied.json["request"], denied.json["platform"]) == (digits, listed["platform"])
    assert_refused(station.approve(digits), 5, "Denied")
    said = ask(serving, config)
    assert (said.exit_code, said.json["error"]) == (5, "Denied")
    again = shown(ask(serving, config))
    assert again != digits
    assert station.approve(again).exit_code == 0
    assert ask(serving, config).json["approved"] is True
    assert_refused(station.run("deny", "AAAA-AAAA-AAAA-AAAA"), 5, "NotAtAuthority")


def test_a_lost_tpm_is_restored_through_the_queue(station, serving, machine, machines, auth):
    first, config = machine
    assert station.approve(shown(ask(serving, config))).exit_code == 0
    assert ask(serving, config).exit_code == 0
    assert lmsctl("enroll", "ma", "--owner-auth", auth, config=config).exit_code == 0
    assert lmsctl("archive", config=config).exit_code == 0
    second = machines(disk_of=first.directory)
    config = second.write_config()
    restore = ("restore", "--owner-auth", auth, "--unverified-tpm")
    digits = shown(lmsctl(*restore, config=config))
    (listed,) = waiting(station, digits)
    assert listed["kind"] == "restore"
    done = station.approve(digits)
    assert (done.exit_code, done.stderr) == (0, "")
    assert (done.json["tpm"], done.json["claimed-by"]) == ("new", f"authority {serving.ma_id}")
    assert done.json["waits-at"] == done.json["taken-by"] == [serving.ma_id]
    assert lmsctl(*restore, config=config).exit_code == 0
    assert lmsctl("status", config=config).json["key"] == done.json["keys"][0]


def test_a_machine_without_a_trust_list_has_to_be_told_which_authority_it_is(serving, machine):
    said = lmsctl("enroll", "msa", "--via", serving.address, config=machine[1])
    assert (said.exit_code, said.json["error"]) == (2, "BadRequest")
    assert "--id" in said.json["message"]
    other = "00000000-0000-4000-8000-000000000000"
    said = lmsctl("enroll", "msa", "--via", serving.address, "--id", other, config=machine[1])
    assert (said.exit_code, said.json["error"]) == (5, "AuthorityUntrusted")


# By hand


def test_an_operator_carries_requests_and_answers_by_file(station, serving, machine, tmp_path):
    digits = shown(ask(serving, machine[1]))
    out, grant = tmp_path / "out", tmp_path / "grant"
    said = serving.place.run("pending", "--export", out)
    assert (said.exit_code, said.stderr) == (0, "")
    (listed,) = of(said, digits)
    assert listed["owner"] == station.owner.fingerprint
    assert serving.place.run("pending", "--export", out).exit_code == 0
    assert station.approve(listed["files"], "--digits", digits, "--output", grant).exit_code == 0
    taken = serving.place.run("take", grant).json
    assert (taken["request"], taken["changed"]) == (digits, True)
    assert serving.place.run("take", grant).json["changed"] is False
    assert ask(serving, machine[1]).json["approved"] is True
    assert of(serving.place.run("pending"), digits) == []
    assert_refused(serving.place.run("take", listed["files"]), 6, "WrongDocument")


# Stations that may not


def keep(station, identity, certificate) -> None:
    """Give a station's directory this identity and certificate, whoever issued it."""
    store = StationDirectory(station.state)
    made: StationIdentity = store.load()
    store.save(replace(made, certificate=certificate, owner_document=identity))


def certificate_by(world, station) -> bytes:
    """DER of a certificate by any owner for a station's own key."""
    asked = read_station_request(StationDirectory(station.state).load().request)
    return issue(asked.identity, asked.key, world.owner.ca_certificate, world.keys.ca, LONG_AGO)


def test_a_station_of_another_owner_sees_nothing(station, serving, tmp_path):
    other = Station(tmp_path / "other")
    other.init()
    keep(other, station.world.owner.document, certificate_by(make_owner("stranger"), other))
    register = ("--trust-list", station.trust_list)
    said = other.run("pending", *register)
    assert said.exit_code == 5
    assert said.json["error"] in ("AuthorityUnreachable", "NotAuthorised")
    keep(other, station.world.owner.document, certificate_by(station.world, other))
    assert other.run("pending", *register).exit_code == 0


def test_a_withdrawn_station_sees_nothing(station, serving, machine, tmp_path):
    other = Station(tmp_path / "other")
    station_id = other.init().json["station"]
    keep(other, station.world.owner.document, certificate_by(station.world, other))
    register = ("--trust-list", station.trust_list)
    digits = shown(ask(serving, machine[1]))
    assert len(of(other.run("pending", *register), digits)) == 1
    known = read_trust_list(station.trust_list.read_bytes(), station.world.owner)
    withdrawal = Withdrawal(Identity(Role.STATION, UUID(station_id)), LONG_AGO)
    listed = replace(known, number=known.number + 1, withdrawn=(*known.withdrawn, withdrawal))
    newer = tmp_path / "newer.xml"
    newer.write_bytes(sign(TRUST_LIST.write(listed), station.world.signer))
    assert serving.place.run("take", newer).json["changed"] is True
    for words in (("pending",), ("deny", digits)):
        said = other.run(*words, *register)
        assert_refused(said, 5, "NotAuthorised")
        assert serving.ma_id in said.json["message"]
    # The owner's register was overtaken at the authority: nothing is approved from it.
    assert_refused(station.approve(digits), 7, "RegisterStale")
    station.trust_list.write_bytes(newer.read_bytes())
    assert station.approve(digits).exit_code == 0


def test_a_register_that_an_authority_contradicts_under_its_number_approves_nothing(station, serving, machine):
    """Two who held the token gave out one number: what the other one said must not get lost by the next."""
    digits, ours = shown(ask(serving, machine[1])), station.trust_list.read_bytes()
    other = replace(read_trust_list(ours, station.world.owner), issued=LONG_AGO)
    station.trust_list.write_bytes(sign(TRUST_LIST.write(other), station.world.signer))
    assert_refused(station.approve(digits), 6, "TrustListConflict")
    station.trust_list.write_bytes(ours)
    assert station.approve(digits).exit_code == 0


def test_an_authority_out_of_reach_is_named_and_keeps_nobody_from_the_others(station, serving, machine, tmp_path):
    digits = shown(ask(serving, machine[1]))
    with closing(Serving(tmp_path / "away", station)) as away:
        assert_named(station, serving, away, digits)


def assert_named(station, serving, away, digits) -> None:
    said = station.run("pending")
    assert [r["authority"] for r in of(said, digits)] == [serving.ma_id]
    assert [(u["authority"], u["error"]) for u in said.json["unreached"]] == [(away.ma_id, "AuthorityUnreachable")]
    assert away.ma_id in said.stderr
    assert station.run("pending", "--authority", serving.address).json["unreached"] == []
    assert_refused(station.run("pending", "--authority", away.ma_id), 5, "AuthorityUnreachable")
    assert_refused(station.run("pending", "--authority", "https://nobody.example:1"), 7, "AuthorityUnknown")
    done = station.approve(digits)
    assert (done.json["taken-by"], [u["authority"] for u in done.json["unreached"]]) == ([serving.ma_id], [away.ma_id])


# The service


def test_a_machine_with_a_service_waits_for_its_grant_by_itself(station, serving, machine, daemons, bus, tmp_path):
    platform, _ = machine
    daemons(platform)
    config = platform.write_config(bus=f'"{bus.address}"')
    seat = Seat("enroll", "msa", "--via", serving.address, "--id", serving.ma_id, config=config)
    said = seat.until("Ctrl-C leaves it")
    digits = DIGITS.search(said)[0]
    assert "`lmsctl supply 1 grant FILE`" in said
    grant = tmp_path / "grant"
    assert station.approve(digits, "--output", grant).exit_code == 0
    assert lmsctl("supply", 1, "grant", grant, config=config).exit_code == 0
    assert seat.end() == 0
    assert lmsctl("status", config=config).json["approved"] is True


def test_who_cannot_be_asked_is_told_the_digits_and_the_job_goes_on(station, serving, machine, daemons, bus):
    platform, _ = machine
    daemons(platform)
    config = platform.write_config(bus=f'"{bus.address}"')
    digits = shown(ask(serving, config))
    assert of(station.run("pending"), digits)
    (job,) = lmsctl("jobs", config=config).json["jobs"]
    assert job["state"] == "waiting"
