"""Answers as lines for people: names, columns and what is absent."""

from __future__ import annotations

import io
import json

import pytest

from lms.terminal import generated_password, measured_bits, show


@pytest.fixture
def shown():
    def shown(answer, as_json=False) -> str:
        out = io.StringIO()
        show(answer, as_json, out)
        return out.getvalue()

    return shown


def test_values_stand_below_each_other_whatever_the_longest_name(shown):
    assert shown({"state": "created", "approved": False}) == "state:          created\napproved:       no\n"
    lines = shown({"state": "created", "a-name-of-more-characters": True, "places": ["one", "two"]}).splitlines()
    assert [line.index(value) for line, value in zip(lines, ("created", "yes", "one", "two"), strict=True)] == [27] * 4


def test_what_has_columns_names_them(shown):
    packages = [
        {"package": "b9", "sequence": 1, "places": ["one", "two"], "error": None},
        {"package": "c7d", "sequence": 12, "places": [], "held": False, "error": None},
    ]
    assert shown({"packages": packages}).splitlines() == [
        "packages:",
        "  package  sequence  places   held",
        "  b9       1         one,two  -",
        "  c7d      12        -        no",
    ]


def test_what_is_absent_has_no_line_but_stays_in_json(shown):
    answer = {"state": "created", "destinations": [], "reason": None}
    assert shown(answer) == "state:          created\n"
    assert json.loads(shown(answer, as_json=True)) == answer


@pytest.mark.parametrize(
    ("password", "bits"),
    [
        (b"", 0),
        (b"secret", 28),
        (b"Secret7", 41),
        (b"a" * 40, 4),
        (b"abcdefghijklmnopqrstuvwxyz", 9),
        (b"987654321", 6),
    ],
)
def test_a_password_has_at_most_the_bits_of_its_length_and_kinds(password, bits):
    assert measured_bits(password) == bits


def test_a_password_is_measured_as_it_is_typed_on_every_keyboard():
    assert measured_bits("e\N{COMBINING ACUTE ACCENT}".encode()) == measured_bits(
        "\N{LATIN SMALL LETTER E WITH ACUTE}".encode()
    )
    assert measured_bits(b"\xff\xfe") > 0


def test_a_generated_password_is_enough():
    assert measured_bits(generated_password().encode()) >= 80
