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

_MAX_BYTES: Final = 4096
_LOG: Final = logging.getLogger("lms-agent")


def default_path() -> Path:
    """Where it lies (XDG Base Directory Specification; a relative path there counts as none)."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local/state") / "lms" / "told.json"


class Memory:
    """One thing, the last that was told; what is forgotten is news when it comes again.

    A file that cannot be read or written costs no more than to be told twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told = self._read()

    def knows(self, thing: Sequence[str]) -> bool:
        """Whether this was told."""
        return self._told == list(thing)

    def keep(self, thing: Sequence[str]) -> None:
        """This is told now, and what was told before is no more so; with nothing in it: nothing is."""
        if self.knows(thing):
            return
        self._told = list(thing)
        try:
            ensure_directory(self._path.parent)
            write_file(self._path, json.dumps({"told": self._told}).encode("utf-8"))
        except FileProblem as error:
            _LOG.warning("%s", error)

    def _read(self) -> list[str]:
        try:
            if not is_there(self._path):
                return []
            found = json.loads(read_regular_file(self._path, _MAX_BYTES))
        except (FileProblem, ValueError) as error:
            _LOG.warning("cannot tell what was told before: %s", error)
            return []
        told = found.get("told") if isinstance(found, dict) else None
        return [str(word) for word in told] if isinstance(told, list) else []
