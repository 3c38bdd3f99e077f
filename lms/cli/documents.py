"""The verbs that need no daemon and no TPM: `token`, `inspect`, `verify`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lms.errors import BadRequest, FileExists, LmsError
from lms.files import create_file, is_there, read_regular_file
from lms.process import run_program
from lms.terminal import generated_password, measured_bits, read_secret, say
from lms.wire.anchor import confirm_owner, read_owned_token
from lms.wire.document import MIB
from lms.wire.inspection import inspect_document, owner_facts, verify_package

Answer = dict[str, Any]
_ENOUGH_BITS: Final = 80  # PROTOCOL §6
_MAX_DOCUMENT: Final = 128 * MIB


def _document(name: str) -> bytes:
    return read_regular_file(Path(name), _MAX_DOCUMENT)


@contextmanager
def _about(name: str) -> Iterator[None]:
    """An error of a document names its file: people have several."""
    try:
        yield
    except LmsError as error:
        raise type(error)(f"cannot use '{name}': {error}") from None


def token_create(arguments: argparse.Namespace) -> Answer:
    """A new Emergency Recovery Token in a new file."""
    path = Path(arguments.file)
    if is_there(path):
        raise FileExists(f"cannot create '{path}': file exists")
    generated = arguments.token_password is None and sys.stdin.isatty() and sys.stderr.isatty()
    if generated:
        password = generated_password().encode("ascii")
    else:
        password = read_secret(arguments.token_password, "token password", confirm=True, option="--token-password")
    if not password:
        raise BadRequest("cannot create a token without a password")
    if (bits := measured_bits(password)) < _ENOUGH_BITS:
        say("lmsctl", f"the password is weak: it has at most {bits} bits, and {_ENOUGH_BITS} are needed")
        say("lmsctl", "who has this file can try; at a terminal, without `--token-password`, one is generated")
    now = datetime.now(UTC).replace(microsecond=0).isoformat().encode("ascii")
    document = run_program("lms.opener", ["create"], {"token-password": password, "request": now})
    _, owner = read_owned_token(document)
    create_file(path, document)
    if generated:
        say("lmsctl", f"the token's password, shown this once: {password.decode('ascii')}")
    say("lmsctl", "write the fingerprint down: it is how you will know your own token")
    say("lmsctl", "keep this file on removable media, apart from the archives and from the password")
    return {"file": str(path), **owner_facts(owner)}


def token_show(arguments: argparse.Namespace) -> Answer:
    """What a token's outside tells; needs no password."""
    document = _document(arguments.file)
    with _about(arguments.file):
        token, owner = read_owned_token(document)
    cost = f"Argon2id, {token.cost.memory // 1024} MiB, {token.cost.time} passes, {token.cost.parallelism} lanes"
    return {**owner_facts(owner), "password": cost}


def token_public(arguments: argparse.Namespace) -> Answer:
    """The owner document of a token: all that platforms need."""
    document = _document(arguments.file)
    with _about(arguments.file):
        _, owner = read_owned_token(document)
    create_file(Path(arguments.output), owner.document, mode=0o644)
    return {"file": arguments.output, **owner_facts(owner)}


def inspect(arguments: argparse.Namespace) -> Answer:
    """What a document says of itself; nothing of it is believed."""
    document = _document(arguments.file)
    with _about(arguments.file):
        return inspect_document(document)


def verify(arguments: argparse.Namespace) -> Answer:
    """Every check of a package that needs no TPM, against an owner whose fingerprint is given."""
    owner_document, document = _document(arguments.owner), _document(arguments.file)
    with _about(arguments.owner):
        owner = confirm_owner(owner_document, arguments.fingerprint)
    with _about(arguments.file):
        return verify_package(document, owner, arguments.confirm_key, datetime.now(UTC))
