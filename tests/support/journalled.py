"""A program of ours whose journal is in the directory JOURNAL, and whose stderr is believed to lead there."""

from __future__ import annotations

import ctypes
import os
import sys
from importlib import import_module
from pathlib import Path

_CLONE_NEWNS, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
_PLACE = Path("/run/systemd/journal")


def put_journal_in_place(directory: str) -> None:
    """For this process, /run/systemd/journal is that directory (as root)."""
    libc = ctypes.CDLL(None, use_errno=True)
    _PLACE.mkdir(parents=True, exist_ok=True)
    for done in (
        libc.unshare(_CLONE_NEWNS),
        libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None),
        libc.mount(directory.encode(), str(_PLACE).encode(), None, _MS_BIND, None),
    ):
        if done != 0:
            raise OSError(ctypes.get_errno(), "cannot put a journal in place")


if __name__ == "__main__":
    put_journal_in_place(os.environ["JOURNAL"])
    stderr = os.fstat(sys.stderr.fileno())
    os.environ["JOURNAL_STREAM"] = f"{stderr.st_dev}:{stderr.st_ino}"
    sys.exit(import_module(os.environ["PROGRAM"]).main())
