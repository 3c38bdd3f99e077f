"""Requests and answers that an authority's operator carries, for an owner without a network."""

from __future__ import annotations

import pytest

from lms.errors import ApprovalPending, Denied, NotAtAuthority, NotInitialised, UntrustedSigner, WrongDocument
from lms.model.authorities import RequestKind
from lms.model.keys import Name
from lms.model.tpm import OuterWrap
from lms.service.enrolment import request_enrolment
from lms.service.enrolment_by_authority import enroll_by_authority
from lms.service.keeping import AuthoritySetting
from lms.service.keeping.by_hand import ClosedVaultKey, deny, exported, queued, take
from lms.service.setting import NO_SECRET
from lms.wire.enrolment import read_platform_enrolment
from lms.wire.exchange_v1 import RESTORE_APPROVAL
from lms.wire.signature import sign
from tests.support.documents import NOW, make_owner
from tests.support.migration import ADDRESS, BOTH_MODES, archived_at, restore
from tests.support.platform import PRECIOUS


@pytest.fixture(**BOTH_MODES)
def lost(tmp_path, machines, request):
    """A board that waits for the keys of a machine which had archived; its authority, and a child of the key."""
    with archived_at(request.param, tmp_path) as (machine, _, authority, child):
        board = machines(disk_of=machine.directory)
        board.now, board.connect = NOW, authority.connect
        (board.state_directory / "package.xml").unlink()  # so the request names no package
        with pytest.raises(ApprovalPending):
            restore(board)
        yield board, authority, child


@pytest.fixture
def closed(lost):
    """The authority as its operator has it."""
    setting = lost[1].setting
    key = ClosedVaultKey(setting.identity.vault)
    return AuthoritySetting(setting.identity, setting.vault, key, setting.leaf, setting.now, setting.monotonic)


def test_a_restore_is_carried_with_its_annex_and_its_approval_is_taken(lost, closed):
    board, authority, child = lost
    with closed.vault.transaction() as transaction:
        ((served, listed),) = queued(transaction)
        request, annex = exported(closed, transaction, served, listed)
    assert request == board.store.load_pending().document
    approval = authority.office.approve(request, annex)
    with closed.vault.transaction() as transaction:
        assert take(closed, transaction, approval).changed
        assert not take(closed, transaction, approval).changed
    assert restore(board).changed
    assert board.unseal(child) == PRECIOUS


def test_what_the_owner_did_not_sign_is_not_taken(lost, closed):
    board, authority, _ = lost
    request = board.store.load_pending().document
    with closed.vault.transaction() as transaction:
        ((served, listed),) = queued(transaction)
        approval = authority.office.approve(*exported(closed, transaction, served, listed))
    forged = sign(RESTORE_APPROVAL.write(RESTORE_APPROVAL.read(approval)[0]), make_owner("stranger").signer)
    for document, error in ((forged, UntrustedSigner), (request, WrongDocument)):
        with pytest.raises(error), closed.vault.transaction() as transaction:
            take(closed, transaction, document)
    with pytest.raises(ApprovalPending):
        restore(board)
    with closed.vault.transaction() as transaction:
        assert take(closed, transaction, approval).changed
    assert restore(board).changed


def test_a_denial_at_the_authority_is_heard_and_ends_an_approval(lost, closed):
    board, authority, child = lost
    with closed.vault.transaction() as transaction:
        ((served, listed),) = queued(transaction)
        approval = authority.office.approve(*exported(closed, transaction, served, listed))
        assert take(closed, transaction, approval).changed
        assert deny(transaction, listed.request_id).changed
        assert not deny(transaction, listed.request_id).changed
    with pytest.raises(Denied), closed.vault.transaction() as transaction:
        take(closed, transaction, approval)
    with pytest.raises(Denied):
        restore(board)
    with pytest.raises(ApprovalPending):
        restore(board)
    with closed.vault.transaction() as transaction:
        (again,) = (one for one in queued(transaction) if one[1].request_id != listed.request_id)
        assert take(closed, transaction, authority.office.approve(*exported(closed, transaction, *again))).changed
    assert restore(board).changed
    assert board.unseal(child) == PRECIOUS


def test_a_vault_that_stays_closed_passes_nothing_on(closed):
    with pytest.raises(NotInitialised):
        closed.key.rewrap(Name(bytes.fromhex("000b") + bytes(32)), OuterWrap(b"", b""), b"")


def test_an_enrolment_is_carried_without_an_annex(lost, closed, machines):
    _, authority, _ = lost
    fresh = machines()
    fresh.now, fresh.connect = NOW, authority.connect
    fresh.provision(authority.office.token)
    with pytest.raises(ApprovalPending):
        enroll_by_authority(fresh.setting, ADDRESS, authority.identity.ma_id, NO_SECRET)
    with closed.vault.transaction() as transaction:
        ((served, listed),) = (one for one in queued(transaction) if one[1].kind is RequestKind.ENROLMENT)
        document, annex = exported(closed, transaction, served, listed)
        assert read_platform_enrolment(document).request_id == request_enrolment(fresh.setting)[1]
        assert annex is None


def test_what_was_forgotten_is_not_carried(closed):
    with closed.vault.transaction() as transaction:
        ((served, listed),) = queued(transaction)
        transaction.drop_request(listed.request_id)
        with pytest.raises(NotAtAuthority):
            exported(closed, transaction, served, listed)
        with pytest.raises(NotAtAuthority):
            deny(transaction, listed.request_id)
        assert not list(queued(transaction))
