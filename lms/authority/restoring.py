"""The station approves a restore through a Migration Authority: whose keys, to which TPM, on whose word (PROTOCOL §8).

What the machine or the authority only claims is shown as a claim; what counts, `lms.opener` judges again.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from lms.assembly import utc_now
from lms.authority.desk import MAX_FILE, Answer, Brought, digits_said, ek_roots, register_of, token_of, with_token
from lms.authority.register import Register
from lms.errors import BadRequest
from lms.files import read_file
from lms.model.exchange import Entry, RestoreAnnex, VerifiedRestoreRequest
from lms.model.keys import digits
from lms.model.release import RestorationAnswer, RestorationOrder
from lms.model.trust import TrustList
from lms.wire.anchor import read_owned_token
from lms.wire.document import MIB
from lms.wire.inspection import policy_facts
from lms.wire.record import read_record
from lms.wire.restoration import read_annex, read_restore_request
from lms.wire.token_v1 import read_sheet
from lms.wire.trust_list import read_trust_list

_VALID_FOR: Final = timedelta(days=7)
_THE_MACHINE: Final = "the machine"


def _not_after(said: str | None, begin: datetime) -> datetime:
    if said is None:
        return begin + _VALID_FOR
    try:
        parsed = datetime.fromisoformat(said)
    except ValueError:
        raise BadRequest(f"cannot read the time '{said}': say it as 2026-01-31T12:00:00Z") from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)


def _claims(asked: VerifiedRestoreRequest, annex: RestoreAnnex | None) -> Answer:
    """What nothing proves: the package, and what was released before; with the name of who says so."""
    source, entries = (asked.request, asked.request.entries) if annex is None else (annex, annex.entries)
    return {
        "claimed-by": _THE_MACHINE if annex is None else _authority(entries),
        "package": None if source.package_id is None else str(source.package_id),
        "sequence": source.sequence,
        "keys": [e.key_id.digits for e in entries],
        "stored": None if annex is None else annex.stored.isoformat(),
        "was-released": [] if annex is None else [digits(r) for r in annex.earlier_releases],
    }


def _authority(entries: tuple[Entry, ...]) -> str:
    # `read_annex` saw to it that all are at the authority that signed.
    return f"authority {entries[0].destination_id}"


def _facts(asked: VerifiedRestoreRequest, annex: RestoreAnnex | None, known: TrustList) -> Answer:
    platform = known.platform(asked.request.platform_id)
    return {
        "platform": str(asked.request.platform_id),
        "ek": asked.ek_name.digits,
        "srk": asked.srk_name.digits,
        "tpm": "known" if platform is not None and asked.pair in platform.pairs else "new",
        **_claims(asked, annex),
    }


def _sheet(arguments: argparse.Namespace, register: Register, platform_id: UUID) -> bytes:
    return register.sheet(platform_id) if arguments.sheet is None else read_file(Path(arguments.sheet), MIB)


def approve_restore(arguments: argparse.Namespace, brought: Brought) -> Answer:
    """Show whose request it is and what is claimed with it, ask for its digits, and approve it."""
    if arguments.new_trust_list:
        raise BadRequest("cannot approve a restore with a new trust list: it knows no platform")
    request = brought.request
    asked = read_restore_request(request)
    platform_id, register = asked.request.platform_id, register_of(arguments)
    annex = brought.annex if arguments.annex is None else read_file(Path(arguments.annex), MAX_FILE)
    _, owner = read_owned_token(token_of(arguments))
    known = read_trust_list(register.trust_list(), owner)
    shown = None if annex is None else read_annex(annex, asked, owner, known)
    approved = register.approved(platform_id)
    facts = (
        brought.facts
        | _facts(asked, shown, known)
        | {
            "weaker": policy_facts(read_sheet(_sheet(arguments, register, platform_id))[0].policy)["weaker"],
            "was-approved": [digits(r) for r in approved if r != asked.request_id],
            "stolen": arguments.stolen,
        }
    )
    said = digits_said(arguments, facts)
    with register.locked():
        begin = utc_now()
        order = RestorationOrder(
            request=request,
            annex=annex,
            digits=said,
            ek_roots=ek_roots(arguments),
            vouch=arguments.vouch,
            trust_list=register.trust_list(),
            sheet=_sheet(arguments, register, platform_id),
            supersedes=register.approved(platform_id),
            now=begin,
            not_after=_not_after(arguments.expires, begin),
            stolen=arguments.stolen,
            accepted_stale=arguments.accept_stale,
        )
        answer = read_record(RestorationAnswer, with_token(arguments, "approve", order))
        register.keep(answer.trust_list)
        register.keep_sheet(platform_id, answer.sheet)
        register.keep_approval(platform_id, asked.request_id, answer.approval)
    return {
        **facts,
        "request": digits(asked.request_id),
        **brought.hand_out("approval", answer.approval, answer.trust_list),
        "expires": order.not_after.isoformat(),
    }
