"""The command line of `lms-authority`: `approve` an enrolment request with the owner's token.

The trust list is the station's only memory: the newest one lies in a file that this program replaces before it
hands out the grant.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lms.errors import BadRequest, LmsError
from lms.files import create_file, read_file, write_file
from lms.model.keys import digits
from lms.model.release import EnrolmentAnswer, EnrolmentOrder
from lms.process import run_program
from lms.terminal import complain, read_secret, say, show
from lms.wire.document import MIB
from lms.wire.enrolment import read_platform_enrolment
from lms.wire.record import read_record, write_record

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


def approve(arguments: argparse.Namespace) -> dict[str, object]:
    """Show whose request it is, ask for its digits, and grant it."""
    request = read_file(Path(arguments.request), _MAX_FILE)
    enrolment = read_platform_enrolment(request)
    register = Path(arguments.trust_list)
    facts = {
        "platform": str(enrolment.platform.platform_id),
        "ek": enrolment.ek_name.digits,
        "key": enrolment.drsk_name.digits,
        "birth-evidence": enrolment.born,
    }
    if arguments.new_trust_list and register.exists():
        raise BadRequest(f"cannot begin a new trust list in '{register}': it exists")
    if Path(arguments.output).exists():
        raise BadRequest(f"cannot write '{arguments.output}': it exists")
    said = arguments.digits
    if said is None:
        if not sys.stdin.isatty():
            raise BadRequest("cannot approve without the digits that the machine shows: give --digits")
        show(facts, as_json=False, out=sys.stderr)
        said = input("digits that the machine shows: ")
    order = EnrolmentOrder(
        request=request,
        digits=said,
        ek_roots=_ek_roots(arguments.ek_root),
        vouch=arguments.vouch,
        replacement=arguments.replacement,
        trust_list=None if arguments.new_trust_list else read_file(register, _MAX_FILE),
        now=datetime.now(UTC).replace(microsecond=0),
    )
    inputs = {
        "token": read_file(Path(arguments.token), MIB),
        "token-password": read_secret(arguments.token_password, "token password"),
        "request": write_record(order),
    }
    answer = read_record(EnrolmentAnswer, run_program("lms.opener", ["grant"], inputs))
    # A number that was given out must never be given out again: the list is safe before anybody sees the grant.
    write_file(register, answer.trust_list)
    create_file(Path(arguments.output), answer.grant, mode=0o644)
    return {**facts, "request": digits(enrolment.request_id), "grant": arguments.output}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lms-authority", description="Migration Selection Authority's station.")
    parser.add_argument("--json", action="store_true", help="answer as one JSON object")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    made = verbs.add_parser("approve", help="grant an enrolment request", description="Grant an enrolment request.")
    made.add_argument("request", metavar="FILE", help="the request")
    made.add_argument("--token", metavar="FILE", required=True, help="the owner's Emergency Recovery Token")
    made.add_argument("--token-password", metavar="FILE", help="its password; - is standard input")
    made.add_argument("--trust-list", metavar="FILE", required=True, help="the newest trust list, replaced by the next")
    made.add_argument("--new-trust-list", action="store_true", help="begin the owner's first trust list")
    made.add_argument("--digits", metavar="DIGITS", help="the digits that the machine shows")
    made.add_argument("--ek-root", metavar="FILE", action="append", default=[], help="CA certificates of TPM makers")
    made.add_argument("--vouch", action="store_true", help="answer for a TPM that no maker vouches for")
    made.add_argument("--replacement", action="store_true", help="the platform has another TPM than before, rightly")
    made.add_argument("--output", metavar="FILE", required=True, help="where the grant goes")
    return parser


def main() -> int:
    """Run `lms-authority`."""
    arguments = _parser().parse_args()
    try:
        show(approve(arguments), arguments.json)
    except LmsError as error:
        return complain("lms-authority", error, arguments.json)
    except (KeyboardInterrupt, EOFError):
        say("lms-authority", "interrupted; nothing was approved")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
