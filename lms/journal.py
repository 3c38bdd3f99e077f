"""What a service writes down: lines for people, and fields of systemd's journal to find them by.

Where systemd connected stderr to its journal, a record goes there as an entry of its own, with its priority and the
fields that came with it (Native Journal Protocol); elsewhere it is a line on stderr. Neither a secret nor a word of
what somebody entrusted is in it: whoever logs sees to that.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
import traceback
from collections.abc import Mapping
from typing import Final

SOCKET: Final = "/run/systemd/journal/socket"
_FORMAT: Final = "%(name)s: %(message)s"
_PRIORITIES: Final = {logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_INFORMATION: Final = 6


def begin_log(program: str) -> None:
    """Write down what this process logs, from INFO on."""
    handler = _JournalHandler(program) if _is_journal(sys.stderr.fileno()) else logging.StreamHandler(sys.stderr)
    logging.basicConfig(level=logging.INFO, format=_FORMAT, handlers=[handler])


def fields(**values: object) -> dict[str, dict[str, str]]:
    """For `extra` of a call of `logging`: fields of the journal, each as LMS_NAME; what is None is left out."""
    return {"journal": {f"LMS_{name.upper()}": str(value) for name, value in values.items() if value is not None}}


def defect(error: Exception) -> str:
    """What a defect is called and where it happened; not its text, which may quote a secret."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"


def _is_journal(descriptor: int) -> bool:
    """Whether what is written there goes to the journal anyway (systemd.exec(5), JOURNAL_STREAM)."""
    found = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _entry(values: Mapping[str, str]) -> bytes:
    """Each field with the size of its value before it, so that no line break in it begins another one."""
    encoded = ((name.encode("ascii"), value.encode("utf-8", "replace")) for name, value in values.items())
    return b"".join(name + b"\n" + struct.pack("<Q", len(value)) + value + b"\n" for name, value in encoded)


class _JournalHandler(logging.Handler):
    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def emit(self, record: logging.LogRecord) -> None:
        message = self.format(record)
        entry = {
            "MESSAGE": message,
            "PRIORITY": str(_PRIORITIES.get(record.levelno, _INFORMATION)),
            "SYSLOG_IDENTIFIER": self._program,
            "LOGGER": record.name,
            **getattr(record, "journal", {}),
        }
        try:
            self._socket.sendto(_entry(entry), SOCKET)
        except OSError:
            sys.stderr.write(f"{message}\n")
