"""How a person hands over secrets: a file, standard input, or a prompt; never an argument."""

from __future__ import annotations

import getpass
import secrets
import sys
from pathlib import Path
from typing import Final

from lms.errors import BadRequest
from lms.files import read_file

_MAX_SECRET: Final = 4096
_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_GROUPS: Final = 5
_GROUP: Final = 4


def generated_password() -> str:
    """A password of 100 bits in groups that can be read aloud."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))


def read_secret(source: str | None, prompt: str, *, confirm: bool = False) -> bytes:
    """A secret from a file, from standard input ("-"), or asked for; one final newline is not part of it.

    Raises BadRequest where nobody can be asked.
    """
    if source == "-":
        return _stripped(sys.stdin.buffer.read(_MAX_SECRET + 1))
    if source is not None:
        return _stripped(read_file(Path(source), _MAX_SECRET))
    if not sys.stdin.isatty():
        raise BadRequest(f"cannot ask for the {prompt}: this is no terminal, give it by a file")
    secret = getpass.getpass(f"{prompt}: ")
    if confirm and getpass.getpass(f"{prompt}, again: ") != secret:
        raise BadRequest(f"cannot use the {prompt}: it was typed differently the second time")
    return secret.encode("utf-8")


def _stripped(content: bytes) -> bytes:
    if len(content) > _MAX_SECRET:
        raise BadRequest(f"cannot use a secret of more than {_MAX_SECRET} bytes")
    return content.removesuffix(b"\n").removesuffix(b"\r")
