"""Every exchange between a machine and its owner, by every way that it can go, with an authority in either mode.

From the request to a key that works, or to a denial that the machine hears (PROTOCOL §6, §7, §8). What an exchange is,
and what a way is, are tables; machine, authority and station are processes, and what is carried is a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lms.model.tpm import SealedObject
from lms.model.trust import Mode
from tests.support.platform import OWNER_AUTH, PRECIOUS, Platform, Said, lmsctl
from tests.support.station import Serving, Station, provisioned

pytestmark = pytest.mark.slow

DIGITS = re.compile("[A-Z2-7]{4}(-[A-Z2-7]{4}){3}")


@dataclass(frozen=True)
class Parties:
    """The owner with a station, and an authority that serves."""

    station: Station
    serving: Serving


@dataclass(frozen=True)
class Exchange:
    """What a machine asks: `verb` in words of `lmsctl`, by an authority's queue with `queued` beside it."""

    verb: tuple[str, ...]
    queued: Callable[[Serving], tuple[str, ...]]
    answered: str


ENROLMENT = Exchange(("enroll", "msa"), lambda at: ("--via", at.address, "--id", at.ma_id), "--grant")
RESTORE = Exchange(("restore", "--unverified-tpm"), lambda at: (), "--approval")


@dataclass(frozen=True)
class Asker:
    """A machine that asks, and where its papers lie."""

    exchange: Exchange
    config: Path
    papers: Path
    auth: tuple[object, ...]

    def ask(self, *more: object) -> Said:
        return lmsctl(*self.exchange.verb, *self.auth, *more, config=self.config)

    def ask_through(self, serving: Serving) -> Said:
        return self.ask(*self.exchange.queued(serving))

    def left_at(self, serving: Serving) -> str:
        """It waits for its answer there; the digits that it shows."""
        said = self.ask_through(serving)
        assert (said.exit_code, said.json["error"]) == (5, "ApprovalPending")
        return DIGITS.search(said.json["message"])[0]


def by_queue(asker: Asker, parties: Parties) -> Said:
    """The authority has the request, the station looks there, the machine finds its answer there."""
    done = parties.station.approve(asker.left_at(parties.serving))
    assert (done.exit_code, done.json["taken-by"]) == (0, [parties.serving.ma_id])
    return asker.ask_through(parties.serving)


def by_file(asker: Asker, parties: Parties) -> Said:
    """Machine and owner exchange two files."""
    request, answer = asker.papers / "request", asker.papers / "answer"
    said = asker.ask("--request-to", request)
    assert said.exit_code == 0
    assert approved(parties, request, said.json["request"], answer)
    return asker.ask(asker.exchange.answered, answer)


def by_operator(asker: Asker, parties: Parties) -> Said:
    """The machine uses the queue, the owner has no network: the authority's operator carries request and answer."""
    digits, answer = asker.left_at(parties.serving), asker.papers / "answer"
    request = exported(asker, parties, digits)
    annex = request.with_suffix(".annex.xml")
    assert approved(parties, request, digits, answer, *(("--annex", annex) if annex.exists() else ()))
    taken = parties.serving.place.run("take", answer)
    assert (taken.exit_code, taken.stderr) == (0, "")
    return asker.ask_through(parties.serving)


def exported(asker: Asker, parties: Parties, digits: str) -> Path:
    """The file in which the authority's operator carries the request with these digits."""
    listed = parties.serving.place.run("pending", "--export", asker.papers / "exported").json["requests"]
    (request,) = (Path(one["files"]) for one in listed if digits.startswith(one["digits"][:4]))
    return request


def approved(parties: Parties, request: Path, digits: str, answer: Path, *more: object) -> bool:
    """The owner approves a file by the digits that the machine shows, and by no others."""
    refused = parties.station.approve(request, "--digits", "AAAA-AAAA-AAAA-AAAA", "--output", answer, *more)
    assert (refused.exit_code, refused.json["error"], answer.exists()) == (6, "DigitsDiffer", False)
    return parties.station.approve(request, "--digits", digits, "--output", answer, *more).exit_code == 0


WAYS = {"file": by_file, "queue": by_queue, "operator": by_operator}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)

# Who denies, and what he says of the request.
DENIALS: dict[str, Callable[[Asker, Parties, str], Said]] = {
    "station-digits": lambda asker, parties, digits: parties.station.run("deny", digits),
    "station-file": lambda asker, parties, digits: parties.station.run("deny", exported(asker, parties, digits)),
    "operator-digits": lambda asker, parties, digits: parties.serving.place.run("deny", digits),
    "operator-file": lambda asker, parties, digits: parties.serving.place.run("deny", exported(asker, parties, digits)),
}
denials = pytest.mark.parametrize("deny", DENIALS.values(), ids=DENIALS)


@pytest.fixture(scope="module", params=Mode, ids=[mode.value for mode in Mode])
def parties(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param.value)
    station = Station(directory / "desk")
    with Serving(directory / "ma", station, request.param) as serving:
        yield Parties(station.enrolled(), serving)


@pytest.fixture
def asking(tmp_path):
    """Makes who asks: a machine, for an exchange."""
    auth = tmp_path / "auth"
    auth.write_bytes(OWNER_AUTH.reveal())

    def make(exchange: Exchange, config: Path) -> Asker:
        papers = tmp_path / exchange.verb[0]
        papers.mkdir()
        return Asker(exchange, config, papers, ("--owner-auth", auth) if exchange is RESTORE else ())

    return make


def enrolled_at(parties: Parties, machine: Platform, config: Path, auth: Path) -> SealedObject:
    """The machine, once granted, keeps its keys at the authority; what hangs below them."""
    assert lmsctl("enroll", "ma", "--owner-auth", auth, config=config).exit_code == 0
    assert lmsctl("archive", config=config).exit_code == 0
    (listed,) = lmsctl("authorities", config=config).json["authorities"]
    assert (listed["id"], listed["held"]) == (parties.serving.ma_id, 1)
    machine.tpm.trust_salt(machine.state.srk_name)
    child = machine.seal()
    machine.let_go()
    return child


@ways
def test_a_machine_is_enrolled(parties, machines, asking, way, tmp_path):
    machine = machines()
    config = provisioned(machine, parties.station)
    taken = way(asking(ENROLMENT, config), parties)
    assert (taken.exit_code, taken.json["approved"], taken.json["changed"]) == (0, True, True)
    child = enrolled_at(parties, machine, config, tmp_path / "auth")
    assert lmsctl("status", config=config).json["state"] == "at-risk"
    assert machine.unseal(child) == PRECIOUS


@pytest.fixture
def lost(parties, machines, asking, tmp_path) -> tuple[Platform, SealedObject]:
    """A machine on another board, whose keys the authority has, and the child of its key."""
    machine = machines()
    config = provisioned(machine, parties.station)
    assert by_queue(asking(ENROLMENT, config), parties).exit_code == 0
    child = enrolled_at(parties, machine, config, tmp_path / "auth")
    return machines(disk_of=machine.directory), child


@ways
def test_a_machine_gets_its_keys_back(parties, lost, asking, way):
    board, child = lost
    config = board.write_config()
    restored = way(asking(RESTORE, config), parties)
    assert (restored.exit_code, restored.json["changed"]) == (0, True)
    assert lmsctl("status", config=config).json["state"] == "at-risk"
    assert board.unseal(child) == PRECIOUS


def assert_denied(asker: Asker, parties: Parties, deny: Callable[[Asker, Parties, str], Said]) -> None:
    """The machine hears it, nobody can approve that request any more, and the machine asks anew."""
    digits, serving = asker.left_at(parties.serving), parties.serving
    denied = deny(asker, parties, digits)
    assert (denied.exit_code, denied.stderr) == (0, "")
    assert (denied.json["request"], denied.json["denied-at"]) == (digits, [serving.ma_id])
    late = parties.station.approve(digits)
    assert (late.exit_code, late.json["error"]) == (5, "Denied")
    heard = asker.ask_through(serving)
    assert (heard.exit_code, heard.json["error"], DIGITS.search(heard.json["message"])[0]) == (5, "Denied", digits)
    assert asker.left_at(serving) != digits


@denials
def test_a_machine_hears_that_its_enrolment_is_denied(parties, machines, asking, deny):
    asker = asking(ENROLMENT, provisioned(machines(), parties.station))
    assert_denied(asker, parties, deny)
    assert by_queue(asker, parties).json["approved"] is True


@denials
def test_a_machine_hears_that_its_restore_is_denied(parties, lost, asking, deny):
    board, child = lost
    asker = asking(RESTORE, board.write_config())
    assert_denied(asker, parties, deny)
    assert by_queue(asker, parties).exit_code == 0
    assert board.unseal(child) == PRECIOUS


def test_an_approval_that_was_not_used_yet_is_denied_by_its_request_file(parties, machines, asking):
    asker = asking(ENROLMENT, provisioned(machines(), parties.station))
    digits, answer = asker.left_at(parties.serving), asker.papers / "answer"
    request, place = exported(asker, parties, digits), parties.serving.place
    assert approved(parties, request, digits, answer)
    assert place.run("take", answer).exit_code == 0
    assert place.run("deny", request).exit_code == 0
    taken = place.run("take", answer)
    assert (taken.exit_code, taken.json["error"]) == (5, "Denied")
    assert asker.ask_through(parties.serving).json["error"] == "Denied"


def test_what_waits_nowhere_and_what_is_no_request_is_not_denied(parties, machines, asking):
    asker = asking(ENROLMENT, provisioned(machines(), parties.station))
    request = asker.papers / "request"
    assert asker.ask("--request-to", request).exit_code == 0
    for at in (parties.station, parties.serving.place):
        refused = [at.run("deny", what) for what in (request, "AAAA-AAAA-AAAA-AAAA", parties.station.trust_list)]
        errors = ["NotAtAuthority", "NotAtAuthority", "WrongDocument"]
        assert [said.json["error"] for said in refused] == errors
        assert [said.exit_code for said in refused] == [5, 5, 6]
