"""A full table takes from whoever holds most; a call costs the same however much is in it."""

from __future__ import annotations

from lms.service.keeping.shares import Shares

CROWD, ONE = "192.0.2.66", "198.51.100.1"


def key(number: int) -> bytes:
    return number.to_bytes(4)


def test_what_is_put_is_found_until_it_is_taken():
    shares = Shares(10, 60.0)
    shares.put(b"a", 1, ONE, 0.0)
    assert shares.find(b"a", 59.9) == 1
    assert shares.take(b"a", 59.9) == 1
    assert shares.take(b"a", 59.9) is None
    assert shares.find(b"a", 59.9) is None


def test_what_is_old_is_forgotten():
    shares = Shares(10, 60.0)
    shares.put(b"a", 1, ONE, 0.0)
    shares.put(b"b", 2, ONE, 30.0)
    assert shares.find(b"a", 60.0) is None
    assert shares.find(b"b", 60.0) == 2
    assert shares.take(b"b", 90.0) is None


def test_a_flood_pushes_out_its_own_oldest():
    shares = Shares(100, 60.0)
    shares.put(b"one", 0, ONE, 0.0)
    for number in range(1000):
        shares.put(key(number), number, CROWD, 1.0)
    assert shares.find(b"one", 1.0) == 0
    left = [number for number in range(1000) if shares.find(key(number), 1.0) is not None]
    assert left == list(range(901, 1000))


def test_a_newcomer_finds_room_in_a_table_that_another_filled():
    shares = Shares(100, 60.0)
    for number in range(100):
        shares.put(key(number), number, CROWD, 0.0)
    shares.put(b"one", 0, ONE, 0.0)
    assert shares.find(b"one", 0.0) == 0
    assert shares.find(key(0), 0.0) is None
    assert shares.find(key(1), 0.0) == 1


def test_where_all_hold_one_the_oldest_goes():
    shares = Shares(3, 60.0)
    for number in range(4):
        shares.put(key(number), number, f"192.0.2.{number}", 0.0)
    assert [shares.find(key(number), 0.0) for number in range(4)] == [None, 1, 2, 3]


def test_a_call_touches_no_entry_that_has_not_ended():
    """Each entry is dropped once; nothing walks over the others."""
    shares = Shares(1000, 60.0)
    for number in range(1000):
        shares.put(key(number), number, ONE, float(number) / 100)
    dropped = []
    drop = shares._drop
    shares._drop = lambda entry: dropped.append(entry) or drop(entry)
    assert shares.find(key(999), 61.0) == 999
    assert dropped == [key(number) for number in range(101)]
    shares.find(key(999), 61.0)
    assert len(dropped) == 101
