"""Recovery sheets as an approver makes them: every way to every authority, as far as a sheet has room."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.service.judgement import make_sheet
from lms.wire.signature import sign
from lms.wire.token_v1 import SHEET_KIND, read_sheet, write_sheet
from tests.support.documents import make_owner, make_platform, uuid
from tests.support.exchange import trust_list

WORLD, OURS = make_owner(), make_platform()
(KNOWN,) = trust_list().authorities


def made(*authorities):
    """A sheet with these authorities, as whoever reads it finds it."""
    listed = replace(trust_list(), authorities=authorities)
    document = sign(write_sheet(make_sheet(OURS.id, OURS.drsk.public, WORLD.owner, listed, 3)), WORLD.signer)
    assert len(document) <= SHEET_KIND.max_bytes
    return [(a.ma_id, a.address) for a in read_sheet(document)[0].authorities]


def at(name: str, *addresses: str):
    return replace(KNOWN, ma_id=uuid(name), addresses=addresses)


def test_a_sheet_names_every_address_the_first_of_each_authority_before_the_second_of_any():
    one, two = at("one", "https://a.example", "https://b.example"), at("two", "https://c.example")
    assert made(one, two) == [
        (one.ma_id, "https://a.example"),
        (two.ma_id, "https://c.example"),
        (one.ma_id, "https://b.example"),
    ]


@pytest.mark.parametrize("length", [20, 200])
def test_what_a_sheet_has_no_room_for_is_left_out(length):
    """Two authorities with addresses that would not fit: both stay on it, the first addresses first."""
    addresses = [f"https://{'a' * (length - 20)}.{number}.example" for number in range(20)]
    found = made(at("one", *addresses), at("two", *addresses))
    assert 4 <= len(found) <= 16
    assert found[:2] == [(uuid("one"), addresses[0]), (uuid("two"), addresses[0])]
    assert [address for ma_id, address in found if ma_id == uuid("one")] == addresses[: (len(found) + 1) // 2]
