"""What every answer of the MSA's station needs: digits, roots of TPM makers, the token, and where the answer goes.

Token and keys are open in `lms.opener` alone; here only its file and its password pass by.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lms.authority.register import Register
from lms.errors import BadRequest
from lms.files import create_file, read_file
from lms.process import run_program
from lms.terminal import read_secret, show
from lms.wire.document import MIB
from lms.wire.record import write_record

Answer = dict[str, Any]
MAX_FILE: Final = 16 * MIB


def now() -> datetime:
    """The station's time, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def register_of(arguments: argparse.Namespace) -> Register:
    """The register that the approver named."""
    return Register(Path(arguments.trust_list))


def ek_roots(paths: list[str]) -> tuple[bytes, ...]:
    """CA certificates (DER) from PEM files. Raises BadRequest, FileProblem."""
    found: list[bytes] = []
    for path in paths:
        try:
            parsed = x509.load_pem_x509_certificates(read_file(Path(path), MIB))
        except ValueError:
            raise BadRequest(f"cannot read CA certificates from '{path}'") from None
        found += [c.public_bytes(Encoding.DER) for c in parsed]
    return tuple(found)


def digits_said(arguments: argparse.Namespace, facts: Answer) -> str:
    """The digits that the requester shows: given, or asked for beside the facts. Raises BadRequest."""
    if arguments.digits is not None:
        return str(arguments.digits)
    if not sys.stdin.isatty():
        raise BadRequest("cannot approve without the digits that the machine shows: give --digits")
    show(facts, as_json=False, out=sys.stderr)
    return input("digits that the machine shows: ")


def token_of(arguments: argparse.Namespace) -> bytes:
    """The token's file, sealed."""
    return read_file(Path(arguments.token), MIB)


def with_token(arguments: argparse.Namespace, act: str, order: object) -> bytes:
    """The answer of the opener, which alone sees what is in the token."""
    inputs = {
        "token": token_of(arguments),
        "token-password": read_secret(arguments.token_password, "token password"),
        "request": write_record(order),
    }
    return run_program("lms.opener", [act], inputs)


def hand_out(arguments: argparse.Namespace, document: bytes) -> None:
    """Write the answer for others to read; nothing that is there is replaced."""
    create_file(Path(arguments.output), document, mode=0o644)
