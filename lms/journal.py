"""What a service writes down: lines for people, and fields of systemd's journal to find them by.

Where systemd connected stderr to its journal, a record goes there as an entry of its own, with its priority and the
fields that came with it (sd_journal_send(3)); elsewhere it is a line on stderr. Neither a secret nor a word of what
somebody entrusted is in it: whoever logs sees to that.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import Final

from systemd.journal import send

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


class _JournalHandler(logging.Handler):
    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def emit(self, record: logging.LogRecord) -> None:
        # Not the handler of systemd-python: it writes down whatever stands in a record, arguments too.
        send(
            self.format(record),
            PRIORITY=str(_PRIORITIES.get(record.levelno, _INFORMATION)),
            SYSLOG_IDENTIFIER=self._program,
            LOGGER=record.name,
            CODE_FILE=record.pathname,
            CODE_LINE=record.lineno,
            CODE_FUNC=record.funcName,
            **getattr(record, "journal", {}),
        )
