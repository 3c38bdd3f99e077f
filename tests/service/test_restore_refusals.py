"""What a restore refuses, each beside what it takes; a refusal leaves TPM and disk as they were."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lms.adapters.opener import OpenerProcess
from lms.errors import (
    BadRequest,
    ClockUnset,
    EkUntrusted,
    OwnerMismatch,
    PackageStale,
    SignatureInvalid,
    UnconfirmedPackage,
    UntrustedSigner,
    WrongPassword,
    WrongRole,
)
from lms.model.secret import Secret
from tests.service.test_restore import assert_restored, name_in


@pytest.fixture
def needy(archived):
    """A machine whose DRSK is gone."""
    archived.evict()
    return archived


def assert_untouched(platform, before) -> None:
    """No key came, the state is what it was."""
    assert platform.key_at() is None
    assert platform.store.load() == before


@pytest.mark.parametrize("password", [b"correct horse battery stapler", b"\xff\xfe"], ids=["wrong", "not-text"])
def test_a_wrong_password(needy, token, package, password):
    before = needy.state
    with pytest.raises(WrongPassword):
        needy.restore(token, package, password=password, opener=OpenerProcess)
    assert_untouched(needy, before)
    needy.restore(token, package)
    assert_restored(needy, package)


def test_no_password_is_no_password(token):
    with pytest.raises(BadRequest):
        OpenerProcess(token.document, Secret(b""))
    OpenerProcess(token.document, Secret(b"x"))


def test_the_token_of_another_owner(needy, token, stranger, package):
    before = needy.state
    with pytest.raises(OwnerMismatch):
        needy.restore(stranger, package, opener=OpenerProcess)
    assert_untouched(needy, before)
    needy.restore(token, package)
    assert_restored(needy, package)


def test_the_token_of_another_owner_on_a_machine_without_state(platform, token, stranger, package):
    """Nothing here says whose machine it is: the package itself has no blob for the stranger."""
    confirmed = name_in(package).digits
    with pytest.raises(Exception, match="no blob"):
        platform.restore(stranger, package, confirmed_key=confirmed)
    assert_untouched(platform, None)
    platform.restore(token, package, confirmed_key=confirmed)
    assert_restored(platform, package)


def test_an_altered_byte(needy, token, package):
    before = needy.state
    with pytest.raises(SignatureInvalid):
        needy.restore(token, package.replace(b"testhost", b"bestghost"[:8]))
    assert_untouched(needy, before)
    needy.restore(token, package)
    assert_restored(needy, package)


def test_a_stale_package_is_taken_by_its_number_only(archived, token, package, child):
    archived.archive()
    newest = archived.packages[-1].read_bytes()
    archived.evict()
    before = archived.state
    for accepted in (None, 2, 7):
        with pytest.raises(PackageStale):
            archived.restore(token, package, accepted_stale=accepted)
    assert_untouched(archived, before)
    assert archived.restore(token, package, accepted_stale=1).state.sequence == 3
    assert_restored(archived, package)
    assert newest != archived.packages[-1].read_bytes()


def test_the_newest_package_needs_no_word(archived, token):
    archived.archive()
    newest = archived.packages[-1].read_bytes()
    archived.evict()
    archived.restore(token, newest)
    assert_restored(archived, newest)


def test_the_package_of_another_platform(machines, needy, token, package):
    another = machines()
    another.provision(token)
    another.enroll()
    another.archive()
    before = needy.state
    with pytest.raises(WrongRole):
        needy.restore(token, another.packages[0].read_bytes())
    assert_untouched(needy, before)
    needy.restore(token, package)
    assert_restored(needy, package)


def test_an_unapproved_package_for_other_digits(platform, token, package):
    for digits in (None, "AAAA-AAAA-AAAA-AAAA"):
        with pytest.raises(UnconfirmedPackage, match=name_in(package).digits):
            platform.restore(token, package, confirmed_key=digits)
    assert_untouched(platform, None)
    platform.restore(token, package, confirmed_key=name_in(package).digits.lower())
    assert_restored(platform, package)


def test_digits_of_another_key_are_not_ignored_where_none_are_needed(archived, machines, token):
    board, newest = machines(disk_of=archived.directory), archived.packages[-1].read_bytes()
    with pytest.raises(UnconfirmedPackage):
        board.restore(token, newest, confirmed_key="AAAA-AAAA-AAAA-AAAA")
    board.restore(token, newest)
    assert_restored(board, newest)


def test_a_package_for_a_key_that_this_platform_never_had(machines, archived_machine, token, package):
    """The state knows another DRSK under the same PlatformID: an unapproved package does not bring this one."""
    platform = machines(disk_of=archived_machine)
    state = platform.state
    drsk = state.require_drsk()
    platform.store.save(replace(state, drsk=replace(drsk, name=state.srk_name)))
    with pytest.raises(UntrustedSigner):
        platform.restore(token, package)
    assert platform.key_at() is None
    platform.store.save(state)
    platform.restore(token, package)
    assert_restored(platform, package)


def test_a_clock_before_the_floor(needy, token, package):
    before = needy.state
    needy.now -= timedelta(days=1)
    with pytest.raises(ClockUnset):
        needy.restore(token, package)
    assert_untouched(needy, before)
    needy.now += timedelta(days=1)
    needy.restore(token, package)
    assert_restored(needy, package)


def test_a_tpm_that_nobody_vouches_for(needy, token, package):
    before = needy.state
    with pytest.raises(EkUntrusted):
        needy.restore(token, package, unverified_tpm=False)
    assert_untouched(needy, before)
    needy.restore(token, package)
    assert_restored(needy, package)
