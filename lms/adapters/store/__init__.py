"""Where state and packages live on disk."""

from lms.adapters.store.archive import ArchiveDirectory
from lms.adapters.store.authority import AuthorityDirectory, authority_lives_in
from lms.adapters.store.boot import RecoveryDirectory
from lms.adapters.store.jobs import JobFile
from lms.adapters.store.platform import StateDirectory
from lms.adapters.store.station import StationDirectory

__all__ = [
    "ArchiveDirectory",
    "AuthorityDirectory",
    "JobFile",
    "RecoveryDirectory",
    "StateDirectory",
    "StationDirectory",
    "authority_lives_in",
]
