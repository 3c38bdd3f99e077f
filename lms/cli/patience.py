"""What a person at a terminal sees while an act is done: its steps, and that the TPM takes its time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from lms.terminal import say

_QUIET_S: Final = 2.0


def _nothing(step: str) -> None:
    """Nobody looks on."""


@contextmanager
def shown_steps(quiet_s: float = _QUIET_S) -> Iterator[Callable[[str], None]]:
    """What takes the steps of an act; where none is heard for so long, it is the TPM that is waited for."""
    if not sys.stderr.isatty():
        yield _nothing
        return
    shown = ""
    notice = threading.Timer(quiet_s, say, ("lmsctl", "waiting for the TPM…"))
    notice.daemon = True

    def tell(step: str) -> None:
        nonlocal shown
        notice.cancel()
        if step and step != shown:
            say("lmsctl", f"{step} …")
            shown = step

    notice.start()
    try:
        yield tell
    finally:
        notice.cancel()
