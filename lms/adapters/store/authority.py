"""The state directory of a Migration Authority: `identity.json` and `request.xml`, each replaced wholly.

Packages and owners are `lms.adapters.vault`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lms.files import ensure_directory, read_file, write_file
from lms.model.authorities import AuthorityIdentity
from lms.wire.document import MIB
from lms.wire.record import read_record, write_record

_IDENTITY: Final = "identity.json"
_REQUEST: Final = "request.xml"


def authority_lives_in(directory: Path) -> bool:
    """Whether an MA keeps its keys in a directory, also where only another user may look into it."""
    try:
        return (directory / _IDENTITY).exists()
    except PermissionError:
        return True


class AuthorityDirectory:
    """An MA's directory, mode 0700; the private keys of a software MA lie in it, mode 0600, as they are."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        ensure_directory(directory)

    def load(self) -> AuthorityIdentity | None:
        """The identity, or None before `init`."""
        path = self._directory / _IDENTITY
        return read_record(AuthorityIdentity, read_file(path, MIB)) if path.exists() else None

    def save(self, identity: AuthorityIdentity) -> None:
        """Replace the identity, wholly or not at all."""
        write_file(self._directory / _IDENTITY, write_record(identity))

    def load_request(self) -> bytes | None:
        """The enrolment request that was made last."""
        path = self._directory / _REQUEST
        return read_file(path, MIB) if path.exists() else None

    def save_request(self, document: bytes) -> None:
        """Replace the enrolment request."""
        write_file(self._directory / _REQUEST, document)
