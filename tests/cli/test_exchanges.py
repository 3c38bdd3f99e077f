"""Every exchange between a machine and its owner, by every way that it can go, with an authority in either mode.

From the request to a key that works (PROTOCOL §6, §8). What an exchange is, and what a way is, are tables; machine,
authority and station are processes, and what is carried is a file.
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
    exported = parties.serving.place.run("pending", "--export", asker.papers / "exported").json["requests"]
    (request,) = (Path(listed["files"]) for listed in exported if digits.startswith(listed["digits"][:4]))
    annex = request.with_suffix(".annex.xml")
    assert approved(parties, request, digits, answer, *(("--annex", annex) if annex.exists() else ()))
    taken = parties.serving.place.run("take", answer)
    assert (taken.exit_code, taken.stderr) == (0, "")
    return asker.ask_through(parties.serving)


def approved(parties: Parties, request: Path, digits: str, answer: Path, *more: object) -> bool:
    """The owner approves a file by the digits that the machine shows, and by no others."""
    refused = parties.station.approve(request, "--digits", "AAAA-AAAA-AAAA-AAAA", "--output", answer, *more)
    assert (refused.exit_code, refused.json["error"], answer.exists()) == (6, "DigitsDiffer", False)
    return parties.station.approve(request, "--digits", digits, "--output", answer, *more).exit_code == 0


WAYS = {"file": by_file, "queue": by_queue, "operator": by_operator}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


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


@ways
def test_a_machine_gets_its_keys_back(parties, machines, asking, way, tmp_path):
    machine = machines()
    config = provisioned(machine, parties.station)
    assert by_queue(asking(ENROLMENT, config), parties).exit_code == 0
    child = enrolled_at(parties, machine, config, tmp_path / "auth")
    board = machines(disk_of=machine.directory)
    config = board.write_config()
    restored = way(asking(RESTORE, config), parties)
    assert (restored.exit_code, restored.json["changed"]) == (0, True)
    assert lmsctl("status", config=config).json["state"] == "at-risk"
    assert board.unseal(child) == PRECIOUS
