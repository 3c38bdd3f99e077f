"""A Migration Authority that lies: it holds an approved request, and everybody's packages, and gets nothing.

It may put any package, any wrap, any approval and any certificate under what it answers. The positive control is
the same answer, honestly given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key

from lms.errors import (
    ApprovalPending,
    BlobRefused,
    GrantMismatch,
    LmsError,
    NameMismatch,
    SignatureInvalid,
    TpmFailed,
    UntrustedSigner,
    WrongRole,
)
from lms.model.authorities import Kind
from lms.model.exchange import ReleasedPackage
from lms.model.trust import Identity, Role
from lms.wire.certificates import OwnerSigner, self_issue
from lms.wire.exchange_v1 import RELEASED_PACKAGE, RESTORE_APPROVAL
from lms.wire.signature import sign
from tests.support.documents import NOW, make_owner, uuid
from tests.support.migration import BOTH_MODES, Authority, Line, Office, enrolled, restore
from tests.support.platform import Platform


class LyingLine(Line):
    """The line to an authority that answers otherwise than it should."""

    lie: Callable[[ReleasedPackage], ReleasedPackage]
    signer: OwnerSigner

    def download(self, session: bytes, kind: Kind, id: str, at_most: int | None = None) -> bytes:
        document = self._served.download(session, kind, id)
        if kind is not Kind.RELEASED_PACKAGE:
            return document
        return sign(RELEASED_PACKAGE.write(self.lie(RELEASED_PACKAGE.read(document)[0])), self.signer)


def signer_of(authority: Authority) -> OwnerSigner:
    key = load_der_private_key(authority.identity.tls_key.reveal(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return OwnerSigner(key, authority.leaf)


@pytest.fixture(scope="module", **BOTH_MODES)
def scene(tmp_path_factory, request):
    """An authority with the packages of two machines, whose owner approved one of them on a new board."""
    directory = tmp_path_factory.mktemp("scene")
    office = Office()
    authority = request.param(directory, office)
    for name in ("victim", "other"):
        with Platform(directory / name) as machine:
            enrolled(machine, office, authority, new_platform_id=uuid(name))
    yield directory, office, authority
    authority.close()


@pytest.fixture
def case(scene, machines, tmp_path):
    """A new board of the victim that waits, approved, for its release; and another of the other machine's."""
    directory, _, original = scene
    authority = original.copied_to(tmp_path)
    office = authority.office
    boards = []
    for name in ("victim", "other"):
        board = machines(disk_of=directory / name)
        board.now, board.connect = NOW, authority.connect
        with pytest.raises(ApprovalPending):
            restore(board)
        approval = office.approve(board.store.load_pending().document)
        boards.append((board, approval))
    yield office, authority, *boards
    authority.close()


def released_to(authority, board, approval) -> ReleasedPackage:
    """What the authority would honestly release to a board."""
    caught = []

    def look(released):
        caught.append(released)
        raise NameMismatch("looked at only")

    with pytest.raises(NameMismatch):
        lied_to(board, authority, approval, look)
    return caught[0]


def lied_to(board, authority, approval, lie, signer=None):
    def connect(*arguments):
        honest = authority.connect(*arguments)
        line = LyingLine.__new__(LyingLine)
        line.__dict__.update(honest.__dict__)
        line.lie, line.signer = lie, signer or signer_of(authority)
        return line

    board.connect = connect
    return restore(board, approval=approval)


def refused(case, lie, *errors: type[LmsError], signer=None):
    """The lie is refused with one of these, and nothing has changed; the truth is then believed."""
    _, authority, (board, approval), _ = case
    with pytest.raises(errors):
        lied_to(board, authority, approval, lie, signer)
    assert board.key_at() is None
    board.connect = authority.connect
    assert restore(board).changed


def test_the_honest_answer_is_believed(case):
    _, authority, (board, approval), _ = case
    restored = lied_to(board, authority, approval, lambda released: released)
    assert restored.changed
    assert board.key_at() == board.state.drsk.name


def test_another_platforms_package_is_not(case):
    _, authority, _, (other, other_approval) = case
    package = released_to(authority, other, other_approval).package
    refused(case, lambda r: replace(r, package=package), WrongRole, GrantMismatch)


def test_another_platforms_approval_is_not(case):
    _, authority, _, (other, other_approval) = case
    theirs = released_to(authority, other, other_approval)
    refused(case, lambda r: replace(r, approval=theirs.approval), GrantMismatch)


def test_everything_of_another_platform_is_not(case):
    _, authority, _, (other, other_approval) = case
    theirs = released_to(authority, other, other_approval)
    refused(case, lambda r: theirs, GrantMismatch, WrongRole)


def test_another_platforms_wrap_is_not(case):
    _, authority, _, (other, other_approval) = case
    blobs = released_to(authority, other, other_approval).blobs
    refused(
        case,
        lambda r: replace(r, blobs=tuple(replace(b, outer=blobs[0].outer) for b in r.blobs)),
        BlobRefused,
        TpmFailed,
    )


def test_the_wrap_of_another_key_only_is_not(case):
    _, authority, _, (other, other_approval) = case
    blobs = released_to(authority, other, other_approval).blobs
    refused(case, lambda r: replace(r, blobs=blobs), GrantMismatch)


def test_a_package_altered_by_a_byte_is_not(case):
    def alter(released):
        package = bytearray(released.package)
        at = package.index(b"<HostName>") + 10
        package[at] ^= 1
        return replace(released, package=bytes(package))

    refused(case, alter, SignatureInvalid)


def test_another_key_in_its_place_is_not(case):
    key = ec.generate_private_key(ec.SECP256R1())
    _, authority, _, _ = case
    identity = Identity(Role.MIGRATION_AUTHORITY, authority.identity.ma_id)
    stranger = OwnerSigner(key, self_issue(identity, key, NOW))
    refused(case, lambda r: r, UntrustedSigner, signer=stranger)


def test_another_owners_approval_is_not(case):
    _, authority, (board, approval), _ = case
    stranger = Office(world=make_owner("stranger"))
    honest = released_to(authority, board, approval)
    signer = stranger.world.signer
    value, _ = RESTORE_APPROVAL.read(honest.approval)
    forged = sign(RESTORE_APPROVAL.write(value), signer)
    refused(case, lambda r: replace(r, approval=forged), UntrustedSigner)
