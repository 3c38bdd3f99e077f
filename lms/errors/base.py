"""What an error is: whose fault, whether to try again, what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import ClassVar, Final

AUTHORITY_PROGRAM: Final = "lms-authority"


class Blame(Enum):
    """Who has to act before the same request can succeed; the value is the exit code of `lmsctl`."""

    US = 1
    CALLER = 2
    AUTHORISATION = 3
    TPM = 4
    AUTHORITY = 5
    DOCUMENT = 6
    STATE = 7


class LmsError(Exception):
    """Base of all errors: `str(error)` says what could not be done, `hint` what to do next.

    `hints`: what to do next at another program, where its words are not those of `lmsctl`.
    """

    blame: ClassVar[Blame] = Blame.US
    retry: ClassVar[bool] = False
    hint: ClassVar[str] = "this is a defect in the service, please report it with the journal of lmsd"
    hints: ClassVar[Mapping[str, str]] = {}

    def hint_at(self, program: str) -> str:
        """What to do next, in the words of the program that shows it."""
        return self.hints.get(program, self.hint)

    @property
    def exit_code(self) -> int:
        """Exit code of `lmsctl` for this error."""
        return self.blame.value
