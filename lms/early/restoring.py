"""The key is gone: bring it back from the recovery copy, with a token that is plugged in, or say why not.

Everything is bounded, and nobody is asked for a password that would be of no use.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from lms.config import Configuration
from lms.early.asking import asked_password
from lms.early.looking import is_in_its_place
from lms.early.media import token_at
from lms.errors import LmsError, OwnerAuthFailed, PlatformUnknown, Unanswered, WrongPassword
from lms.journal import begin_log
from lms.model.recovery import RecoveryFacts
from lms.names import OWNER_AUTH, STATE, TOKEN, TOKEN_PASSWORD
from lms.process import harden, provided_secrets, run_program

_LOG: Final = logging.getLogger(__name__)
_PATIENCE_S: Final = 90
_QUESTION: Final = "Password of the recovery token (empty: go on without it)"
_AGAIN: Final = f"That was not it. {_QUESTION}"


def restore(configuration: Configuration, config: Path | None, facts: RecoveryFacts) -> None:
    """Return with the key in its place. Raises the error that keeps it away."""
    harden()
    begin_log("lms-restore")
    token = token_at(configuration.recovery_token)
    told = [] if config is None else ["--config", str(config)]
    _check_ready(configuration, told)
    try:
        _restore(token, told)
    except LmsError as error:
        if not is_in_its_place(configuration.tcti, facts):
            raise
        # Places that need a network, or are mounted later, get their copies later.
        _LOG.warning("the recoverable key is back, and not all else: %s", error)
    else:
        _LOG.info("the recoverable key is back")


def _check_ready(configuration: Configuration, told: list[str]) -> None:
    """Nobody is asked for a password that would be of no use."""
    if not (configuration.state_directory / STATE).exists():
        raise PlatformUnknown(f"cannot restore yet: there is no state in '{configuration.state_directory}'")
    status = json.loads(run_program("lms.boot", ["status", *told], {"options": b"{}"}))
    if status["owner-auth-set"] and not provided_secrets(OWNER_AUTH):
        raise OwnerAuthFailed("cannot restore unattended: the TPM has an owner authorisation, and none is kept here")


def _restore(token: bytes, told: list[str]) -> None:
    """Ask for the password, again where it is wrong, and restore."""
    expires = time.monotonic() + _PATIENCE_S
    for question in (_QUESTION, _AGAIN):
        with suppress(WrongPassword):
            return _attempt(question, expires, token, told)
    return _attempt(_AGAIN, expires, token, told)


def _attempt(question: str, expires: float, token: bytes, told: list[str]) -> None:
    password = asked_password(question, max(int(expires - time.monotonic()), 1))
    if password is None:
        raise Unanswered("cannot restore yet: nobody gave the password of the token")
    inputs = {"options": b"{}", TOKEN: token, TOKEN_PASSWORD: password.reveal()}
    run_program("lms.boot", ["restore", *told], inputs)
