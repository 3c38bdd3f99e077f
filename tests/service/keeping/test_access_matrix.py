"""Who may do what at an authority, as one table; `docs/security.md` shows the same (PROTOCOL §7)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lms.errors import ApprovalPending, LmsError, NotAtAuthority, NotAuthorised
from lms.model.authorities import Kind
from lms.model.trust import Identity, Role
from lms.wire.exchange_v1 import ENROLMENT_GRANT
from lms.wire.signature import sign
from tests.support.asking import Asker, House, VaultChip, id_of
from tests.support.documents import Platform, make_owner, make_platform, uuid
from tests.support.exchange import examples

# yes: done. no: NotAuthorised. none: NotAtAuthority, as if there was nothing. waits: ApprovalPending.
# Where an asker has a request, it asks for that one's answer; else for the approved one's.
MATRIX = """
| | nobody | stranger | waits | approved | granted | platform | other platform | retired | withdrawn | station | another's station | withdrawn station |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| Query | no | own requests | own requests | all of its | own requests | all of its | all of its | own requests | own requests | its queue | its queue | no |
| Download MigrationPackage | no | no | no | yes | no | yes | none | no | no | no | no | no |
| Download ReleasedPackage | no | none | waits | yes | none | none | none | none | none | no | no | no |
| Download RewrappedPackage | no | no | no | no | no | yes | none | no | no | no | no | no |
| Download EnrolmentGrant | no | none | none | none | yes | none | none | none | none | no | no | no |
| Download EnrolmentRequest | no | no | no | no | no | no | no | no | no | yes | none | no |
| Download RestoreRequest | no | no | no | no | no | no | no | no | no | yes | none | no |
| Download RestoreAnnex | no | no | no | no | no | no | no | no | no | yes | none | no |
| Download TrustList | no | no | no | yes | no | yes | yes | no | no | yes | yes | no |
| Delete a package | no | no | no | yes | no | yes | none | no | no | none | none | no |
| Delete a request | no | no | no | none | no | none | none | no | no | yes | none | no |
| Upload MigrationPackage | no | no | no | yes | no | yes | yes | no | no | no | no | no |
| Upload EnrolmentRequest | no | yes | yes | yes | yes | yes | yes | yes | yes | no | no | no |
| Upload RestoreRequest | no | yes | yes | yes | yes | yes | yes | yes | yes | no | no | no |
| Upload EnrolmentGrant | no | yes | yes | yes | yes | yes | yes | yes | yes | yes | yes | no |
| Upload RestoreApproval | no | yes | yes | yes | yes | yes | yes | yes | yes | yes | yes | no |
| Upload TrustList | no | yes | yes | yes | yes | yes | yes | yes | yes | yes | yes | no |
"""  # noqa: E501

_HEAD, _, *_ROWS = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in MATRIX.strip().splitlines()]
ASKERS = _HEAD if _HEAD[0] else _HEAD[1:]
CELLS = [(row[0], asker, cell) for row in _ROWS for asker, cell in zip(ASKERS, row[1:], strict=True)]


@dataclass(frozen=True)
class Who:
    """An asker, and with what it comes: its chip, the platform that it speaks for, the request that it has."""

    asker: Asker
    chip: Platform
    platform: Platform
    request: str


class Scene:
    """One authority with everybody there is; its store goes back to this for each cell."""

    def __init__(self, directory: Path, chip: VaultChip | None) -> None:
        self.house = house = House(directory, make_owner(), make_owner("neighbour"), chip=chip)
        self.path = directory / "ma.sqlite"
        self.platform, old, approved = make_platform(), make_platform("old"), make_platform("approved")
        stranger, waiting, granted = (make_platform(label) for label in ("stranger", "waiting", "granted"))
        other, withdrawn = house.enrol(make_platform("other")), house.enrol(make_platform("withdrawn"))
        house.enrol(self.platform, old)
        for chip, platform in ((old, self.platform), (other, other), (withdrawn, withdrawn)):
            house.asker(chip, platform.id).upload(house.package(platform, 1, chip=chip))
        self._restored(self.platform)
        house.asker(self.platform).upload(house.package(self.platform, 2))
        house.later(seconds=1)
        self._asked(waiting)
        self.request = self._asked(approved)
        self.approval = house.approval(self.platform, self.request)
        house.station().upload(self.approval)
        self.enrolment = house.enrolment_request(granted)
        self.enrolment_id = house.asker(granted).upload(self.enrolment).id
        gone = Identity(Role.STATION, uuid("station that is gone"))
        for identity in (withdrawn.identity, gone):
            house.withdraw(identity)
        _, grant, signer = examples()["enrolment-grant"]
        self.trust_list = house.signed_list()
        grant = replace(grant, request_id=bytes.fromhex(self.enrolment_id), trust_list=self.trust_list)
        self.grant = sign(ENROLMENT_GRANT.write(grant), signer)
        house.station().upload(self.grant)
        self.who = {
            "nobody": self._who(house.nobody(), stranger),
            "stranger": self._who(house.asker(stranger, self.platform.id), stranger),
            "waits": self._who(house.asker(waiting, self.platform.id), waiting, self._request_of(waiting)),
            "approved": self._who(house.asker(approved, self.platform.id), approved),
            "granted": Who(house.asker(granted), granted, granted, id_of(self.request)),
            "platform": self._who(house.asker(self.platform), self.platform),
            "other platform": Who(house.asker(other), other, other, id_of(self.request)),
            "retired": self._who(house.asker(old, self.platform.id), old),
            "withdrawn": Who(house.asker(withdrawn), withdrawn, withdrawn, id_of(self.request)),
            "station": self._who(house.station(), stranger),
            "another's station": self._who(house.station(house.owners[1]), stranger),
            "withdrawn station": self._who(house.station(identity=gone), stranger),
        }
        self.package = str(house.kept(self.platform)[0].package_id)
        self.content = self.path.read_bytes()

    def _who(self, asker: Asker, chip: Platform, request: str | None = None) -> Who:
        return Who(asker, chip, self.platform, request or id_of(self.request))

    def _asked(self, chip: Platform) -> bytes:
        request = self.house.restore_request(self.platform, chip)
        self.house.asker(chip, self.platform.id).upload(request)
        return request

    def _request_of(self, chip: Platform) -> str:
        return id_of(self.house.restore_request(self.platform, chip))

    def _restored(self, chip: Platform) -> None:
        request = self._asked(chip)
        self.house.station().upload(self.house.approval(self.platform, request))
        self.house.asker(chip, self.platform.id).download(Kind.RELEASED_PACKAGE, id_of(request))

    def act(self, act: str, name: str):
        """One cell of the table."""
        self.path.write_bytes(self.content)
        who, house = self.who[name], self.house
        verb, _, what = act.partition(" ")
        if verb == "Query":
            return who.asker.query()
        if verb == "Delete":
            return who.asker.delete(self.package if what == "a package" else who.request)
        if verb == "Download":
            ids = {
                Kind.PACKAGE: self.package,
                Kind.RELEASED_PACKAGE: who.request,
                Kind.REWRAPPED_PACKAGE: self.package,
                Kind.ENROLMENT_REQUEST: self.enrolment_id,
                Kind.ENROLMENT_GRANT: self.enrolment_id,
            }
            kind = Kind(what)
            return who.asker.download(kind, ids.get(kind, id_of(self.request)))
        documents = {
            "MigrationPackage": lambda: house.package(who.platform, 9, chip=who.chip),
            "EnrolmentRequest": lambda: house.enrolment_request(who.chip),
            "RestoreRequest": lambda: house.restore_request(who.platform, who.chip, bytes(16)),
            "EnrolmentGrant": lambda: self.grant,
            "RestoreApproval": lambda: self.approval,
            "TrustList": lambda: self.trust_list,
        }
        asker = who.asker
        if what == "EnrolmentRequest" and asker.token:
            asker = house.asker(who.chip)  # a request names the platform of its session
        return asker.upload(documents[what]())


_WORDS = {NotAuthorised: "no", NotAtAuthority: "none", ApprovalPending: "waits"}


def outcome(scene: Scene, act: str, name: str) -> str:
    """The word of the table for what happens."""
    try:
        answer = scene.act(act, name)
    except LmsError as error:
        return _WORDS[type(error)]
    if act != "Query":
        return "yes"
    if scene.who[name].asker.token == b"":
        return "its queue" if not answer.packages else "more than its queue"
    return "all of its" if answer.packages and answer.trust_list_number else "own requests"


@pytest.fixture(scope="module")
def scene(tmp_path_factory, chip_in_both_modes):
    made = Scene(tmp_path_factory.mktemp("matrix"), chip_in_both_modes)
    yield made
    made.house.vault.close()


@pytest.mark.parametrize(("act", "asker", "expected"), CELLS, ids=[f"{a}-{w}" for a, w, _ in CELLS])
def test_everybody_may_do_what_the_table_says(scene, act, asker, expected):
    assert outcome(scene, act, asker) == expected


def test_the_table_names_every_kind_of_document(scene):
    acts = {row[0] for row in _ROWS}
    assert {f"Download {kind.value}" for kind in Kind} <= acts
    assert set(ASKERS) == set(scene.who)


def test_the_manual_shows_this_table():
    manual = Path(__file__).parents[3] / "docs/security.md"
    assert MATRIX.strip() in manual.read_text()


def test_a_query_shows_its_own_and_nothing_else(scene):
    scene.path.write_bytes(scene.content)
    mine = scene.who["platform"].asker.query()
    assert {p.package_id for p in mine.packages} == {p.package_id for p in scene.house.kept(scene.platform)}
    theirs = scene.who["other platform"].asker.query()
    assert {p.package_id for p in theirs.packages}.isdisjoint({p.package_id for p in mine.packages})
    assert len(scene.who["waits"].asker.query().requests) == 1
    assert len(scene.who["station"].asker.query().requests) == 4
    assert scene.who["another's station"].asker.query().requests == ()
