"""A person at a terminal: reads what a program shows there, types, and leaves."""

from __future__ import annotations

import os
import pty
import select
import sys
from pathlib import Path

_HANGS_S = 60.0  # who waits longer waits in vain


class Seat:
    """One run of `lmsctl`, or of another program, with a terminal of its own."""

    def __init__(self, *arguments: object, config: Path, program: str = "lms.cli.main") -> None:
        command = [sys.executable, "-m", program, "--config", str(config), *map(str, arguments)]
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.execv(command[0], command)  # the terminal is its own: prompts and Ctrl-C are those of a shell
        self.shown = ""
        self._read_to = 0
        self._ended = False

    def until(self, words: str) -> str:
        """Return when the terminal shows this after what was awaited before; what came until there."""
        while words not in self.shown[self._read_to :]:
            self._more(f"awaited '{words}'")
        start = self._read_to
        self._read_to = self.shown.index(words, start) + len(words)
        return self.shown[start : self._read_to]

    def type(self, line: str | bytes = "") -> None:
        """Type a line."""
        os.write(self._terminal, (line.encode() if isinstance(line, str) else line) + b"\n")

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.write(self._terminal, b"\x03")

    def end(self) -> int:
        """The exit code, when it has ended."""
        while not self._ended:
            self._more("awaited the end")
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _more(self, why: str) -> None:
        ready, _, _ = select.select([self._terminal], [], [], _HANGS_S)
        try:
            content = os.read(self._terminal, 65536) if ready else b""
        except OSError:  # a terminal that its last program left
            content = b""
        if not content:
            if self._ended or not ready:
                raise RuntimeError(f"{why}; the terminal shows: {self.shown}")
            self._ended = True
        self.shown += content.decode()
