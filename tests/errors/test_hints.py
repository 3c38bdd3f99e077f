"""Every error says what to do next, in words that its program knows (STYLE, habit 8).

What stands in backquotes is a command, an option or a key of the configuration, and is compared with their tables.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

import pytest

from lms import errors
from lms.authority.main import _parser as authority_parser
from lms.cli.main import _parser as lmsctl_parser
from lms.config import SETTINGS
from lms.errors import AUTHORITY_PROGRAM, Blame, LmsError

PARSERS = {"lmsctl": lmsctl_parser(), AUTHORITY_PROGRAM: authority_parser()}
KEYS = {name.rpartition(".")[2] for name in SETTINGS}
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LmsError)]
SAYINGS = [(kind, program) for kind in KINDS for program in PARSERS]
# Words that somebody can follow.
DOING = (
    "add", "allow", "answer", "archive", "ask", "authenticate", "begin", "bring", "check", "compare", "configure",
    "correct", "enroll", "find out", "give", "have an owner", "keep", "make", "name", "provision", "remove", "report",
    "restore", "run", "say", "see", "set", "start", "take", "try again", "unregister", "update", "use", "wait",
)  # fmt: skip


def within(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Verbs, or acts of a verb, by their names."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Options here and below."""
    for action in parser._actions:
        yield from action.option_strings
    for below in within(parser).values():
        yield from options(below)


def spans(hint: str) -> list[list[str]]:
    """What stands in backquotes, as words."""
    return [span.split() for span in re.findall("`([^`]*)`", hint)]


def problem(words: list[str], program: str) -> str | None:
    """Why nobody could type this; `program` is the one that a command without a name belongs to."""
    if words[0] in PARSERS:
        program, words = words[0], words[1:]
    parser = PARSERS[program]
    if words and len(words) == 1 and words[0] in KEYS:
        return None
    while words and not words[0].startswith("--") and within(parser):
        if words[0] not in within(parser):
            return f"{program} has no '{words[0]}'"
        parser, words = within(parser)[words[0]], words[1:]
    unknown = {word for word in words if word.startswith("--")} - {*options(parser)}
    return f"{parser.prog} has no {unknown}" if unknown else None


@pytest.mark.parametrize(("kind", "program"), SAYINGS, ids=lambda value: getattr(value, "__name__", value))
def test_what_a_hint_tells_to_type_can_be_typed(kind, program):
    hint = kind("").hint_at(program)
    assert hint.count("`") % 2 == 0
    assert not re.search("--[a-z]", re.sub("`[^`]*`", "", hint)), "an option belongs into backquotes"
    for words in spans(hint):
        assert problem(words, program if program in kind.hints else "lmsctl") is None, hint


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_hint_is_a_line_that_tells_what_to_do(kind):
    for hint in (kind.hint, *kind.hints.values()):
        words = re.sub("`lmsctl |`lms-authority ", "run `", hint)
        assert any(re.search(rf"\b{doing}\b", words) for doing in DOING), hint
        assert "\n" not in hint
        assert not hint.endswith((".", ":", " "))
        assert hint[0] == "`" or hint[0].islower()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_hint_is_fit_for_its_program(kind):
    assert set(kind.hints) <= {AUTHORITY_PROGRAM}
    assert "lmsctl" not in kind.hints.get(AUTHORITY_PROGRAM, "")
    if kind.blame is not Blame.US:
        assert kind.hint != LmsError.hint, "only a defect is reported"


def test_a_command_that_is_none_is_found_out():
    assert problem(["lmsctl", "restore", "--token", "FILE"], "lmsctl") is None
    assert problem(["station", "init"], AUTHORITY_PROGRAM) is None
    assert problem(["lmsctl", "resurrect"], "lmsctl") is not None
    assert problem(["lmsctl", "restore", "--force"], "lmsctl") is not None
    assert problem(["--force"], "lmsctl") is not None
    assert problem(["colour"], "lmsctl") is not None
