"""`lms.ports.TokenOpener`: runs `lms.opener` and talks to it through descriptors.

Token, password and keys live in that process only and die with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, TypeVar

from lms import errors
from lms.errors import BadRequest, LmsError
from lms.model.release import Release, ReleaseRequest
from lms.model.secret import Secret
from lms.wire.record import read_record, write_record

_MAX_ANSWER: Final = 128 * 1024 * 1024
T = TypeVar("T")


def descriptor_with(content: bytes) -> int:
    """A memory file with this content, positioned at its start; the caller closes it."""
    descriptor = os.memfd_create("lms", os.MFD_CLOEXEC)
    try:
        written = 0
        while written < len(content):
            written += os.write(descriptor, content[written:])
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def run_opener(act: str, inputs: Sequence[tuple[str, bytes]]) -> bytes:
    """The answer of one act of `lms.opener`; its error, of the class that it had there, otherwise."""
    with ExitStack() as closing:
        arguments = [sys.executable, "-I", "-m", "lms.opener", act]
        passed = []
        for word, content in inputs:
            descriptor = descriptor_with(content)
            closing.callback(os.close, descriptor)
            arguments.append(f"--{word}={descriptor}")
            passed.append(descriptor)
        answer = os.memfd_create("lms-answer", os.MFD_CLOEXEC)
        closing.callback(os.close, answer)
        arguments.append(f"--answer={answer}")
        done = subprocess.run(
            arguments, pass_fds=[*passed, answer], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode != 0:
            raise _error(done.stderr)
        os.lseek(answer, 0, os.SEEK_SET)
        with os.fdopen(os.dup(answer), "rb") as file:
            return file.read(_MAX_ANSWER)


def _error(stderr: bytes) -> LmsError:
    name, _, text = stderr.decode("utf-8", "replace").strip().partition(": ")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, LmsError):
        return kind(text)
    return LmsError("cannot open the token: its process failed")


class OpenerProcess:
    """Opens one token for one release."""

    def __init__(self, token: bytes, password: Secret) -> None:
        if not password:
            raise BadRequest("cannot open the token: no password was given")
        self._token = token
        self._password = password

    def release(self, request: ReleaseRequest) -> Release:
        """Wrap the keys of a package to a new TPM and certify its signing key."""
        inputs = (
            ("token", self._token),
            ("token-password", self._password.reveal()),
            ("request", write_record(request)),
        )
        return read_record(Release, run_opener("release", inputs))
