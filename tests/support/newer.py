"""A program of ours that was released on a day that the clock has not reached: `MODULE` of the environment."""

from __future__ import annotations

import os
import runpy
from datetime import UTC, datetime

from lms import names

RELEASED = datetime(2099, 12, 31, tzinfo=UTC)

if __name__ == "__main__":
    names.RELEASED = RELEASED
    runpy.run_module(os.environ["MODULE"], run_name="__main__", alter_sys=True)
