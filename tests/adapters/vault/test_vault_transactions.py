"""All or nothing, one after the other, and what is said where that cannot be had (lms.ports.Vault)."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from lms.errors import AuthorityBusy, PackageConflict, VaultFailed
from tests.adapters.vault.conftest import OWNER, PLATFORM, a_package, a_request, an_owner


class Interrupted(Exception):
    """What a use case may raise inside a transaction."""


def test_an_exception_inside_takes_everything_back(vault):
    before = a_package(1)
    with vault.transaction() as transaction:
        transaction.keep_package(before, b"<p/>")

    def interrupted() -> None:
        with vault.transaction() as transaction:
            transaction.keep_owner(an_owner())
            transaction.keep_package(a_package(2), b"<p/>")
            transaction.drop_package(before.package_id)
            assert transaction.package(before.package_id) is None
            raise Interrupted

    with pytest.raises(Interrupted):
        interrupted()
    with vault.transaction() as transaction:
        assert transaction.owners() == ()
        assert transaction.packages(PLATFORM) == (before,)
        assert transaction.package(before.package_id) == b"<p/>"


def test_a_failure_caught_inside_keeps_nothing_and_is_raised_at_the_end(vault):
    def careless() -> None:
        with vault.transaction() as transaction:
            transaction.keep_owner(an_owner())
            with pytest.raises(VaultFailed):
                transaction.keep_package(a_package(2**70), b"<p/>")
            with pytest.raises(VaultFailed):
                transaction.keep_package(a_package(1), b"<p/>")

    with pytest.raises(VaultFailed, match="cannot keep a package"):
        careless()
    with vault.transaction() as transaction:
        assert transaction.owners() == ()
        assert transaction.packages(PLATFORM) == ()


def test_a_transaction_that_ended_is_of_no_use(vault):
    with vault.transaction() as transaction:
        transaction.keep_owner(an_owner())
    with pytest.raises(VaultFailed):
        transaction.keep_owner(an_owner(b"x"))


def test_two_transactions_never_both_take_the_last_place(url, opened):
    """Each looks whether there is room, then takes it: with both at work, one is told to try again."""
    vault = opened(url, wait_s=0.0)

    def take(number: int, meanwhile: Callable[[], None] | None = None) -> None:
        with vault.transaction() as transaction:
            assert transaction.count_requests(None) == 0
            transaction.keep_request(a_request(number))
            if meanwhile is not None:
                meanwhile()

    with pytest.raises(AuthorityBusy) as caught:
        take(1, lambda: take(2))
    assert caught.value.retry
    with vault.transaction() as transaction:
        left = transaction.requests(OWNER)
    assert len(left) <= 1
    for kept in left:
        with vault.transaction() as transaction:
            transaction.drop_request(kept.request_id)
    take(1)


def test_what_is_not_committed_is_not_seen(url, opened):
    """Nor does it hinder for longer than it lasts."""
    first, second = opened(url, wait_s=0.0), opened(url, wait_s=0.0)
    seen = None
    with first.transaction() as writer:
        writer.keep_owner(an_owner())
        try:
            with second.transaction() as reader:
                seen = reader.owners()
        except AuthorityBusy:
            seen = ()
    assert seen == ()
    with second.transaction() as reader:
        assert reader.owners() == (an_owner(),)


def test_threads_share_a_vault_and_lose_nothing(vault):
    threads, each = 8, 6
    together = Barrier(threads)

    def keep_next() -> int:
        """Repeats what it is told to repeat, as a server's caller does."""
        repeated = 0
        while True:
            try:
                with vault.transaction() as transaction:
                    listed = transaction.packages(PLATFORM)
                    transaction.keep_package(a_package(listed[0].sequence + 1 if listed else 1), b"<p/>")
                return repeated
            except AuthorityBusy:
                repeated += 1

    def work(_: int) -> None:
        together.wait()
        for _ in range(each):
            keep_next()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    with vault.transaction() as transaction:
        sequences = [package.sequence for package in transaction.packages(PLATFORM)]
    assert sequences == list(range(threads * each, 0, -1))


def test_one_sequence_goes_to_one_of_many_threads(vault):
    threads = 8
    together = Barrier(threads)

    def keep(_: int) -> str:
        package = a_package(1)
        together.wait()
        while True:
            try:
                with vault.transaction() as transaction:
                    transaction.keep_package(package, package.package_id.bytes)
                return "kept"
            except PackageConflict:
                return "conflict"
            except AuthorityBusy:
                continue

    with ThreadPoolExecutor(threads) as pool:
        outcomes = sorted(pool.map(keep, range(threads)))
    assert outcomes == ["conflict"] * (threads - 1) + ["kept"]
    with vault.transaction() as transaction:
        (kept,) = transaction.packages(PLATFORM)
        assert transaction.package(kept.package_id) == kept.package_id.bytes


def test_no_statement_and_no_value_is_in_a_traceback(vault):
    address = "a secret".replace(" ", "-") + "\udc80"  # no driver can encode it

    def keep() -> None:
        with vault.transaction() as transaction:
            transaction.keep_request(a_request(address=address))

    with pytest.raises(VaultFailed) as caught:
        keep()
    shown = "".join(traceback.format_exception(caught.value))
    assert "cannot keep a request" in shown
    assert "a-secret" not in shown
    assert "INSERT" not in shown
