"""`make benchmark`: all figures, as a table and as JSON. Ends with 0 unless something could not be run.

python -m tests.benchmarks [--output FILE] [packages] [daemon] [programs] [restore] [boot]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TSS2_LOG", "all+none")

from tests.benchmarks import boot, daemon, packages, programs, restore
from tests.benchmarks.figures import table, write

_SUBJECTS = {
    "packages": packages.figures,
    "daemon": daemon.figures,
    "programs": programs.figures,
    "restore": restore.figures,
    "boot": boot.figures,
}


def main() -> int:
    """Measure, show, write down."""
    parser = argparse.ArgumentParser(prog="make benchmark")
    parser.add_argument("--output", type=Path, default=Path("build/benchmark.json"), metavar="FILE")
    parser.add_argument("subjects", nargs="*", choices=[[], *_SUBJECTS], metavar="SUBJECT")
    arguments = parser.parse_args()
    found = []
    for subject in arguments.subjects or _SUBJECTS:
        print(f"measuring: {subject}", file=sys.stderr, flush=True)
        found += _SUBJECTS[subject]()
    print(table(found))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write(found, arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
