"""Strict marshalling: one value, one encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lms.errors import MalformedStructure
from lms.wire.tpm.marshal import Reader, Writer, sized, unsized


@given(st.integers(0, 2**8 - 1), st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_integers_round_trip(a, b, c, d):
    data = bytes(Writer().u8(a).u16(b).u32(c).u64(d))
    reader = Reader(data)
    assert (reader.u8(), reader.u16(), reader.u32(), reader.u64()) == (a, b, c, d)
    reader.end()
    assert len(data) == 15


@given(st.binary(max_size=300), st.binary(max_size=30))
def test_sized_round_trips_and_rest_is_the_rest(value, rest):
    reader = Reader(bytes(Writer().sized(value).raw(rest)))
    assert (reader.sized(), reader.rest()) == (value, rest)
    reader.end()
    assert unsized(sized(value)) == value


@given(st.binary(max_size=40), st.data())
def test_every_truncation_and_extension_is_refused(value, data):
    whole = sized(value)
    with pytest.raises(MalformedStructure):
        unsized(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(MalformedStructure):
        unsized(whole + b"\0")


def test_values_too_large_are_refused():
    with pytest.raises(OverflowError):
        Writer().u16(0x10000)
    with pytest.raises(OverflowError):
        sized(bytes(0x10000))
