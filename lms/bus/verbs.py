"""The verbs of the Manager, and the translation of what a call of one carries: options, secrets, flags (DESIGN §4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lms import names
from lms.errors import BadRequest
from lms.link.tables import Call

JOBS: Final = (
    "provision",
    "enroll",
    "forget",
    "register",
    "unregister",
    "retrieve",
    "seal",
    "unseal",
    "archive",
    "restore",
)
"""Each makes a job."""

QUESTIONS: Final = (
    "status",
    "keys",
    "pcrs",
    "handles",
    "packages",
    "authorities",
    "inspect",
    "verify",
)
"""Each is answered at once."""

_HEALTH: Final[Mapping[str, tuple[str, ...]]] = {"status": ("state", "meaning", "reason", "explanation")}
"""What of an answer is everybody's, where not all of it is."""

TAKES: Final = "a{sv} options, a{sh} secrets, t flags"
_INTERACTIVE: Final = 1
_MAX_OPTIONS: Final = 64 * 1024
_KIB: Final = 1024
_MIB: Final = 1024 * _KIB

# The words of secrets, and how many bytes each may have.
MAX_BYTES: Final[Mapping[str, int]] = {
    names.OWNER_AUTH: 4 * _KIB,
    names.ENDORSEMENT_AUTH: 4 * _KIB,
    names.TOKEN: 1 * _MIB,
    names.TOKEN_PASSWORD: 4 * _KIB,
    names.USER_PASSWORD: 4 * _KIB,
    names.NEW_PASSWORD: 4 * _KIB,
    names.PERSONAL_SECRET: 4 * _KIB,
    names.RESET_CODE: 16 * _KIB,
    names.APPROVAL: 16 * _MIB,
    names.CONFIRMATION: 4 * _KIB,
    names.OWNER: 1 * _MIB,
    names.PACKAGE: 64 * _MIB,
    names.SHEET: 64 * _KIB,
    names.GRANT: 16 * _MIB,
    names.PUBLIC: 4 * _KIB,
    names.PRIVATE: 4 * _KIB,
    names.SENSITIVE: 4 * _KIB,
    names.PASSWORD: 64 * _KIB,
    names.DATA: 32 * _MIB,
}


def member(verb: str) -> str:
    """The method of a verb: CamelCase."""
    return "".join(word.capitalize() for word in verb.split("-"))


def shown(verb: str, answer: Mapping[str, Any], privileged: bool) -> Mapping[str, Any]:
    """What of an answer a caller sees: others than root see health, and what is their own."""
    kept = answer.keys() if privileged else _HEALTH.get(verb, answer.keys())
    return {key: value for key, value in answer.items() if key in kept}


def interactive(call: Call) -> bool:
    """Whether flags allow to ask a person for a password. Raises BadRequest for flags that nobody knows."""
    flags: int = call.body[2]
    if flags & ~_INTERACTIVE:
        raise BadRequest(f"cannot use the flags {flags:#x}: only {_INTERACTIVE:#x} (interactive) is known")
    return bool(flags) or call.interactive


def options(call: Call) -> dict[str, Any]:
    """The options of a call. Raises BadRequest where they are too much to write down."""
    given: dict[str, Any] = call.body[0]
    if len(repr(given)) > _MAX_OPTIONS:
        raise BadRequest("cannot use these options: they are too long")
    return given


def secrets(call: Call) -> dict[str, bytes]:
    """The content of all secrets of a call. Raises BadRequest."""
    given: dict[str, int] = call.body[1]
    return {word: secret(call, word, index) for word, index in given.items()}


def secret(call: Call, word: str, index: int) -> bytes:
    """The content of one descriptor of a call. Raises BadRequest."""
    if word not in MAX_BYTES:
        raise BadRequest(f"cannot use '{word}': there is no such word; known are " + ", ".join(MAX_BYTES))
    return call.descriptors.content(index, MAX_BYTES[word])
