"""Where state and packages live on disk."""

from lms.adapters.store.archive import ArchiveDirectory
from lms.adapters.store.jobs import JobFile
from lms.adapters.store.platform import StateDirectory

__all__ = ["ArchiveDirectory", "JobFile", "StateDirectory"]
