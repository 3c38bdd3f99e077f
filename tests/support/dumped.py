"""`lms-authority`, which at SIGUSR1 writes its whole memory to the file MEMORY_DUMP: what root takes by gcore.

It does so itself, because a container's root may not look into a program that hardened itself; a machine's root may.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from systemd.daemon import notify

from lms.authority.main import main

_CHUNK = 1024 * 1024


def dump(path: Path) -> None:
    """All that this process can write to; `STATUS=dumped` says that it is complete."""
    places = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    with Path("/proc/self/mem").open("rb", 0) as memory, path.open("wb") as file:
        for span, rights, *_ in places:
            start, end = (int(word, 16) for word in span.split("-"))
            for at in range(start, end if "rw" in rights else start, _CHUNK):
                with suppress(OSError):  # unmapped meanwhile
                    memory.seek(at)
                    file.write(memory.read(min(_CHUNK, end - at)))
    notify("STATUS=dumped")


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, lambda *_: dump(Path(os.environ["MEMORY_DUMP"])))
    sys.exit(main())
