"""How our programs talk to a person: answers on stdout, everything else on stderr, secrets never as arguments."""

from __future__ import annotations

import getpass
import json
import os
import re
import secrets
import sys
import unicodedata
from collections.abc import Sized
from itertools import pairwise
from math import log2
from pathlib import Path
from typing import Any, Final, TextIO

from lms.errors import BadRequest, LmsError
from lms.files import read_file

_MAX_SECRET: Final = 4096
_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
# Kinds of symbols and how many there are of each; all others are taken for those that ASCII has.
_KINDS: Final = tuple(
    (size, re.compile(kind)) for size, kind in ((26, "[a-z]"), (26, "[A-Z]"), (10, "[0-9]"), (33, "[^a-zA-Z0-9]"))
)
_GROUPS: Final = 5
_GROUP: Final = 4
_WIDTH: Final = 15


def show(answer: dict[str, Any], as_json: bool, out: TextIO | None = None) -> None:
    """An answer, as one JSON object or as lines for people; absent values are left out of the lines."""
    if as_json:
        print(json.dumps(answer, indent=2), file=out)
        return
    said = {key: value for key, value in answer.items() if value is not None and value != []}
    width = max([_WIDTH, *(len(key) + 1 for key in said)])
    for key, value in said.items():
        for line in _lines(key, value, width):
            print(line, file=out)


def _lines(key: str, value: Any, width: int) -> list[str]:
    """One line for each value; what has columns becomes a table below its name."""
    values = value if isinstance(value, list) else [value]
    if all(isinstance(item, dict) for item in values):
        return [f"{key}:", *(f"  {row}" for row in _table(values))]
    return [f"{key + ':':{width}} {_words(item)}" for item in values]


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Aligned columns below their names: those that any row has, in the order in which they appear."""
    columns = list(dict.fromkeys(key for row in rows for key, value in row.items() if value is not None))
    cells = [columns, *([_words(row.get(column)) for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _words(value: Any) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return " ".join(_words(v) for v in value.values() if v is not None and v != [])
    if isinstance(value, list):
        return ",".join(_words(v) for v in value)
    return str(value)


def printable(words: str | Path) -> str:
    """Words of others for people: names of files and texts in headers may hold what a terminal obeys, or no text."""
    text = os.fsencode(words).decode("utf-8", "backslashreplace") if isinstance(words, Path) else words
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def say(program: str, text: str) -> None:
    """A remark to the person at the terminal."""
    print(f"{program}: {text}", file=sys.stderr)


def say_of_none(program: str, listed: Sized, text: str, as_json: bool) -> None:
    """Tell a person that a list is empty; a program sees it."""
    if not listed and not as_json:
        say(program, text)


def interrupted(program: str, text: str) -> int:
    """Say what Ctrl-C left, on a line of its own, and return the exit code."""
    if sys.stderr.isatty():
        print(file=sys.stderr)
    say(program, text)
    return 130


def complain(program: str, error: LmsError, as_json: bool) -> int:
    """Show an error and return its exit code."""
    if as_json:
        print(json.dumps({"error": type(error).__name__, "message": str(error), "hint": error.hint_at(program)}))
    say(program, str(error))
    say(program, f"hint: {error.hint_at(program)}")
    return error.exit_code


def read_line(prompt: str) -> str:
    """A line from the person at the terminal, asked for on stderr; nothing secret. Raises BadRequest at its end."""
    print(f"{prompt}: ", end="", file=sys.stderr, flush=True)
    if not (line := sys.stdin.readline()):
        print(file=sys.stderr)
        raise BadRequest(f"cannot go on without the {prompt}: nothing was typed")
    return line.strip()


def generated_password() -> str:
    """A password of 100 bits in groups that can be read aloud."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))


def measured_bits(password: bytes) -> int:
    """How many bits a password has at most: its length in the alphabet of the kinds of symbols that are in it.

    A symbol that goes on as the one before (aaa, abc, 321) counts nothing. Words are not recognised: one that looks
    strong may be weak, one that looks weak is.
    """
    text = unicodedata.normalize("NFC", password.decode("utf-8", "replace"))
    alphabet = sum(size for size, kind in _KINDS if kind.search(text))
    steps = [ord(after) - ord(before) for before, after in pairwise(text)]
    going_on = sum(step in (0, last) for last, step in zip([None, *steps], steps, strict=False))
    return int((len(text) - going_on) * log2(max(alphabet, 1)))


def read_secret(source: str | None, prompt: str, *, confirm: bool = False, option: str = "") -> bytes:
    """A secret from a file, from standard input ("-"), or asked for; one final newline is not part of it.

    `option`: which one names the file.
    Raises BadRequest where nobody can be asked.
    """
    if source == "-":
        return _stripped(sys.stdin.buffer.read(_MAX_SECRET + 1))
    if source is not None:
        return _stripped(read_file(Path(source), _MAX_SECRET))
    if not sys.stdin.isatty():
        how = f"give {option} FILE" if option else "name a file that holds it"
        raise BadRequest(f"cannot ask for the {prompt}: this is no terminal, {how}")
    try:
        secret = getpass.getpass(f"{prompt}: ")
    except EOFError:
        print(file=sys.stderr)
        raise BadRequest(f"cannot go on without the {prompt}: nothing was typed") from None
    if confirm and getpass.getpass(f"{prompt}, again: ") != secret:
        raise BadRequest(f"cannot use the {prompt}: it was typed differently the second time")
    return secret.encode("utf-8")


def _stripped(content: bytes) -> bytes:
    if len(content) > _MAX_SECRET:
        raise BadRequest(f"cannot use a secret of more than {_MAX_SECRET} bytes")
    return content.removesuffix(b"\n").removesuffix(b"\r")
