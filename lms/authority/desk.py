"""What every answer of the MSA's station needs: the request, digits, roots of TPM makers, the token, the way back.

Token and keys are open in `lms.opener` alone; here only its file and its password pass by.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lms.assembly import ca_certificates
from lms.authority.register import Register
from lms.config import Configuration, load_configuration
from lms.errors import BadRequest
from lms.files import create_file, ensure_directory, read_file
from lms.process import run_program
from lms.terminal import read_line, read_secret, show
from lms.wire.document import MIB
from lms.wire.record import write_record

Answer = dict[str, Any]
MAX_FILE: Final = 16 * MIB


@dataclass(frozen=True, slots=True)
class Brought:
    """A request on the desk, however it came; `facts` say from where, `annex` what an authority says of it.

    `hand_out` takes the answer's word (`grant`, `approval`), its document and the trust list that goes with it to
    whoever has to have them, and says where they went.
    """

    request: bytes
    hand_out: Callable[[str, bytes, bytes], Answer]
    annex: bytes | None = None
    facts: Answer = field(default_factory=dict)


def configuration_of(arguments: argparse.Namespace) -> Configuration:
    """The configuration that was named, or the default. Raises BadConfiguration, FileProblem."""
    return load_configuration(arguments.config)


def register_of(arguments: argparse.Namespace) -> Register:
    """The register that the approver named, or the one of this station."""
    if arguments.trust_list is not None:
        return Register(Path(arguments.trust_list))
    path = configuration_of(arguments).station.register
    ensure_directory(path.parent)
    return Register(path)


def ek_roots(arguments: argparse.Namespace) -> tuple[bytes, ...]:
    """CA certificates (DER) of TPM makers, as the configuration and the approver name them.

    Raises BadConfiguration, BadRequest, FileProblem.
    """
    configured = ca_certificates(configuration_of(arguments), "station.ek_roots")
    found = [c.public_bytes(Encoding.DER) for c in configured]
    for path in arguments.ek_root:
        try:
            parsed = x509.load_pem_x509_certificates(read_file(Path(path), MIB))
        except ValueError:
            raise BadRequest(f"cannot read CA certificates from '{path}': it holds none") from None
        found += [c.public_bytes(Encoding.DER) for c in parsed]
    return tuple(found)


def digits_said(arguments: argparse.Namespace, facts: Answer) -> str:
    """The digits that the requester shows: given, or asked for. A person sees the facts before. Raises BadRequest."""
    if sys.stdin.isatty():
        show(facts, as_json=False, out=sys.stderr)
    if arguments.digits is not None:
        return str(arguments.digits)
    if not sys.stdin.isatty():
        raise BadRequest("cannot approve without the digits that the machine shows: give --digits")
    return read_line("digits that the machine shows")


def token_of(arguments: argparse.Namespace) -> bytes:
    """The token's file, sealed."""
    return read_file(Path(arguments.token), MIB)


def with_token(arguments: argparse.Namespace, act: str, order: object) -> bytes:
    """The answer of the opener, which alone sees what is in the token."""
    inputs = {
        "token": token_of(arguments),
        "token-password": read_secret(arguments.token_password, "token password", option="--token-password"),
        "request": write_record(order),
    }
    return run_program("lms.opener", [act], inputs)


def hand_out(arguments: argparse.Namespace, document: bytes) -> None:
    """Write the answer for others to read; nothing that is there is replaced."""
    create_file(Path(arguments.output), document, mode=0o644)


def brought_by_file(arguments: argparse.Namespace) -> Brought:
    """The request in a file, whose answer goes to another one. Raises BadRequest, FileProblem."""
    if arguments.output is None:
        raise BadRequest("cannot answer a request that came by file without a file for the answer: give --output")

    def write(word: str, document: bytes, trust_list: bytes) -> Answer:
        hand_out(arguments, document)
        return {word: arguments.output}

    return Brought(read_file(Path(arguments.request), MAX_FILE), write)
