"""The serial console of a machine, as a person before it: reads on, waits for words, types."""

from __future__ import annotations

import re
import socket
from threading import Condition, Thread


class Console:
    """One for each time that the machine is on; it keeps all that was said.

    `plug` is the end of the line that the machine's process inherits; `begin` lets go of it here.
    """

    def __init__(self) -> None:
        self._line, self.plug = socket.socketpair()
        self._said = bytearray()
        self._read = 0
        self._changed = Condition()
        self._ended = False
        self._reader = Thread(target=self._listen, daemon=True)

    def begin(self) -> None:
        """The machine is on: it alone has the other end."""
        self.plug.close()
        self._reader.start()

    @property
    def text(self) -> str:
        """Everything since the machine was switched on."""
        return self._said.decode(errors="replace")

    def wait(self, pattern: str, within_s: float = 900) -> str:
        """The next words that match, after those of the last wait.

        Raises TimeoutError; ConnectionError where the machine went off before it said them.
        """
        wanted = re.compile(pattern.encode())

        def found() -> re.Match[bytes] | None:
            return wanted.search(self._said, self._read)

        with self._changed:
            heard = self._changed.wait_for(lambda: found() or self._ended, within_s)
            match = found()
            if match is None:
                error = ConnectionError if heard else TimeoutError
                raise error(f"the machine never said {pattern!r}; its last words:\n{self.text[-3000:]}")
            self._read = match.end()
            return match[0].decode(errors="replace")

    def type(self, line: str) -> None:
        """A line and the return key."""
        self._line.sendall(line.encode() + b"\n")

    def end(self) -> None:
        """The machine is off."""
        self._reader.join()
        self._line.close()

    def _listen(self) -> None:
        while heard := self._line.recv(65536):
            with self._changed:
                self._said += heard
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
