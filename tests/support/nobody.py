"""Runs a program of ours as nobody, who may not read this tree: `python -m tests.support.nobody MODULE …`."""

from __future__ import annotations

import importlib
import os
import sys
import tomllib  # noqa: F401 - the configuration loads it late, when nobody may read it any more

from tests.support.bus import NOBODY


def main() -> int:
    """Read the program's modules as root, then be nobody for ever."""
    program = importlib.import_module(sys.argv[1])
    del sys.argv[0]
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    return program.main()


if __name__ == "__main__":
    sys.exit(main())
