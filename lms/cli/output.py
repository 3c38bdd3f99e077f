"""What `lmsctl` shows: answers on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from typing import Any

from lms.errors import LmsError


def show(answer: dict[str, Any], as_json: bool) -> None:
    """An answer, as one JSON object or as lines for people; absent values are left out of the lines."""
    if as_json:
        print(json.dumps(answer, indent=2))
        return
    for key, value in answer.items():
        if value is None or value == []:
            continue
        if isinstance(value, list):
            for item in value:
                print(f"{key + ':':16}{_words(item)}")
        else:
            print(f"{key + ':':16}{_words(value)}")


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return " ".join(str(v) for v in value.values() if v is not None)
    return str(value)


def say(text: str) -> None:
    """A remark to the person at the terminal."""
    print(f"lmsctl: {text}", file=sys.stderr)


def complain(error: LmsError, as_json: bool) -> int:
    """Show an error and return its exit code."""
    if as_json:
        print(json.dumps({"error": type(error).__name__, "message": str(error), "hint": error.hint}))
    say(str(error))
    say(f"hint: {error.hint}")
    return error.exit_code
