"""The command line of `lmsctl`: its options are this file's literal tables.

Answers go to stdout, everything else to stderr; exit codes are those of `lms.errors.Blame`.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from lms.arguments import CommandLine, refuse_two_readers
from lms.cli import acts, csp, doctor, documents, entries, evm, jobs, luks, purge
from lms.cli.following import Left
from lms.errors import LmsError
from lms.process import harden
from lms.terminal import complain, interrupted, show


def _parser() -> argparse.ArgumentParser:
    no_daemon = ("--no-daemon", "act here, also where lmsd could be asked")
    line = CommandLine("lmsctl", "TPM keys that survive their TPM.", no_daemon)

    def verb(name: str, text: str, run: Any = acts.run, within: Any = None) -> argparse.ArgumentParser:
        return line.verb(name, text, run, within)

    def owner_auth(made: argparse.ArgumentParser) -> None:
        made.add_argument("--owner-auth", metavar="FILE", help="the TPM's owner authorisation; - is standard input")
        made.add_argument("--endorsement-auth", metavar="FILE", help="the TPM's endorsement authorisation")

    verb("status", "what state this platform is in, and why", acts.status)

    made = verb("provision", "make the recoverable key of this platform")
    made.add_argument("--owner", metavar="FILE", required=True, help="the owner document of your token")
    made.add_argument("--fingerprint", metavar="DIGITS", required=True, help="the owner's fingerprint, as written down")
    made.add_argument("--offline-token", action="store_true", help="let the token alone open the key, for ever")
    made.add_argument("--new-platform", action="store_true", help="the state here is another machine's: put it aside")
    made.add_argument("--adopt", action="store_true", help="take over this owner's key that lives at the handle")
    made.add_argument("--weaker", action="store_true", help="with --adopt: a key that the owner authorisation lets out")
    made.add_argument("--sheet", metavar="FILE", help="with --adopt: the recovery sheet that names key and platform")
    made.add_argument("--unverified-tpm", action="store_true", help="accept a TPM whose EK nobody vouches for")
    owner_auth(made)

    made = verb("enroll", "let a destination hold the key")
    made.add_argument(
        "destination", choices=("msa", "ma", "token"), help="the MSA that certifies us, an authority, or the token"
    )
    made.add_argument("--via", metavar="ADDRESS", help="msa: ask through the authority at https://HOST:PORT")
    made.add_argument("--request-to", metavar="FILE", help="msa: write the request that the MSA has to approve")
    made.add_argument("--grant", metavar="FILE", help="msa: take the MSA's grant, or its newer trust list")
    made.add_argument("--id", metavar="UUID", help="ma: which one, where there are several; msa: the one at --via")
    owner_auth(made)

    made = verb("forget", "keep nothing more at a destination: the next package does not name it")
    made.add_argument("destination", metavar="DESTINATION", help="the ID of an authority, or `token`")
    made.add_argument("--last", action="store_true", help="even where no other destination is left")

    made = verb("archive", "make a Migration Package and keep it")
    made.add_argument("--if-changed", action="store_true", help="unless the newest one is everywhere and says it all")
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
    made.add_argument("--stolen", action="store_true", help="with --token: the other TPMs are retired at once")
    made.add_argument("--trust-list", metavar="FILE", help="with --token: your register; it gets the next trust list")
    owner_auth(made)

    entries.add_verbs(verb)

    verb("packages", "what the newest package is, and where it lies")
    verb("authorities", "the Migration Authorities that the owner approved")

    luks.add_verbs(verb)
    evm.add_verbs(verb)
    csp.add_verbs(verb)

    doctor.add_verbs(verb)

    jobs.add_verbs(verb)
    purge.add_verbs(verb)

    token = verb("token", "make and look at Emergency Recovery Tokens")
    within = token.add_subparsers(dest="act", required=True, metavar="ACT")
    made = verb("create", "make a new token", documents.token_create, within)
    made.add_argument("file", metavar="FILE")
    made.add_argument("--token-password", metavar="FILE", help="an own password instead of a generated one")
    verb("show", "what a token's outside tells", documents.token_show, within).add_argument("file", metavar="FILE")
    made = verb("public", "write the owner document of a token", documents.token_public, within)
    made.add_argument("file", metavar="FILE")
    made.add_argument("--output", metavar="FILE", required=True)

    verb("inspect", "what a document says of itself", documents.inspect).add_argument("file", metavar="FILE")

    made = verb("verify", "check a package against its owner", documents.verify)
    made.add_argument("file", metavar="FILE")
    made.add_argument("--owner", metavar="FILE", required=True, help="the owner document")
    made.add_argument("--fingerprint", metavar="DIGITS", required=True, help="the owner's fingerprint, as written down")
    made.add_argument("--confirm-key", metavar="DIGITS", help="80 bits of the key's Name, for an unapproved package")
    return line.parser


def main() -> int:
    """Run `lmsctl`."""
    harden()
    as_json = "--json" in sys.argv[1:]
    try:
        arguments = _parser().parse_args()
        refuse_two_readers(arguments)
        arguments.exit_code = 0
        show(arguments.run(arguments), as_json)
    except LmsError as error:
        return complain("lmsctl", error, as_json)
    except Left as left:
        return interrupted("lmsctl", str(left))
    except KeyboardInterrupt:
        return interrupted("lmsctl", "interrupted; running the same command again goes on where this one stopped")
    except BrokenPipeError:
        return 0
    return int(arguments.exit_code)


if __name__ == "__main__":
    sys.exit(main())
