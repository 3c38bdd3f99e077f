"""Reading a command line so that whoever asks for JSON gets JSON, also where the command line is wrong."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final, NoReturn, Self

from lms.errors import BadRequest

_DISTRIBUTION: Final = "local-migration-service"
_WRITTEN: Final = frozenset({"output", "request_to"})


class _Version(argparse.Action):
    """Says which version this is, and ends: 0."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version  # as costly as all else that a program needs to begin

        sys.stdout.write(f"{parser.prog} {version(_DISTRIBUTION)}\n")
        parser.exit()


class Parser(argparse.ArgumentParser):
    """Raises BadRequest for a command line that it cannot read; its program says its `--version`."""

    @classmethod
    def of_program(cls, program: str, description: str) -> Self:
        """The command line of a whole program."""
        made = cls(prog=program, description=description)
        made.add_argument("--version", action=_Version, nargs=0, help="say which version this is")
        return made

    def error(self, message: str) -> NoReturn:
        """What argparse found wrong; `--help` says the rest."""
        raise BadRequest(f"cannot read the command line: {message}")


class CommandLine:
    """A program with verbs. What is said of all of them is said before the verb or behind it."""

    def __init__(self, program: str, description: str, *flags: tuple[str, str]) -> None:
        """`flags`: more of what is said of all verbs, each with its help."""
        self.parser = Parser.of_program(program, description)
        self._everywhere = Parser(add_help=False)
        self._add_common(self.parser, flags)
        self._add_common(self._everywhere, flags, default=argparse.SUPPRESS)
        self._verbs = self.parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    @staticmethod
    def _add_common(parser: argparse.ArgumentParser, flags: tuple[tuple[str, str], ...], **more: Any) -> None:
        parser.add_argument("--config", metavar="FILE", help="configuration instead of /etc/lms/lms.toml", **more)
        for flag, text in (("--json", "answer as one JSON object"), *flags):
            parser.add_argument(flag, action="store_true", help=text, **more)

    def verb(self, name: str, text: str, run: Any, within: Any = None) -> argparse.ArgumentParser:
        """A verb, or an act of a verb; `run` takes the arguments."""
        made: argparse.ArgumentParser = (within or self._verbs).add_parser(
            name, help=text, description=text, parents=[self._everywhere]
        )
        made.set_defaults(run=run)
        return made


def refuse_two_readers(arguments: argparse.Namespace) -> None:
    """Standard input is read once. Raises BadRequest where two options name it."""
    readers = [name for name, value in vars(arguments).items() if value == "-" and name not in _WRITTEN]
    if len(readers) > 1:
        words = " and ".join(f"--{name.replace('_', '-')}" for name in readers)
        raise BadRequest(f"cannot read {words} from one standard input: give all but one by a file")
