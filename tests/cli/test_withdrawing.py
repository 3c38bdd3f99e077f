"""`lms-authority withdraw`: every program as it is run, at the owner's desk and at authorities that serve."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from lms.model.trust import Identity, Mode, Pair, Role, TrustedPlatform
from lms.wire.trust_list import read_trust_list
from tests.cli.test_authority import assert_refused
from tests.cli.test_station import ask, shown
from tests.support.authority import authority
from tests.support.documents import PASSWORD, make_owner, make_platform, signed_token
from tests.support.platform import OWNER_AUTH, lmsctl
from tests.support.restoring import AUTHORITY, register, signed_list
from tests.support.seat import Seat
from tests.support.station import Serving, Station, provisioned

pytestmark = pytest.mark.slow

OURS, CHIP = make_platform(), make_platform("new board")
LONG_AGO = datetime(2020, 1, 2, tzinfo=UTC)
EK, OLD_SRK, NEW_SRK = (name.digits for name in (OURS.ek.name, OURS.srk.name, CHIP.srk.name))


class Desk:
    """A station that has no network: its register, its token, and what it is asked to withdraw."""

    def __init__(self, directory) -> None:
        self.register = directory / "trust.xml"
        self.token, self.password = directory / "token", directory / "password"
        self.config = directory / "lms.toml"
        self.config.write_text(f'[station]\nstate_directory = "{directory}/station"\n')
        self.token.write_bytes(signed_token(make_owner()))
        self.password.write_bytes(PASSWORD.reveal())
        twice = TrustedPlatform(
            OURS.id, (Pair(OURS.ek.name, OURS.srk.name), Pair(OURS.ek.name, CHIP.srk.name)), (OURS.drsk.name,)
        )
        self.register.write_bytes(signed_list(register(issued=LONG_AGO).with_platform(twice)))

    def words(self, identity: object, *more: object) -> tuple:
        token = ("--token", self.token, "--token-password", self.password, "--trust-list", self.register)
        return ("withdraw", identity, *token, *more)

    def withdraw(self, identity: object, *more: object):
        return authority("--config", self.config, *self.words(identity, *more))

    @property
    def listed(self):
        return read_trust_list(self.register.read_bytes(), make_owner().owner)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


@pytest.mark.parametrize(
    ("said", "role", "known"),
    [
        (f"platform:{OURS.id}", Role.PLATFORM, True),
        (f"{OURS.id}", Role.PLATFORM, True),
        (f"ma:{AUTHORITY}", Role.MIGRATION_AUTHORITY, True),
        (f"{AUTHORITY}", Role.MIGRATION_AUTHORITY, True),
        (f"station:{AUTHORITY}", Role.STATION, False),
        (f"signer:{AUTHORITY}", Role.SIGNER, False),
    ],
)
def test_an_identity_is_taken_back_once(desk, said, role, known):
    done = desk.withdraw(said, "--yes")
    assert done.exit_code == 0
    identity = Identity(role, UUID(said.rpartition(":")[2]))
    assert (done.json["withdraw"], done.json["known"]) == (f"{role.value}:{identity.uuid}", known)
    assert (done.json["changed"], done.json["trust-list"]) == (True, str(desk.register))
    assert "`lms-authority take`" in done.stderr
    assert desk.listed.withdrawn_since(identity) is not None
    before = desk.register.read_bytes()
    again = desk.withdraw(said)  # nothing is asked where nothing changes
    assert (again.exit_code, again.json["changed"]) == (0, False)
    assert desk.register.read_bytes() == before


@pytest.mark.parametrize("said", ["", "no UUID", f"owner:{OURS.id}", f"reset:{OURS.id}", f"planet:{OURS.id}", uuid4()])
def test_what_nobody_knows_is_not_withdrawn(desk, said):
    before = desk.register.read_bytes()
    assert_refused(desk.withdraw(said, "--yes"), 2, "BadRequest")
    assert desk.register.read_bytes() == before
    assert desk.withdraw(OURS.id, "--yes").exit_code == 0


def test_nothing_is_withdrawn_unasked(desk):
    before = desk.register.read_bytes()
    assert_refused(desk.withdraw(OURS.id), 2, "BadRequest")
    assert desk.register.read_bytes() == before


@pytest.mark.parametrize(("typed", "exit_code"), [("no", 2), ("", 2), ("yes", 0)])
def test_a_person_sees_what_it_means_and_says_yes(desk, typed, exit_code):
    before = desk.register.read_bytes()
    seat = Seat(*desk.words(OURS.id), config=desk.config, program="lms.authority.main")
    said = seat.until("nothing takes that back")
    for word in (str(OURS.id), EK, OLD_SRK, NEW_SRK, OURS.drsk.name.digits, "neither restored"):
        assert word in said
    seat.type(typed)
    assert seat.end() == exit_code
    assert (desk.register.read_bytes() == before) is (exit_code != 0)


def test_one_tpm_of_a_platform_is_named_by_digits_that_only_it_has(desk):
    assert_refused(desk.withdraw(OURS.id, "--pair", EK, "--yes"), 2, "BadRequest")
    assert_refused(desk.withdraw(OURS.id, "--pair", "AAAA-AAAA-AAAA-AAAA", "--yes"), 7, "NotEnrolled")
    assert_refused(desk.withdraw(f"ma:{AUTHORITY}", "--pair", EK, "--yes"), 7, "NotEnrolled")
    done = desk.withdraw(OURS.id, "--pair", OLD_SRK, "--yes")
    assert (done.exit_code, done.json["tpms"]) == (0, [f"EK {EK} SRK {OLD_SRK}"])
    assert desk.listed.platform(OURS.id).pairs == (Pair(OURS.ek.name, CHIP.srk.name),)
    assert_refused(desk.withdraw(OURS.id, "--pair", EK, "--yes"), 2, "BadRequest")  # the last one


def test_a_token_is_not_opened_beside_an_authority(desk, tmp_path):
    state = tmp_path / "authority"
    desk.config.write_text(f'[authority]\nstate_directory = "{state}"\nstore = "sqlite:///{tmp_path}/store"\n')
    made = authority(
        "--config", desk.config, "init", "--address", "https://ma.example", "--output", tmp_path / "request"
    )
    assert made.exit_code == 0
    assert_refused(desk.withdraw(OURS.id, "--yes"), 7, "SharedWithAuthority")
    assert desk.withdraw(OURS.id, "--yes", "--combined").exit_code == 0


# End to end


@pytest.fixture
def station(tmp_path):
    return Station(tmp_path / "desk")


@pytest.fixture(params=Mode, ids=[mode.value for mode in Mode])
def servings(station, tmp_path, request):
    """Two authorities that serve, and the station that is enrolled with the owner of both."""
    first, second = (Serving(tmp_path / name, station, request.param) for name in ("first", "second"))
    with first, second:
        station.enrolled()
        yield first, second


@pytest.fixture
def machine(machines, station, servings, tmp_path):
    """The configuration of a machine that archived at both authorities."""
    auth = tmp_path / "auth"
    auth.write_bytes(OWNER_AUTH.reveal())
    config = provisioned(machines(), station)
    assert station.approve(shown(ask(servings[0], config))).exit_code == 0
    assert ask(servings[0], config).exit_code == 0
    for serving in servings:
        assert lmsctl("enroll", "ma", "--id", serving.ma_id, "--owner-auth", auth, config=config).exit_code == 0
    assert lmsctl("archive", config=config).exit_code == 0
    return config


@pytest.fixture
def second_station(station, servings, tmp_path):
    """Another station of the owner; its ID."""
    other = Station(tmp_path / "other desk", station.world)
    made, certificate = other.init().json, tmp_path / "certificate"
    request = other.directory / "station.csr"
    assert station.approve(request, "--digits", made["request"], "--output", certificate).exit_code == 0
    assert other.enroll(certificate).exit_code == 0
    return other, made["station"]


def test_what_is_withdrawn_is_refused_by_all_that_run(station, servings, machine, second_station):
    first, second = servings
    both = sorted([first.ma_id, second.ma_id])
    other, other_id = second_station
    pending = ("pending", "--trust-list", station.trust_list)
    # A station
    assert other.run(*pending).exit_code == 0
    done = station.withdraw(other_id)
    assert (done.exit_code, done.stderr, done.json["withdraw"]) == (0, "", f"station:{other_id}")
    assert (sorted(done.json["taken-by"]), done.json["unreached"]) == (both, [])
    refused = other.run(*pending)
    assert (refused.exit_code, refused.json["error"]) == (5, "NotAuthorised")
    # An authority, which is still there and whose machines hear of it at the other one
    held = {a["id"]: a["held"] for a in lmsctl("authorities", config=machine).json["authorities"]}
    assert sorted(station.withdraw(second.ma_id).json["taken-by"]) == both
    assert lmsctl("archive", config=machine).exit_code == 0
    status = lmsctl("status", config=machine).json
    assert (status["state"], status["withdrawn"]) == ("at-risk", [second.ma_id])
    after = {a["id"]: a["held"] for a in lmsctl("authorities", config=machine).json["authorities"]}
    assert (after[first.ma_id], after[second.ma_id]) == (held[first.ma_id] + 1, held[second.ma_id])
    # A machine
    assert station.withdraw(status["platform"]).json["taken-by"] == [first.ma_id]
    refused = lmsctl("archive", config=machine)
    assert (refused.exit_code, refused.json["error"]) == (5, "Retired")  # it was known there
