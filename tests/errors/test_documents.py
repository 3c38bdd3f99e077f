"""What README and docs tell somebody to type can be typed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.errors.test_hints import PARSERS, problem

PROJECT = Path(__file__).parents[2]
DOCUMENTS = (PROJECT / "README.md", *sorted(PROJECT.glob("docs/*.md")))
COMMAND = re.compile(rf"(?:{'|'.join(PARSERS)})\s+\S")


def commands(text: str) -> Iterator[str]:
    """Of blocks, whose lines are indented, and of what stands in backquotes."""
    blocks = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    for said in (*blocks, *re.findall("`([^`]*)`", re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE))):
        for command in re.split(r"&&|\||;", said.partition(" #")[0]):
            if COMMAND.match(command.strip()) and "VERB" not in command:  # which stands for any
                yield command.strip()


def test_commands_are_found():
    found = list(commands("Say `lmsctl\n  status`, or `status`:\n\n    make && lmsctl archive  # now, `lmsctl all`\n"))
    assert [command.split() for command in found] == [["lmsctl", "archive"], ["lmsctl", "status"]]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_is_to_be_typed_can_be_typed(document):
    found = list(commands(document.read_text()))
    assert [(one, wrong) for one in found if (wrong := problem(one.split(), "lmsctl")) is not None] == []


def test_there_is_something_to_type():
    assert sum(len(list(commands(document.read_text()))) for document in DOCUMENTS) > 100
