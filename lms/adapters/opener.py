"""`lms.ports.TokenOpener`: runs `lms.opener`. Token, password and keys live in that process only and die with it."""

from __future__ import annotations

from lms.errors import BadRequest, OwnerMismatch
from lms.model.owner import Owner
from lms.model.release import Release, ReleaseRequest
from lms.model.secret import Secret
from lms.process import run_program
from lms.wire.record import read_record, write_record


class OpenerProcess:
    """Opens one token."""

    def __init__(self, token: bytes, password: Secret) -> None:
        if not password:
            raise BadRequest("cannot open the token: no password was given")
        self._token = token
        self._password = password

    def vouch(self, owner: Owner) -> None:
        """Open the token: its password makes it the word of this owner."""
        inputs = {"token": self._token, "token-password": self._password.reveal(), "request": b""}
        if run_program("lms.opener", ["vouch"], inputs) != owner.document:
            raise OwnerMismatch("cannot trust the owner document: the token that was opened is another owner's")

    def release(self, request: ReleaseRequest) -> Release:
        """Wrap the keys of a package to a new TPM and certify its signing key."""
        inputs = {
            "token": self._token,
            "token-password": self._password.reveal(),
            "request": write_record(request),
        }
        return read_record(Release, run_program("lms.opener", ["release"], inputs))
