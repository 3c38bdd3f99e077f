"""Which request is meant by how its digits begin, and how many of them a list shows."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from lms.authority.queue import meant
from lms.authority.waiting import _beginnings
from lms.errors import RequestAmbiguous
from lms.model.authorities import ListedRequest, RequestKind, RequestState
from lms.model.keys import digits


def asked(beginning: bytes) -> ListedRequest:
    """A request whose RequestID begins like this."""
    received = datetime(2026, 1, 2, tzinfo=UTC)
    return ListedRequest(beginning.ljust(32, b"."), RequestKind.RESTORE, UUID(int=1), received, RequestState.PENDING)


# The first two have 20 bits in common, which is one group of digits, and no more than 40.
ONE, LIKE_IT, OTHER = asked(b"same one"), asked(b"same two"), asked(b"other")
DIGITS = digits(ONE.request_id)


def listed(*requests: ListedRequest) -> list[ListedRequest]:
    """As two authorities list them."""
    return [*requests, *requests]


@pytest.mark.parametrize(
    "said",
    [DIGITS, DIGITS.lower().replace("-", ""), DIGITS[:9], DIGITS[:4], f"{DIGITS[:4]}-…", ONE.request_id.hex().upper()],
)
def test_a_request_is_meant_by_how_its_digits_begin(said):
    assert meant(said, listed(ONE, OTHER)) == [ONE, ONE]


@pytest.mark.parametrize("said", ["", "…", "-", DIGITS[:3], "AAAA", f"{DIGITS}-AAAA", ONE.request_id.hex()[:16]])
def test_too_little_and_other_digits_mean_none(said):
    assert meant(said, listed(ONE, OTHER)) == []


def test_of_two_that_begin_alike_none_is_meant():
    assert digits(LIKE_IT.request_id)[:4] == DIGITS[:4]
    with pytest.raises(RequestAmbiguous, match="2 begin like this"):
        meant(DIGITS[:4], listed(ONE, LIKE_IT))
    assert {*meant(DIGITS, listed(ONE, LIKE_IT))} == {ONE}


def test_a_list_shows_as_many_digits_as_tell_requests_apart_and_never_all():
    assert _beginnings([ONE, ONE, OTHER])[ONE.request_id] == f"{DIGITS[:4]}-…"
    shown = _beginnings([ONE, LIKE_IT])
    assert shown[ONE.request_id] == f"{DIGITS[:9]}-…"
    assert len({*_beginnings([asked(b"the same one"), asked(b"the same two")]).values()}) == 1
