"""A token that is opened in this process, once for all tests: what it gives is real, only its password costs nothing.

That `lms.opener` opens tokens in a process of its own is for the tests that start it.
"""

from __future__ import annotations

from functools import cache

from lms.errors import OwnerMismatch
from lms.model.owner import Owner
from lms.model.release import Release, ReleaseRequest
from lms.model.secret import Secret
from lms.opener import open_token
from lms.service.releasing import release_and_grant
from lms.wire.record import read_record, write_record
from lms.wire.seed import OwnerKeys


@cache
def _opened(token: bytes, password: bytes) -> tuple[Owner, OwnerKeys]:
    return open_token(token, Secret(password))


class OpenedHere:
    """`lms.ports.TokenOpener` without a process between: a token is opened by its password all the same."""

    def __init__(self, token: bytes, password: Secret) -> None:
        self._token, self._password = token, password

    def vouch(self, owner: Owner) -> None:
        """Go on only where the password opens the token of this owner."""
        opened, _ = _opened(self._token, self._password.reveal())
        if opened.document != owner.document:
            raise OwnerMismatch("another owner's token was opened")

    def release(self, request: ReleaseRequest) -> Release:
        """What the token gives to a new TPM, as it comes out of a process."""
        asked = read_record(ReleaseRequest, write_record(request))
        released = release_and_grant(asked, *_opened(self._token, self._password.reveal()))
        return read_record(Release, write_record(released))
