"""Answers as lines for people: names, columns and what is absent."""

from __future__ import annotations

import io
import json

import pytest

from lms.terminal import show


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
