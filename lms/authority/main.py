"""The command line of `lms-authority`: its options are this file's literal tables."""

from __future__ import annotations

import argparse
import sys

from lms.arguments import CommandLine, refuse_two_readers
from lms.assembly import utc_now
from lms.authority import keeper, serving, station, stationing, waiting, withdrawing
from lms.errors import LmsError
from lms.process import harden
from lms.service.setting import check_clock
from lms.terminal import complain, interrupted, show


def _parser() -> argparse.ArgumentParser:
    line = CommandLine("lms-authority", "Migration Authority, and station of the MSA.")
    verb = line.verb

    def queues(made: argparse.ArgumentParser) -> None:
        made.add_argument("--trust-list", metavar="FILE", help="the newest trust list; default: the station's")
        made.add_argument("--authority", metavar="ADDRESS", help="ask this authority only: its address, or its ID")

    def endorsement_auth(made: argparse.ArgumentParser) -> None:
        made.add_argument("--endorsement-auth", metavar="FILE", help="the TPM's endorsement authorisation")

    made = verb("init", "make this machine's Migration Authority, and the request that owners approve", keeper.init)
    made.add_argument("--address", metavar="URL", action="append", default=[], help="https://HOST:PORT, repeatable")
    made.add_argument("--ma-id", metavar="UUID", help="its ID; default: a new one")
    made.add_argument("--output", metavar="FILE", required=True, help="where the request goes")
    made.add_argument("--owner-auth", metavar="FILE", help="the TPM's owner authorisation; - is standard input")
    made.add_argument("--unverified-tpm", action="store_true", help="accept a TPM whose EK nobody vouches for")
    endorsement_auth(made)

    made = verb("enroll", "serve the owner who granted the request", keeper.enroll)
    made.add_argument("--grant", metavar="FILE", required=True, help="the owner's grant")
    made.add_argument("--owner", metavar="FILE", required=True, help="the owner document")
    made.add_argument("--fingerprint", metavar="DIGITS", required=True, help="the owner's fingerprint, as written down")
    endorsement_auth(made)

    verb("serve", "be there for the machines of its owners, until it is told to stop", serving.serve)

    made = verb("pending", "the requests that wait: at the owner's authorities, or at this one", waiting.pending)
    made.add_argument("--export", metavar="DIRECTORY", help="at an authority: write them there, for an owner far away")
    queues(made)

    made = verb("take", "at an authority: take a grant, an approval or a trust list that came by file", waiting.take)
    made.add_argument("file", metavar="FILE", help="what the owner signed")

    made = verb("deny", "deny a request that waits: at the owner's authorities, or at this one", waiting.deny)
    made.add_argument("request", metavar="REQUEST", help="its file; or its digits, or how they begin")
    queues(made)

    made = verb("approve", "answer a request with the owner's token", station.approve)
    made.add_argument(
        "request", metavar="REQUEST", help="its file; or the digits that the machine shows, where it waits"
    )
    made.add_argument("--token", metavar="FILE", required=True, help="the owner's Emergency Recovery Token")
    made.add_argument("--token-password", metavar="FILE", help="its password; - is standard input")
    made.add_argument("--new-trust-list", action="store_true", help="begin the owner's first trust list")
    made.add_argument("--digits", metavar="DIGITS", help="the digits that the machine shows")
    made.add_argument("--ek-root", metavar="FILE", action="append", default=[], help="CA certificates of TPM makers")
    made.add_argument("--vouch", action="store_true", help="answer for a TPM that no maker vouches for")
    made.add_argument("--replacement", action="store_true", help="it has other keys than before, rightly")
    made.add_argument("--combined", action="store_true", help="this machine is a Migration Authority's, too")
    made.add_argument("--annex", metavar="FILE", help="what an authority says of a restore request")
    made.add_argument("--sheet", metavar="FILE", help="the platform's last recovery sheet; default: the one kept here")
    made.add_argument("--stolen", action="store_true", help="the platform's other TPMs are retired at once")
    made.add_argument(
        "--expires", metavar="TIME", help="when a restore's approval ends, as 2026-01-31T12:00:00Z; default: in 7 days"
    )
    made.add_argument("--accept-stale", metavar="SEQUENCE", type=int, help="restore this older package, rightly")
    made.add_argument("--output", metavar="FILE", help="where the answer goes; needed where the request is a file")
    queues(made)

    made = verb("withdraw", "take an identity back with the owner's token, for ever", withdrawing.withdraw)
    made.add_argument("identity", metavar="IDENTITY", help="platform:UUID, ma:UUID, station:UUID or signer:UUID")
    made.add_argument("--token", metavar="FILE", required=True, help="the owner's Emergency Recovery Token")
    made.add_argument("--token-password", metavar="FILE", help="its password; - is standard input")
    made.add_argument("--pair", metavar="DIGITS", help="one TPM of a platform only: the digits of its EK or its SRK")
    made.add_argument("--yes", action="store_true", help="it is meant: do not ask")
    made.add_argument("--combined", action="store_true", help="this machine is a Migration Authority's, too")
    queues(made)

    stations = verb("station", "the station from which an owner answers queues", None)
    acts = stations.add_subparsers(dest="act", required=True, metavar="ACT")
    made = verb("init", "make this machine's station, and the request that its owner approves", stationing.init, acts)
    made.add_argument("--output", metavar="FILE", required=True, help="where the request goes")
    made = verb("enroll", "take the certificate that the owner issued", stationing.enroll, acts)
    made.add_argument("--certificate", metavar="FILE", required=True, help="what `approve` of the request wrote")
    made.add_argument("--owner", metavar="FILE", required=True, help="the owner document")
    made.add_argument("--fingerprint", metavar="DIGITS", required=True, help="the owner's fingerprint, as written down")
    return line.parser


def main() -> int:
    """Run `lms-authority`."""
    harden()
    as_json = "--json" in sys.argv[1:]
    try:
        arguments = _parser().parse_args()
        refuse_two_readers(arguments)
        check_clock(utc_now())
        show(arguments.run(arguments), as_json)
    except LmsError as error:
        return complain("lms-authority", error, as_json)
    except (KeyboardInterrupt, EOFError):
        return interrupted("lms-authority", "interrupted; run the same command again")
    except BrokenPipeError:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
