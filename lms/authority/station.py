"""The station of the Migration Selection Authority: what it answers (DESIGN §3; PROTOCOL §8).

One table. Where a request comes from and its answer goes, by file or through a queue, is `lms.authority.desk` and
`lms.authority.bringing`. Its memory is the register (`lms.authority.register`), which one approval at a time may
change. Token and keys are open in `lms.opener` alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from lms.assembly import utc_now
from lms.authority.bringing import brought_from_queue
from lms.authority.desk import (
    Answer,
    Brought,
    brought_by_file,
    configuration_of,
    digits_said,
    ek_roots,
    register_of,
    with_token,
)
from lms.authority.keys import check_apart
from lms.authority.queue import begins_waiting, names_waiting
from lms.authority.restoring import approve_restore
from lms.authority.stationing import certify_station
from lms.errors import BadRequest, FileExists
from lms.files import is_there
from lms.model.keys import digits
from lms.model.release import EnrolmentAnswer, EnrolmentOrder
from lms.model.trust import Mode, Role
from lms.wire.document import root_name
from lms.wire.enrolment import enrolment_role, read_authority_enrolment, read_platform_enrolment
from lms.wire.inspection import drsk_facts
from lms.wire.record import read_record
from lms.wire.station import is_station_request


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says of itself: its RequestID, the facts that the approver has to know, and whose sheet it is."""

    request_id: bytes
    facts: Answer
    platform_id: UUID | None = None


def _platform(request: bytes) -> Asked:
    enrolment = read_platform_enrolment(request)
    facts: Answer = {
        "platform": str(enrolment.platform.platform_id),
        "ek": enrolment.ek_name.digits,
        **drsk_facts(enrolment.platform.drsk),
        "birth-evidence": enrolment.born,
    }
    return Asked(enrolment.request_id, facts, enrolment.platform.platform_id)


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


def _approve_enrolment(arguments: argparse.Namespace, brought: Brought) -> Answer:
    request = brought.request
    asked = _ASKERS[enrolment_role(request)](request)
    facts = brought.facts | asked.facts
    register, said = register_of(arguments), digits_said(arguments, facts)
    with register.locked():
        if arguments.new_trust_list:
            register.check_new()
        order = EnrolmentOrder(
            request=request,
            digits=said,
            ek_roots=ek_roots(arguments),
            vouch=arguments.vouch,
            replacement=arguments.replacement,
            trust_list=None if arguments.new_trust_list else register.trust_list(),
            now=utc_now(),
            combined=arguments.combined,
        )
        answer = read_record(EnrolmentAnswer, with_token(arguments, "grant", order))
        register.keep(answer.trust_list)
        if asked.platform_id is not None and answer.sheet is not None:
            register.keep_sheet(asked.platform_id, answer.sheet)
    return {
        **facts,
        "request": digits(asked.request_id),
        **brought.hand_out("grant", answer.grant, answer.trust_list),
        "combined": order.combined,
    }


_STATION: Final = "station's request"
_APPROVALS: Final[Mapping[str, Callable[[argparse.Namespace, Brought], Answer]]] = {
    "EnrolmentRequest": _approve_enrolment,
    "RestoreRequest": approve_restore,
    _STATION: certify_station,
}
# Options that speak of one kind of request: said with another, the approver takes it for something else.
_ONLY_FOR: Final[Mapping[str, str]] = {
    "replacement": "EnrolmentRequest",
    "annex": "RestoreRequest",
    "sheet": "RestoreRequest",
    "stolen": "RestoreRequest",
    "expires": "RestoreRequest",
    "accept_stale": "RestoreRequest",
}


def approve(arguments: argparse.Namespace) -> Answer:
    """Show whose request it is, ask for its digits, and answer it."""
    if not arguments.combined:
        check_apart(configuration_of(arguments))
    if arguments.new_trust_list:
        register_of(arguments).check_new()
    if arguments.output is not None and is_there(Path(arguments.output)):
        raise FileExists(f"cannot create '{arguments.output}': file exists")
    with _brought(arguments) as brought:
        return _approve(arguments, brought)


def _brought(arguments: argparse.Namespace) -> AbstractContextManager[Brought]:
    if names_waiting(arguments.request):
        return brought_from_queue(arguments)
    if begins_waiting(arguments.request):
        raise BadRequest(
            f"cannot approve '{arguments.request}': there is no such file, and a request that waits is named by all 16 "
            "digits that its machine shows"
        )
    return nullcontext(brought_by_file(arguments))


def _approve(arguments: argparse.Namespace, brought: Brought) -> Answer:
    root = _STATION if is_station_request(brought.request) else root_name(brought.request)
    if root not in _APPROVALS:
        raise BadRequest(f"cannot approve a '{root}': it is no request")
    for option, kind in _ONLY_FOR.items():
        if kind != root and getattr(arguments, option) not in (None, False):
            raise BadRequest(f"cannot use --{option.replace('_', '-')} with this: it is for a '{kind}'")
    return _APPROVALS[root](arguments, brought)
