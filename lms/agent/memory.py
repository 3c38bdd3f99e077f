"""What a user was told, kept beyond the end of his session, so that nothing is told twice."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lms.errors import FileProblem
from lms.files import ensure_directory, is_there, read_regular_file, write_file

_MAX_BYTES: Final = 16384
_MAX_THINGS: Final = 16
_LOG: Final = logging.getLogger("lms-agent")


def default_path() -> Path:
    """Where it lies (XDG Base Directory Specification; a relative path there counts as none)."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local/state") / "lms" / "told.json"


class Memory:
    """The things that were told since all was well, the newest; what is forgotten is news when it comes again.

    A file that cannot be read or written costs no more than to be told twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told = self._read()

    def knows(self, thing: Sequence[str]) -> bool:
        """Whether this was told."""
        return list(thing) in self._told

    def keep(self, thing: Sequence[str]) -> None:
        """This is told now."""
        if not self.knows(thing):
            self._write([*self._told, list(thing)][-_MAX_THINGS:])

    def forget(self) -> None:
        """All is well."""
        if self._told:
            self._write([])

    def _write(self, told: list[list[str]]) -> None:
        self._told = told
        try:
            ensure_directory(self._path.parent)
            write_file(self._path, json.dumps({"told": self._told}).encode("utf-8"))
        except FileProblem as error:
            _LOG.warning("%s", error)

    def _read(self) -> list[list[str]]:
        try:
            if not is_there(self._path):
                return []
            found = json.loads(read_regular_file(self._path, _MAX_BYTES))
        except (FileProblem, ValueError) as error:
            _LOG.warning("cannot tell what was told before: %s", error)
            return []
        told = found.get("told") if isinstance(found, dict) else None
        return [thing for thing in told if isinstance(thing, list)] if isinstance(told, list) else []
