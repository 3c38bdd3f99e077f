"""The command line of `lmsctl`: its options are this file's literal tables.

Answers go to stdout, everything else to stderr; exit codes are those of `lms.errors.Blame`.
"""

from __future__ import annotations

import argparse
import base64
import sys
from pathlib import Path
from typing import Any

from lms.cli import documents, entries
from lms.cli.running import OWNER_AUTH_PROMPT, Order
from lms.errors import BadRequest, LmsError
from lms.files import create_file, read_file
from lms.names import APPROVAL, ENDORSEMENT_AUTH, GRANT, OWNER, OWNER_AUTH, PACKAGE, SHEET, TOKEN, TOKEN_PASSWORD
from lms.process import harden
from lms.terminal import complain, read_secret, say, show
from lms.wire.document import MIB

_FILES = {OWNER: 1 * MIB, TOKEN: 1 * MIB, PACKAGE: 64 * MIB, GRANT: 16 * MIB, SHEET: MIB, APPROVAL: 16 * MIB}
_SECRETS = {OWNER_AUTH: OWNER_AUTH_PROMPT, ENDORSEMENT_AUTH: "endorsement authorisation"}


def _act(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run an act of `lms.boot` with the options that were given."""
    given = {name.replace("_", "-"): value for name, value in vars(arguments).items() if value not in (None, False)}
    config, verb = given.pop("config", None), given.pop("verb")
    inputs: dict[str, bytes] = {}
    for word, limit in _FILES.items():
        if word in given:
            inputs[word] = read_file(Path(given.pop(word)), limit)
    for word, prompt in _SECRETS.items():
        if word in given:
            inputs[word] = read_secret(given.pop(word), prompt)
    if verb == "restore" and (TOKEN in inputs or TOKEN_PASSWORD in given):
        inputs[TOKEN_PASSWORD] = read_secret(given.pop(TOKEN_PASSWORD, None), "token password")
    request_to = given.pop("request-to", None)
    options = {k: v for k, v in given.items() if k not in ("json", "run")}
    options["request"] = request_to is not None
    if given.get("destination") == "msa" and (request_to is None) == (GRANT not in inputs):
        raise BadRequest("cannot enroll with the MSA: give either --request-to or --grant")
    answer, _ = Order(verb, config, options, inputs).run()
    if answer.pop("only-copy", False):
        say("lmsctl", "the only copy lies on this machine: name directories for it in `archives`")
    if request_to is not None and "document" in answer:
        create_file(Path(request_to), base64.b64decode(answer.pop("document")), mode=0o644)
    return answer


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lmsctl", description="TPM keys that survive their TPM.")
    parser.add_argument("--config", metavar="FILE", help="configuration instead of /etc/lms/lms.toml")
    parser.add_argument("--json", action="store_true", help="answer as one JSON object")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str, run: Any = _act, within: Any = verbs) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = within.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        return made

    def owner_auth(made: argparse.ArgumentParser) -> None:
        made.add_argument("--owner-auth", metavar="FILE", help="the TPM's owner authorisation; - is standard input")
        made.add_argument("--endorsement-auth", metavar="FILE", help="the TPM's endorsement authorisation")

    verb("status", "what state this platform is in, and why")

    made = verb("provision", "make the recoverable key of this platform")
    made.add_argument("--owner", metavar="FILE", required=True, help="the owner document of your token")
    made.add_argument("--fingerprint", metavar="DIGITS", required=True, help="the owner's fingerprint, as written down")
    made.add_argument("--offline-token", action="store_true", help="let the token alone open the key, for ever")
    made.add_argument("--unverified-tpm", action="store_true", help="accept a TPM whose EK nobody vouches for")
    owner_auth(made)

    made = verb("enroll", "let a destination hold the key")
    made.add_argument(
        "destination", choices=("msa", "ma", "token"), help="the MSA that certifies us, an authority, or the token"
    )
    made.add_argument("--request-to", metavar="FILE", help="msa: write the request that the MSA has to approve")
    made.add_argument("--grant", metavar="FILE", help="msa: take the MSA's grant, or its newer trust list")
    made.add_argument("--id", metavar="UUID", help="ma: which one, where the owner approved several")
    owner_auth(made)

    made = verb("archive", "make a Migration Package and keep it")
    made.add_argument("--endorsement-auth", metavar="FILE", help="the TPM's endorsement authorisation")

    made = verb("restore", "bring the keys back on this TPM")
    made.add_argument("--token", metavar="FILE", help="your Emergency Recovery Token; without it: through authorities")
    made.add_argument("--token-password", metavar="FILE", help="its password; - is standard input")
    made.add_argument("--package", metavar="FILE", help="a Migration Package; default: the newest one here")
    made.add_argument("--request-to", metavar="FILE", help="write the request that the owner has to approve")
    made.add_argument("--approval", metavar="FILE", help="the owner's approval, where it came as a file")
    made.add_argument("--sheet", metavar="FILE", help="the recovery sheet, on a machine that knows nothing")
    made.add_argument("--fingerprint", metavar="DIGITS", help="with --sheet: the owner's fingerprint, as written down")
    made.add_argument("--confirm-key", metavar="DIGITS", help="80 bits of the key's Name, for an unapproved package")
    made.add_argument("--accept-stale", metavar="SEQUENCE", type=int, help="accept this older package")
    made.add_argument("--replace-foreign", metavar="NAME", help="the Name of the other key that may be replaced")
    made.add_argument("--unverified-tpm", action="store_true", help="accept a TPM whose EK nobody vouches for")
    owner_auth(made)

    entries.add_verbs(verb)

    token = verb("token", "make and look at Emergency Recovery Tokens")
    acts = token.add_subparsers(dest="act", required=True, metavar="ACT")
    made = verb("create", "make a new token", documents.token_create, acts)
    made.add_argument("file", metavar="FILE")
    made.add_argument("--token-password", metavar="FILE", help="an own password instead of a generated one")
    verb("show", "what a token's outside tells", documents.token_show, acts).add_argument("file", metavar="FILE")
    made = verb("public", "write the owner document of a token", documents.token_public, acts)
    made.add_argument("file", metavar="FILE")
    made.add_argument("--output", metavar="FILE", required=True)

    verb("inspect", "what a document says of itself", documents.inspect).add_argument("file", metavar="FILE")

    made = verb("verify", "check a package against its owner", documents.verify)
    made.add_argument("file", metavar="FILE")
    made.add_argument("--owner", metavar="FILE", required=True, help="the owner document")
    made.add_argument("--fingerprint", metavar="DIGITS", required=True, help="the owner's fingerprint, as written down")
    made.add_argument("--confirm-key", metavar="DIGITS", help="80 bits of the key's Name, for an unapproved package")
    return parser


def main() -> int:
    """Run `lmsctl`."""
    harden()
    arguments = _parser().parse_args()
    try:
        show(arguments.run(arguments), arguments.json)
    except LmsError as error:
        return complain("lmsctl", error, arguments.json)
    except KeyboardInterrupt:
        say("lmsctl", "interrupted; running the same command again goes on where this one stopped")
        return 130
    except BrokenPipeError:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
