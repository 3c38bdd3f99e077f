"""Reading a command line so that whoever asks for JSON gets JSON, also where the command line is wrong."""

from __future__ import annotations

import argparse
from typing import Final, NoReturn

from lms.errors import BadRequest

_WRITTEN: Final = frozenset({"output", "request_to"})


class Parser(argparse.ArgumentParser):
    """Raises BadRequest for a command line that it cannot read."""

    def error(self, message: str) -> NoReturn:
        """What argparse found wrong; `--help` says the rest."""
        raise BadRequest(f"cannot read the command line: {message}")


def refuse_two_readers(arguments: argparse.Namespace) -> None:
    """Standard input is read once. Raises BadRequest where two options name it."""
    readers = [name for name, value in vars(arguments).items() if value == "-" and name not in _WRITTEN]
    if len(readers) > 1:
        words = " and ".join(f"--{name.replace('_', '-')}" for name in readers)
        raise BadRequest(f"cannot read {words} from one standard input: give all but one by a file")
