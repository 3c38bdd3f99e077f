"""Reading a record of ours from its file: one that cannot be read is damaged, whatever is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from lms.errors import MalformedStructure, StateDamaged
from lms.files import read_regular_file
from lms.wire.record import read_record

T = TypeVar("T")


def load_record(kind: type[T], path: Path, max_bytes: int) -> T | None:
    """The record in a file; None where there is no file. Raises StateDamaged, FileProblem."""
    if not os.path.lexists(path):
        return None
    content = read_regular_file(path, max_bytes, links=False)
    try:
        return read_record(kind, content)
    except MalformedStructure as error:
        raise StateDamaged(f"cannot read '{path}': it is damaged ({error})") from None
