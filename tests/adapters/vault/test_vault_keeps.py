"""What an authority keeps comes back as it was (lms.ports.Vault), from either database."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest

from lms.errors import PackageConflict, VaultFailed
from lms.model.authorities import ListedRequest, RequestKind, RequestState
from tests.adapters.vault.conftest import (
    EK,
    HOSTILE,
    NOON,
    OTHER,
    OTHER_PLATFORM,
    OWNER,
    PLATFORM,
    SRK,
    a_package,
    a_release,
    a_request,
    an_owner,
)

MIB = 2**20


def listed(kept):
    return ListedRequest(kept.request_id, kept.kind, kept.platform_id, kept.received, kept.state)


def test_an_owner_is_added_and_replaced(vault):
    one, two = an_owner(b"a"), an_owner(b"b", combined=True)
    newer = replace(one, trust_list=b"<t>2</t>", combined=True)
    with vault.transaction() as transaction:
        transaction.keep_owner(two)
        transaction.keep_owner(one)
        assert transaction.owners() == (one, two)
    with vault.transaction() as transaction:
        transaction.keep_owner(newer)
    with vault.transaction() as transaction:
        assert transaction.owners() == (newer, two)


def test_packages_are_listed_by_sequence_and_by_platform(vault):
    mine = [a_package(n, stored=NOON - timedelta(seconds=n % 7)) for n in (2, 9, 10, 2**40)]
    other = a_package(5, platform_id=OTHER_PLATFORM)
    with vault.transaction() as transaction:
        for package in random.Random(1).sample([*mine, other], 5):
            transaction.keep_package(package, b"<p/>")
    with vault.transaction() as transaction:
        assert transaction.packages(PLATFORM) == tuple(reversed(mine))
        assert transaction.packages(OTHER_PLATFORM) == (other,)
        assert transaction.packages(UUID(int=3)) == ()


def test_a_document_of_64_mib_comes_back_to_the_byte(vault):
    document = random.Random(2).randbytes(64 * MIB)
    package = a_package(document=document)
    with vault.transaction() as transaction:
        transaction.keep_package(package, document)
    with vault.transaction() as transaction:
        assert transaction.package(package.package_id) == document
        assert transaction.package(UUID(int=3)) is None


@pytest.mark.parametrize("taken", ["package_id", "sequence", "both"])
def test_a_package_is_never_overwritten(vault, taken):
    first = a_package(4)
    second = {
        "package_id": a_package(5, package_id=first.package_id),
        "sequence": a_package(4),
        "both": first,
    }[taken]
    with vault.transaction() as transaction:
        transaction.keep_package(first, b"<first/>")
    with vault.transaction() as transaction:
        with pytest.raises(PackageConflict):
            transaction.keep_package(second, b"<second/>")
        # A conflict is an answer, not a failure: the transaction goes on.
        transaction.keep_package(a_package(4, platform_id=OTHER_PLATFORM), b"<third/>")
    with vault.transaction() as transaction:
        assert transaction.packages(PLATFORM) == (first,)
        assert transaction.package(first.package_id) == b"<first/>"
        assert len(transaction.packages(OTHER_PLATFORM)) == 1


def test_the_first_mark_stays(vault):
    one, two = a_package(1), a_package(2)
    with vault.transaction() as transaction:
        transaction.keep_package(one, b"<p/>")
        transaction.keep_package(two, b"<p/>")
        transaction.mark_package(one.package_id, NOON)
        transaction.mark_package(one.package_id, NOON + timedelta(days=30))
        transaction.mark_package(UUID(int=3), NOON)
    with vault.transaction() as transaction:
        assert transaction.packages(PLATFORM) == (two, replace(one, marked=NOON))


def test_a_dropped_package_is_gone_with_its_document_and_its_places_are_free(vault):
    package, other = a_package(1), a_package(2)
    with vault.transaction() as transaction:
        transaction.keep_package(package, b"<p/>")
        transaction.keep_package(other, b"<q/>")
    with vault.transaction() as transaction:
        transaction.drop_package(package.package_id)
        transaction.drop_package(UUID(int=3))
    with vault.transaction() as transaction:
        assert transaction.package(package.package_id) is None
        assert transaction.packages(PLATFORM) == (other,)
        transaction.keep_package(package, b"<again/>")
        assert transaction.package(package.package_id) == b"<again/>"
        assert transaction.package(other.package_id) == b"<q/>"


def test_a_request_is_added_answered_and_forgotten(vault):
    asked = a_request(kind=RequestKind.ENROLMENT)
    answered = replace(asked, state=RequestState.APPROVED, answer=b"<grant/>")
    with vault.transaction() as transaction:
        assert transaction.request(asked.request_id) is None
        transaction.keep_request(asked)
        assert transaction.request(asked.request_id) == asked
    with vault.transaction() as transaction:
        transaction.keep_request(answered)
    with vault.transaction() as transaction:
        assert transaction.request(asked.request_id) == answered
        transaction.drop_request(asked.request_id)
        transaction.drop_request(asked.request_id)
        assert transaction.request(asked.request_id) is None


def test_a_queue_shows_its_owners_requests_newest_first(vault):
    requests = [a_request(n) for n in (1, 2, 3)]
    with vault.transaction() as transaction:
        for request in (requests[1], a_request(9, owner=b"x" * 32), requests[0], requests[2]):
            transaction.keep_request(request)
        assert transaction.requests(OWNER) == tuple(map(listed, reversed(requests)))
        assert transaction.requests(b"y" * 32) == ()


def test_a_tpm_finds_its_requests_in_every_queue_newest_first(vault):
    requests = [a_request(1), a_request(2, owner=b"x" * 32), a_request(3, srk_name=OTHER)]
    with vault.transaction() as transaction:
        for request in (*requests, a_request(4, ek_name=OTHER)):
            transaction.keep_request(request)
        assert transaction.requests_of(EK) == tuple(map(listed, reversed(requests)))
        assert transaction.requests_of(SRK) == ()


def test_whoever_has_most_pending_crowds_with_the_oldest(vault):
    with vault.transaction() as transaction:
        assert transaction.crowding_request() is None
        transaction.keep_request(a_request(1, address="192.0.2.1"))
        transaction.keep_request(a_request(2, address="192.0.2.2"))
        assert transaction.crowding_request() == a_request(1).request_id
        transaction.keep_request(a_request(3, address="192.0.2.2"))
        transaction.keep_request(a_request(4, address="192.0.2.1", state=RequestState.DENIED))
        transaction.keep_request(a_request(5, address="192.0.2.1", state=RequestState.APPROVED))
        assert transaction.crowding_request() == a_request(2).request_id


def test_requests_are_forgotten_by_kind_state_and_age(vault):
    old = [
        a_request(1),
        a_request(2, state=RequestState.APPROVED),
        a_request(3, kind=RequestKind.ENROLMENT),
        a_request(4),
    ]
    with vault.transaction() as transaction:
        for request in old:
            transaction.keep_request(request)
        transaction.forget_requests(RequestKind.RESTORE, RequestState.PENDING, old[3].received)
        assert transaction.requests(OWNER) == tuple(map(listed, (old[3], old[2], old[1])))


def test_only_pending_requests_count(vault):
    with vault.transaction() as transaction:
        assert transaction.count_requests(None) == 0
        for n, address, state in (
            (1, "192.0.2.1", RequestState.PENDING),
            (2, "192.0.2.1", RequestState.PENDING),
            (3, "192.0.2.1", RequestState.DENIED),
            (4, "192.0.2.1", RequestState.APPROVED),
            (5, "2001:db8::1", RequestState.PENDING),
        ):
            transaction.keep_request(a_request(n, address=address, state=state))
        counts = [transaction.count_requests(a) for a in ("192.0.2.1", "2001:db8::1", "192.0.2.2", None)]
    assert counts == [2, 1, 0, 3]


def test_a_release_is_added_and_replaced(vault):
    first, second = a_release(1), a_release(2, stolen=True, retires=())
    with vault.transaction() as transaction:
        transaction.keep_release(first)
        transaction.keep_release(second)
        transaction.keep_release(a_release(3, platform_id=OTHER_PLATFORM))
    ended = replace(first, ended=True, confirmed=True)
    with vault.transaction() as transaction:
        assert transaction.releases(PLATFORM) == (second, first)
        transaction.keep_release(ended)
    with vault.transaction() as transaction:
        assert transaction.releases(PLATFORM) == (second, ended)


def test_times_are_utc_and_exact_whatever_their_zone_was(vault):
    east = datetime(2026, 1, 1, 0, 30, 0, 123456, tzinfo=timezone(timedelta(hours=14)))
    with vault.transaction() as transaction:
        transaction.keep_package(a_package(stored=east), b"<p/>")
    with vault.transaction() as transaction:
        (kept,) = transaction.packages(PLATFORM)
    assert kept.stored == east
    assert kept.stored.utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_that_means_something_to_sql_is_data(vault, text):
    kept, document = a_request(1, address=text), text.encode()
    with vault.transaction() as transaction:
        transaction.keep_package(a_package(), b"<p/>")
        transaction.keep_request(kept)
        transaction.keep_request(a_request(2, address="192.0.2.1", document=document, answer=document))
    with vault.transaction() as transaction:
        assert transaction.request(kept.request_id) == kept
        assert transaction.count_requests(text) == 1
        assert transaction.count_requests(text + "'") == 0
        assert transaction.request(a_request(2).request_id).answer == document
        assert len(transaction.packages(PLATFORM)) == 1


@pytest.mark.parametrize(
    "changes",
    [{"sequence": 2**70}, {"stored": datetime(2026, 1, 1)}],  # noqa: DTZ001
    ids=["number", "time-without-a-zone"],
)
def test_what_fits_no_column_is_refused_without_being_quoted(vault, changes):
    with pytest.raises(VaultFailed, match="cannot keep a package") as caught, vault.transaction() as transaction:
        transaction.keep_package(a_package(**changes), b"<p/>")
    assert str(next(iter(changes.values()))) not in str(caught.value)
    with vault.transaction() as transaction:
        assert transaction.packages(PLATFORM) == ()
