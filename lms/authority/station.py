"""The station of the Migration Selection Authority: requests by file, answers by file (DESIGN §3; PROTOCOL §8).

The trust list is the station's only memory: the newest one lies in a file that is replaced before an answer is
handed out. Token and keys are open in `lms.opener` alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lms.adapters.store import authority_lives_in
from lms.config import load_configuration
from lms.errors import BadRequest, SharedWithAuthority
from lms.files import create_file, read_file, write_file
from lms.model.keys import digits
from lms.model.release import EnrolmentAnswer, EnrolmentOrder
from lms.model.trust import Mode, Role
from lms.process import run_program
from lms.terminal import read_secret, show
from lms.wire.document import MIB, root_name
from lms.wire.enrolment import enrolment_role, read_authority_enrolment, read_platform_enrolment
from lms.wire.record import read_record, write_record

Answer = dict[str, Any]
_MAX_FILE: Final = 16 * MIB


def _ek_roots(paths: list[str]) -> tuple[bytes, ...]:
    found: list[bytes] = []
    for path in paths:
        try:
            parsed = x509.load_pem_x509_certificates(read_file(Path(path), MIB))
        except ValueError:
            raise BadRequest(f"cannot read CA certificates from '{path}'") from None
        found += [c.public_bytes(Encoding.DER) for c in parsed]
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says of itself: its RequestID, and the facts that the approver has to know."""

    request_id: bytes
    facts: Answer


def _digits_said(arguments: argparse.Namespace, facts: Answer) -> str:
    """The digits that the requester shows: given, or asked for beside the facts. Raises BadRequest."""
    if arguments.digits is not None:
        return str(arguments.digits)
    if not sys.stdin.isatty():
        raise BadRequest("cannot approve without the digits that the machine shows: give --digits")
    show(facts, as_json=False, out=sys.stderr)
    return input("digits that the machine shows: ")


def _known_trust_list(arguments: argparse.Namespace) -> bytes | None:
    return None if arguments.new_trust_list else read_file(Path(arguments.trust_list), _MAX_FILE)


def _with_token(arguments: argparse.Namespace, act: str, order: object) -> bytes:
    """The answer of the opener, which alone sees what is in the token."""
    inputs = {
        "token": read_file(Path(arguments.token), MIB),
        "token-password": read_secret(arguments.token_password, "token password"),
        "request": write_record(order),
    }
    return run_program("lms.opener", [act], inputs)


def _hand_out(arguments: argparse.Namespace, trust_list: bytes, document: bytes) -> None:
    # A number that was given out must never be given out again: the list is safe before anybody sees the answer.
    write_file(Path(arguments.trust_list), trust_list)
    create_file(Path(arguments.output), document, mode=0o644)


def _platform(request: bytes) -> Asked:
    enrolment = read_platform_enrolment(request)
    facts: Answer = {
        "platform": str(enrolment.platform.platform_id),
        "ek": enrolment.ek_name.digits,
        "key": enrolment.drsk_name.digits,
        "birth-evidence": enrolment.born,
    }
    return Asked(enrolment.request_id, facts)


def _authority(request: bytes) -> Asked:
    enrolment = read_authority_enrolment(request)
    authority = enrolment.authority
    facts: Answer = {
        "authority": str(authority.ma_id),
        "mode": authority.mode.value,
        "addresses": list(authority.addresses),
        "ek": enrolment.ek_name.digits if authority.mode is Mode.TPM else None,
        "vault": enrolment.vault_name.digits,
    }
    return Asked(enrolment.request_id, facts)


_ASKERS: Final[Mapping[Role, Callable[[bytes], Asked]]] = {
    Role.PLATFORM: _platform,
    Role.MIGRATION_AUTHORITY: _authority,
}


def _approve_enrolment(arguments: argparse.Namespace, request: bytes) -> Answer:
    asked = _ASKERS[enrolment_role(request)](request)
    order = EnrolmentOrder(
        request=request,
        digits=_digits_said(arguments, asked.facts),
        ek_roots=_ek_roots(arguments.ek_root),
        vouch=arguments.vouch,
        replacement=arguments.replacement,
        trust_list=_known_trust_list(arguments),
        now=datetime.now(UTC).replace(microsecond=0),
        combined=arguments.combined,
    )
    answer = read_record(EnrolmentAnswer, _with_token(arguments, "grant", order))
    _hand_out(arguments, answer.trust_list, answer.grant)
    return {**asked.facts, "request": digits(asked.request_id), "grant": arguments.output, "combined": order.combined}


_APPROVALS: Final[Mapping[str, Callable[[argparse.Namespace, bytes], Answer]]] = {
    "EnrolmentRequest": _approve_enrolment,
}


def _check_apart(arguments: argparse.Namespace) -> None:
    """Raise SharedWithAuthority where the token would be opened beside an MA, and nobody said so (DESIGN §3)."""
    configuration = load_configuration(None if arguments.config is None else Path(arguments.config))
    directory = configuration.authority.state_directory
    if not arguments.combined and authority_lives_in(directory):
        raise SharedWithAuthority(f"cannot open the token beside the Migration Authority in '{directory}'")


def approve(arguments: argparse.Namespace) -> Answer:
    """Show whose request it is, ask for its digits, and answer it."""
    _check_apart(arguments)
    request = read_file(Path(arguments.request), _MAX_FILE)
    if arguments.new_trust_list and Path(arguments.trust_list).exists():
        raise BadRequest(f"cannot begin a new trust list in '{arguments.trust_list}': it exists")
    if Path(arguments.output).exists():
        raise BadRequest(f"cannot write '{arguments.output}': it exists")
    root = root_name(request)
    if root not in _APPROVALS:
        raise BadRequest(f"cannot approve a '{root}': it is no request")
    return _APPROVALS[root](arguments, request)
