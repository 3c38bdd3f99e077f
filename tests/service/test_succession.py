"""A TPM that got the keys by token is known to the authorities at once, and takes the place of the one before."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

import pytest

from lms.errors import (
    AuthorityUnreachable,
    BadRequest,
    NotAuthorised,
    NotEnrolled,
    Retired,
    TrustListConflict,
)
from lms.model.platform import Health
from lms.model.tpm import SealedObject
from lms.model.trust import Identity, Pair, Role
from lms.service.archive import archive
from lms.service.enroll import trust_list_of
from lms.service.line import chip_of, line_of
from lms.service.setting import NO_SECRET
from lms.wire.anchor import read_owner
from lms.wire.exchange_v1 import TRUST_LIST
from lms.wire.signature import sign
from lms.wire.trust_list import read_trust_list
from tests.support.documents import NOW, PASSWORD, signed_token, uuid
from tests.support.migration import BOTH_MODES, Authority, Office, approve_platform, archived_at
from tests.support.platform import PRECIOUS, Platform, Token, no_authority


def token_of(office: Office) -> Token:
    """The owner's token, with its seed and a password."""
    return Token(signed_token(office.world), office.world.owner, PASSWORD.reveal())


class Case(NamedTuple):
    """A new board with the old disk, the machine that it was, who keeps the keys, and their owner."""

    board: Platform
    old: Platform
    office: Office
    authority: Authority
    child: SealedObject

    def restore(self, **changes):
        package = self.board.store.load_package()
        assert package is not None
        return self.board.restore(token_of(self.office), package, **changes)

    @property
    def known(self):
        """The trust list at the authority."""
        with self.authority.vault.transaction() as transaction:
            (owner,) = transaction.owners()
        return read_trust_list(owner.trust_list, self.office.world.owner)

    @property
    def pairs(self):
        """The TPMs of the platform that the authority knows."""
        return self.known.platform(self.board.state.platform_id).pairs


def case_of(world, tmp_path, machines) -> Case:
    authority, directory = world.authority.copied_to(tmp_path), world.machine.directory
    board, old = machines(disk_of=directory), machines(disk_of=directory, tpm_of=directory)
    for machine in (board, old):
        machine.now, machine.connect = NOW, authority.connect
    return Case(board, old, authority.office, authority, world.child)


@pytest.fixture(scope="module", **BOTH_MODES)
def world(tmp_path_factory, request):
    with archived_at(request.param, tmp_path_factory.mktemp("world"), token=True) as world:
        yield world


@pytest.fixture(scope="module")
def plain_world(tmp_path_factory):
    with archived_at(Authority, tmp_path_factory.mktemp("plain"), token=True) as world:
        yield world


@pytest.fixture
def case(world, tmp_path, machines):
    """At an authority in software, and with its vault in a TPM."""
    made = case_of(world, tmp_path, machines)
    yield made
    made.authority.close()


@pytest.fixture
def plain(plain_world, tmp_path, machines):
    """At an authority in software."""
    made = case_of(plain_world, tmp_path, machines)
    yield made
    made.authority.close()


def pair_of(platform: Platform) -> Pair:
    return Pair(platform.state.ek_name, platform.state.srk_name)


def archives(platform: Platform) -> bool:
    """Whether the authority still takes a package from it; it may have to read the newest one's number first."""
    with suppress(NotAuthorised, Retired):
        archive(platform.setting)
        return True
    return False


def test_the_authority_takes_the_next_package_from_the_new_tpm_and_none_from_the_old_one(case):
    assert archives(case.old)  # until then it may
    board, known = case.board, case.known
    assert case.restore().changed
    assert board.unseal(case.child) == PRECIOUS
    assert board.state.health is Health.PROTECTED
    assert board.state.enrolment is not None
    assert case.authority.packages(board.state.platform_id)[0].package_id == board.state.package_id
    assert (case.pairs, case.known.number) == ((pair_of(board),), known.number + 2)
    assert case.known.number == trust_list_of(board.state).number
    assert not archives(case.old)
    assert archives(board)


def without_network(case: Case, **changes) -> None:
    """The keys come back while no authority can be reached."""
    case.board.connect = no_authority
    with pytest.raises(AuthorityUnreachable):
        case.restore(**changes)
    assert case.board.unseal(case.child) == PRECIOUS
    case.board.connect = case.authority.connect


def show(case: Case) -> None:
    """The authority sees the new trust list, and no package."""
    state = case.board.state
    (authority,) = trust_list_of(state).standing_authorities
    line_of(case.board.setting, state, authority, NO_SECRET)


def test_until_the_new_tpm_has_archived_the_old_one_goes_on(plain):
    without_network(plain)
    show(plain)
    assert plain.pairs == (pair_of(plain.old), pair_of(plain.board))
    assert archives(plain.old)
    assert archives(plain.board)
    assert plain.pairs == (pair_of(plain.board),)
    assert not archives(plain.old)


def test_a_stolen_tpm_is_out_as_soon_as_the_authority_hears_of_it(case):
    assert archives(case.old)
    without_network(case, stolen=True)
    assert archives(case.old)  # nobody told the authority yet
    show(case)
    assert case.pairs == (pair_of(case.board),)
    assert not archives(case.old)
    assert archives(case.board)


def test_a_restore_on_the_same_tpm_spends_no_number(plain):
    machine = plain.old
    before = machine.state.trust_list
    machine.evict()
    assert machine.restore(token_of(plain.office), machine.store.load_package()).changed
    assert machine.state.trust_list == before
    assert machine.state.confirmed_list is None
    assert machine.state.enrolment is not None
    assert archives(machine)


def test_a_restore_that_is_begun_again_still_takes_the_place_of_the_old_tpm(plain):
    """The key went away after it was written down, as if the process had ended before it was persisted."""
    without_network(plain)
    once = trust_list_of(plain.board.state).number
    plain.board.evict()
    assert plain.restore().changed
    assert trust_list_of(plain.board.state).number == once + 1
    assert plain.pairs == (pair_of(plain.board),)


def test_a_later_word_of_the_owner_stands(plain):
    """What the register said meanwhile is not overtaken by what was signed before."""
    without_network(plain)
    board, office = plain.board, plain.office
    office.trust_list = board.state.trust_list
    show(plain)
    plain.authority.station.upload(b"", office.withdraw(Identity(Role.STATION, uuid("one"))))
    assert archives(board)
    assert board.state.confirmed_list is None
    assert board.state.trust_list == office.trust_list
    assert plain.pairs == (pair_of(plain.old), pair_of(board))


def test_a_number_that_the_register_gave_out_meanwhile_is_told_and_not_given_out_twice(plain):
    """The keys are back all the same, and the owner approves the TPM from the register."""
    office, board = plain.office, plain.board
    named = office.withdraw(Identity(Role.STATION, uuid("one")))
    plain.authority.station.upload(b"", named)
    with pytest.raises(TrustListConflict, match="number"):
        plain.restore()
    assert board.unseal(plain.child) == PRECIOUS
    assert (plain.known, plain.pairs) == (
        read_trust_list(named, office.world.owner),
        (pair_of(plain.old),),
    )
    approve_platform(board, office, replacement=True)
    assert archives(board)


def test_behind_the_register_the_tpm_is_approved_from_it(plain):
    office, board = plain.office, plain.board
    for name in ("one", "two"):
        plain.authority.station.upload(b"", office.withdraw(Identity(Role.STATION, uuid(name))))
    with pytest.raises(NotAuthorised):
        plain.restore()
    assert board.unseal(plain.child) == PRECIOUS
    approve_platform(board, office, replacement=True)
    assert archives(board)


def test_with_the_register_at_hand_its_next_number_is_given_out(plain):
    """What the machine did not hear of is not lost."""
    office, board = plain.office, plain.board
    office.withdraw(Identity(Role.STATION, uuid("one")))
    plain.authority.station.upload(b"", office.withdraw(Identity(Role.STATION, uuid("two"))))
    named = read_trust_list(office.trust_list, office.world.owner)
    assert plain.restore(trust_list=office.trust_list).changed
    assert plain.known.number == named.number + 2
    assert (plain.known.withdrawn, plain.pairs) == (named.withdrawn, (pair_of(board),))


def test_an_old_copy_of_the_register_is_not_gone_on_from(plain):
    board, known = plain.board, trust_list_of(plain.board.state)
    old = sign(TRUST_LIST.write(replace(known, number=known.number - 1)), plain.office.world.signer)
    assert plain.restore(trust_list=old).changed
    assert trust_list_of(board.state).number == known.number + 2


def test_a_register_that_says_otherwise_under_a_known_number_is_refused(plain):
    board, known = plain.board, trust_list_of(plain.board.state)
    other = sign(TRUST_LIST.write(replace(known, issued=NOW - timedelta(days=1))), plain.office.world.signer)
    with pytest.raises(TrustListConflict):
        plain.restore(trust_list=other)
    assert board.key_at() is None
    assert plain.restore(trust_list=board.state.trust_list).changed


def test_a_bare_machine_takes_the_place_of_the_old_one_where_the_register_is_at_hand(case, machines):
    bare = machines()
    bare.now, bare.connect = NOW, case.authority.connect
    package = case.old.store.load_package()
    order = {"confirmed_key": case.old.state.require_drsk().name.digits, "trust_list": case.office.trust_list}
    assert archives(case.old)
    assert bare.restore(token_of(case.office), package, **order).changed
    assert bare.unseal(case.child) == PRECIOUS
    assert case.pairs == (pair_of(bare),)
    assert not archives(case.old)
    assert archives(bare)


def test_a_withdrawn_platform_gets_its_keys_by_token_and_no_grant(plain):
    board, office = plain.board, plain.office
    office.now = board.now = plain.authority.now = NOW + timedelta(days=1)
    plain.authority.station.upload(b"", office.withdraw(Identity(Role.PLATFORM, board.state.platform_id)))
    board.store.save(replace(board.state, trust_list=office.trust_list))
    with pytest.raises(NotEnrolled):
        plain.restore(stolen=True)
    assert board.key_at() is None
    assert plain.restore().changed
    assert board.unseal(plain.child) == PRECIOUS
    assert (board.state.enrolment, board.state.trust_list) == (None, office.trust_list)


def test_stolen_is_refused_where_nothing_can_come_of_it(plain, machines):
    """Nothing is restored, so that nobody takes the others for retired."""
    assert plain.restore().changed
    assert plain.restore(stolen=True).changed is False  # they are retired already
    stranger = machines()
    with pytest.raises(NotEnrolled, match="trust list"):
        stranger.restore(
            token_of(plain.office),
            plain.board.store.load_package(),
            confirmed_key=plain.board.state.require_drsk().name.digits,
            stolen=True,
        )
    assert stranger.key_at() is None


def test_where_the_keys_are_in_their_place_the_owner_withdraws_the_others(plain):
    without_network(plain)
    with pytest.raises(BadRequest, match=r"withdraw platform:.* --pair"):
        plain.restore(stolen=True)


def test_what_is_signed_for_the_authorities_is_the_owners(plain):
    """The lists verify under the owner alone, and are two numbers."""
    without_network(plain)
    state = plain.board.state
    owner = read_owner(state.owner_document)
    first, second = read_trust_list(state.trust_list, owner), read_trust_list(state.confirmed_list, owner)
    assert second.number == first.number + 1 == trust_list_of(plain.old.state).number + 2
    assert chip_of(plain.board.setting, state).ek.public in first.vouched_eks
