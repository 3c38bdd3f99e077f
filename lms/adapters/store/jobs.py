"""`lms.ports.JobJournal` as one file, `jobs.json` in the state directory, replaced wholly."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lms.adapters.store.record import load_record
from lms.files import ensure_directory, write_file
from lms.model.jobs import JobLedger
from lms.wire.document import MIB
from lms.wire.record import write_record

_MAX_JOURNAL: Final = 64 * MIB


class JobFile:
    """The journal of one state directory."""

    def __init__(self, directory: Path) -> None:
        ensure_directory(directory)
        self._path = directory / "jobs.json"

    def load(self) -> JobLedger:
        """The journal; an empty one where there is none yet. Raises StateDamaged."""
        return load_record(JobLedger, self._path, _MAX_JOURNAL) or JobLedger()

    def save(self, ledger: JobLedger) -> None:
        """Replace the journal, wholly or not at all."""
        write_file(self._path, write_record(ledger))
