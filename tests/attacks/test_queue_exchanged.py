"""A Migration Authority that exchanges what waits in its queue: the owner's station refuses, and names it (DESIGN §3).

It is the server at the other end of TLS, with its own genuine key; the station approves with the owner's token,
vouching, so that no EK certificate helps. The positive control is the same request, honestly handed out. In both
modes it is the same: nothing of a queue is wrapped to the vault, and the station is told the mode by the trust list
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key

from lms.adapters.store import StationDirectory
from lms.authority import main
from lms.authority.connections import Limits
from lms.authority.server import AuthorityServer
from lms.authority.tls import server_context
from lms.errors import (
    CertificationInvalid,
    DigitsDiffer,
    InnerKeyMismatch,
    LmsError,
    NotAtAuthority,
    NotEnrolled,
    RequestInvalid,
    SignatureInvalid,
    UntrustedSigner,
    WrongRole,
)
from lms.model.authorities import KeptPackage, Kind, Peer
from lms.model.exchange import RestoreAnnex
from lms.model.keys import digits
from lms.model.secret import Secret
from lms.model.station import StationIdentity
from lms.model.trust import Pair, Role
from lms.ports import MigrationAuthority
from lms.service.keeping.requests import take_enrolment_request, take_restore_request
from lms.service.keeping.sessions import Claim
from lms.wire.certificates import OwnerSigner
from lms.wire.exchange_v1 import RESTORE_ANNEX, TRUST_LIST
from lms.wire.restoration import read_restore_request
from lms.wire.signature import sign
from lms.wire.trust_list import read_trust_list
from tests.service import test_elements_exchanged as enrolments
from tests.service import test_restore_elements_exchanged as restores
from tests.support.documents import (
    NOW,
    PASSWORD,
    Platform,
    make_owner,
    make_package,
    make_platform,
    signed_token,
    uuid,
)
from tests.support.keeping import STATION_KEY, station_certificate
from tests.support.migration import BOTH_MODES_IN_TIME, Authority, Office
from tests.support.restoring import entry_of, register, signed_sheet

WORLD = make_owner()
OURS, CHIP, THEIRS = make_platform(), make_platform("new board"), make_platform("other")
ENROLMENT = enrolments.signed(enrolments.MINE, OURS.self_issued)
RESTORE = restores.signed(restores.MINE)
BARE = restores.signed(replace(restores.MINE, package_id=None, sequence=None, entries=()))
_FORGED = (RequestInvalid, SignatureInvalid, CertificationInvalid)

Lie = Callable[[Kind, bytes], bytes]


class Lying:
    """The authority as it is to a station, but for what it hands out."""

    def __init__(self, honest: MigrationAuthority, lie: Lie) -> None:
        self._honest, self._lie = honest, lie

    def __getattr__(self, name: str):
        return getattr(self._honest, name)

    def download(self, session: bytes, kind: Kind, id: str) -> bytes:
        return self._lie(kind, self._honest.download(session, kind, id))


def honest(kind: Kind, document: bytes) -> bytes:
    return document


class Scene:
    """A lying authority that serves, and the owner's desk in `directory`."""

    def __init__(self, authority: Authority, directory: Path) -> None:
        self.authority, self.directory, self.lie = authority, directory, honest
        self.address = ""

    @property
    def authority_signer(self) -> OwnerSigner:
        """The authority's own key, under the certificate that the owner issued."""
        key = load_der_private_key(self.authority.identity.tls_key.reveal(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return OwnerSigner(key, self.authority.leaf)

    def at(self, peer: Peer) -> Lying:
        return Lying(self.authority.keeper.at(peer), lambda kind, document: self.lie(kind, document))

    def approve(self, shown: str, *more: str, everywhere: bool = False) -> dict:
        """What the owner says who read the digits at the machine."""
        token = ["--token", f"{self.directory}/token", "--token-password", f"{self.directory}/password"]
        words = ["--config", f"{self.directory}/lms.toml", "approve", shown, *token, "--vouch", *more]
        words += [] if everywhere else ["--authority", self.address]
        arguments = main._parser().parse_args(words)
        answer: dict = arguments.run(arguments)
        return answer

    def files(self) -> dict[str, bytes]:
        """The owner's register."""
        found = [self.directory / "trust.xml"]
        found += [path for part in ("sheets", "approvals") for path in (self.directory / part).rglob("*.xml")]
        return {str(path.relative_to(self.directory)): path.read_bytes() for path in found}

    def put(self, files: dict[str, bytes]) -> None:
        """The register as it was."""
        for name in self.files():
            (self.directory / name).unlink()
        for name, content in files.items():
            (self.directory / name).write_bytes(content)


def register_of(office: Office, addresses: Mapping[UUID, str] = MappingProxyType({})) -> bytes:
    """The owner's trust list: the authorities that were granted, and the platforms on their first chips."""
    granted = read_trust_list(office.trust_list, WORLD.owner)
    moved = tuple(replace(a, addresses=(addresses.get(a.ma_id, a.addresses[0]),)) for a in granted.authorities)
    listed = replace(granted, number=4 + len(moved), platforms=register(OURS, THEIRS).platforms, authorities=moved)
    return sign(TRUST_LIST.write(listed), WORLD.signer)


def fill(authority: Authority, trust_list: bytes) -> None:
    """What is at the authority: the owner's trust list, the platform's package, and its requests."""
    package = make_package()
    document = OURS.signed(package)
    kept = KeptPackage(package.header.package_id, WORLD.owner.fingerprint, OURS.id, 7, NOW, bytes(32), len(document))
    with authority.vault.transaction() as transaction:
        (owner,) = transaction.owners()
        transaction.keep_owner(replace(owner, trust_list=trust_list))
        transaction.keep_package(kept, document)


def leave(authority: Authority, take: Callable, chip: Platform, document: bytes) -> None:
    """A machine leaves its request, instead of one under the same RequestID."""
    claim = Claim(OURS.id, Pair(chip.ek.name, chip.srk.name), chip.srk.public)
    with authority.vault.transaction() as transaction:
        transaction.drop_request(restores.MINE.base.request_id if take is take_restore_request else b"")
        take(authority.setting, transaction, claim, "192.0.2.7", document)


@pytest.fixture(scope="module", **BOTH_MODES_IN_TIME)
def scene(tmp_path_factory, request):
    directory = tmp_path_factory.mktemp("scene")
    office = Office()
    authority = request.param(directory, office)
    trust_list = register_of(office)
    fill(authority, trust_list)
    files = {"trust.xml": trust_list, f"sheets/{OURS.id}.xml": signed_sheet(OURS)}
    files |= {"token": signed_token(WORLD), "password": PASSWORD.reveal()}
    (directory / "sheets").mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    key = Secret(STATION_KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    identity = StationIdentity(uuid("station"), key, b"", station_certificate(WORLD), WORLD.owner.document)
    StationDirectory(directory).save(identity)
    config = directory / "lms.toml"
    config.write_text(
        f'[station]\nstate_directory = "{directory}"\n[authority]\nstate_directory = "{directory}/none"\n'
    )
    context = server_context(authority.leaf, authority.identity.tls_key, [WORLD.owner.ca_certificate])
    made = Scene(authority, directory)
    with AuthorityServer(("127.0.0.1", 0), lambda: context, made.at, Limits()) as server:
        made.address = f"https://127.0.0.1:{server.port}"
        yield made
    authority.close()


@pytest.fixture(autouse=True)
def _honest(scene):
    """Each test begins with what the machines left, and the register as it was."""
    before = scene.files()
    scene.authority.now = datetime.now(UTC)
    leave(scene.authority, take_enrolment_request, OURS, ENROLMENT)
    leave(scene.authority, take_restore_request, CHIP, RESTORE)
    yield
    scene.lie = honest
    scene.put(before)
    with scene.authority.vault.transaction() as transaction:
        (owner,) = transaction.owners()
        transaction.keep_owner(replace(owner, trust_list=before["trust.xml"]))
        for listed in transaction.requests(WORLD.owner.fingerprint):
            transaction.drop_request(listed.request_id)


def refused(scene, shown, *errors: type[LmsError]) -> LmsError:
    """The approval is refused, the authority is named, and the owner's register is as it was."""
    before = scene.files()
    with pytest.raises(errors) as caught:
        scene.approve(shown)
    assert scene.files() == before
    assert str(scene.authority.identity.ma_id) in str(caught.value)
    return caught.value


ENROLMENT_DIGITS, RESTORE_DIGITS = digits(enrolments.MINE.base.request_id), digits(restores.MINE.base.request_id)


def handing_out(kind: Kind, document: bytes) -> Lie:
    return lambda asked, true: document if asked is kind else true


def test_what_is_handed_out_honestly_is_approved(scene):
    granted = scene.approve(ENROLMENT_DIGITS)
    assert (granted["request"], granted["taken-by"]) == (ENROLMENT_DIGITS, [str(uuid("ma"))])
    approved = scene.approve(RESTORE_DIGITS)
    assert (approved["request"], approved["taken-by"]) == (RESTORE_DIGITS, [str(uuid("ma"))])


def test_what_an_authority_claims_honestly_is_approved_as_its_claim(scene):
    leave(scene.authority, take_restore_request, CHIP, BARE)
    approved = scene.approve(RESTORE_DIGITS)
    assert (approved["claimed-by"], approved["sequence"]) == (f"authority {uuid('ma')}", 7)


@enrolments.elements
@pytest.mark.parametrize("signed", ["kept", "attacker"])
def test_an_exchanged_element_of_an_enrolment_is_refused(scene, path, error, signed):
    request = enrolments.exchanged(enrolments.MINE, enrolments.OTHER, path)
    document = (
        enrolments.under_the_kept_signature(request)
        if signed == "kept"
        else enrolments.signed(request, enrolments.under_a_key_of_the_attacker(request.platform.platform_id))
    )
    scene.lie = handing_out(Kind.ENROLMENT_REQUEST, document)
    refused(scene, ENROLMENT_DIGITS, *_FORGED)


@restores.every
@pytest.mark.parametrize("signed", ["kept", "attacker"])
def test_an_exchanged_element_of_a_restore_is_refused(scene, path, signed):
    request = restores.exchanged(restores.MINE, restores.OTHER, path)
    document = (
        restores.under_the_kept_signature(request)
        if signed == "kept"
        else restores.signed(request, restores.under_a_key_of_the_attacker(request.platform_id))
    )
    scene.lie = handing_out(Kind.RESTORE_REQUEST, document)
    refused(scene, RESTORE_DIGITS, *_FORGED)


def test_a_whole_request_of_another_machine_has_other_digits(scene):
    other = enrolments.signed(enrolments.OTHER, THEIRS.self_issued)
    scene.lie = handing_out(Kind.ENROLMENT_REQUEST, other)
    refused(scene, ENROLMENT_DIGITS, DigitsDiffer)
    whole = restores.signed(restores.OTHER, restores.requester(THEIRS, restores.THEIR_CHIP))
    scene.lie = handing_out(Kind.RESTORE_REQUEST, whole)
    refused(scene, RESTORE_DIGITS, DigitsDiffer)


def test_a_request_that_is_listed_in_place_of_the_machines_is_not_found_by_its_digits(scene):
    """The authority's own chip asks for the machine's keys: it is well-formed, and not what the machine shows."""
    asked = replace(restores.OTHER, platform_id=OURS.id, package_id=restores.MINE.package_id, sequence=7)
    theirs = restores.followed(replace(asked, entries=restores.MINE.entries), restores.THEIR_CHIP.signing_key)
    document = restores.signed(theirs, restores.requester(OURS, restores.THEIR_CHIP))
    with scene.authority.vault.transaction() as transaction:
        transaction.drop_request(restores.MINE.base.request_id)
    leave(scene.authority, take_restore_request, restores.THEIR_CHIP, document)
    before = scene.files()
    with pytest.raises(NotAtAuthority):
        scene.approve(RESTORE_DIGITS)
    with pytest.raises(DigitsDiffer):
        scene.approve(read_restore_request(document).request_id.hex(), "--digits", RESTORE_DIGITS)
    assert scene.files() == before


def test_an_authority_that_lies_keeps_nobody_from_an_honest_one(scene, tmp_path, capsys):
    honest_one = type(scene.authority)(tmp_path, scene.authority.office, "honest")
    context = server_context(honest_one.leaf, honest_one.identity.tls_key, [WORLD.owner.ca_certificate])
    with AuthorityServer(("127.0.0.1", 0), lambda: context, honest_one.keeper.at, Limits()) as server:
        addresses = {uuid("ma"): scene.address, uuid("honest"): f"https://127.0.0.1:{server.port}"}
        trust_list = register_of(scene.authority.office, addresses)
        (scene.directory / "trust.xml").write_bytes(trust_list)
        fill(honest_one, trust_list)
        leave(honest_one, take_enrolment_request, OURS, ENROLMENT)
        forged = enrolments.under_the_kept_signature(enrolments.exchanged(enrolments.MINE, enrolments.OTHER, "base.ek"))
        scene.lie = handing_out(Kind.ENROLMENT_REQUEST, forged)
        granted = scene.approve(ENROLMENT_DIGITS, everywhere=True)
        assert granted["taken-by"] == [str(uuid("honest"))]
        assert [(u["authority"], u["error"]) for u in granted["unreached"]] == [(str(uuid("ma")), "SignatureInvalid")]
        assert f"authority {uuid('ma')}: " in capsys.readouterr().err
    honest_one.close()


# The annex is the authority's own word, signed by its own key: what of it counts, others prove.


def lying_annex(scene, signer=None, **changes) -> Lie:
    def lie(kind: Kind, document: bytes) -> bytes:
        if kind is not Kind.RESTORE_ANNEX:
            return document
        value, _ = RESTORE_ANNEX.read(document)
        assert isinstance(value, RestoreAnnex)
        return sign(RESTORE_ANNEX.write(replace(value, **changes)), signer or scene.authority_signer)

    return lie


ANNEXES = {
    "RequestID": ({"request_id": bytes(32)}, RequestInvalid),
    "RequestDigest": ({"request_digest": bytes(32)}, RequestInvalid),
    "Destination": ({"entries": (entry_of(OURS, str(uuid("another"))),)}, WrongRole),
    "EntryTwice": ({"entries": (entry_of(OURS), entry_of(OURS))}, RequestInvalid),
}


@pytest.mark.parametrize(("changes", "error"), ANNEXES.values(), ids=ANNEXES)
def test_an_annex_that_does_not_answer_the_request_is_refused(scene, changes, error):
    leave(scene.authority, take_restore_request, CHIP, BARE)
    scene.lie = lying_annex(scene, **changes)
    refused(scene, RESTORE_DIGITS, error)


def test_an_annex_by_a_stranger_is_refused(scene):
    leave(scene.authority, take_restore_request, CHIP, BARE)
    stranger = make_owner("stranger").signer_of(Role.MIGRATION_AUTHORITY, "ma")
    scene.lie = lying_annex(scene, stranger)
    refused(scene, RESTORE_DIGITS, UntrustedSigner)


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (entry_of(THEIRS), NotEnrolled),
        (replace(entry_of(OURS), inner_keys=entry_of(THEIRS).inner_keys), InnerKeyMismatch),
    ],
)
def test_keys_that_an_annex_puts_in_the_place_of_others_are_not_approved(scene, entry, error):
    leave(scene.authority, take_restore_request, CHIP, BARE)
    scene.lie = lying_annex(scene, entries=(entry,))
    before = scene.files()
    with pytest.raises(error):
        scene.approve(RESTORE_DIGITS)
    assert scene.files() == before
