"""A program of ours whose journal is the socket JOURNAL, and whose stderr is believed to lead there."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from lms import journal

if __name__ == "__main__":
    journal.SOCKET = os.environ["JOURNAL"]
    stderr = os.fstat(sys.stderr.fileno())
    os.environ["JOURNAL_STREAM"] = f"{stderr.st_dev}:{stderr.st_ino}"
    sys.exit(import_module(os.environ["PROGRAM"]).main())
