"""A request from the queue of an authority to the approver's desk, and the answer back (PROTOCOL §6, §8; DESIGN §3).

Of several authorities where it waits, each is asked; what does not prove itself is named and left out. A restore that
names no package is approved for what one authority claims to hold, the one with the newest; its answer goes there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lms.authority.desk import Answer, Brought, hand_out
from lms.authority.queue import Line, Queues, is_digits, opened_queues
from lms.errors import BadRequest, Denied, NotAtAuthority
from lms.model.authorities import RequestKind, RequestState
from lms.model.exchange import RestoreAnnex, VerifiedRestoreRequest
from lms.wire.restoration import read_annex, read_restore_request


@dataclass(frozen=True, slots=True)
class _Found:
    """The request, the authorities that take its answer, and what one of them says of it."""

    request: bytes
    lines: tuple[Line, ...]
    annex: bytes | None = None


@contextmanager
def brought_from_queue(arguments: argparse.Namespace) -> Iterator[Brought]:
    """The request that is meant, believed as far as it proves itself.

    Raises NotAtAuthority where none waits, the first refusal where none can be believed, RegisterStale.
    """
    if arguments.new_trust_list or arguments.annex is not None:
        raise BadRequest("cannot use --new-trust-list or --annex with a request that waits at an authority")
    if is_digits(arguments.request) and arguments.digits is None:
        arguments.digits = arguments.request
    with opened_queues(arguments) as queues:
        found = _found(queues, arguments.request)
        queues.check_register([line for line in queues.lines if line.ma_id not in queues.refusals])

        def deliver(word: str, document: bytes, trust_list: bytes) -> Answer:
            if arguments.output is not None:
                hand_out(arguments, document)
            return _deliver(queues, found.lines, document, trust_list) | {word: arguments.output}

        facts = {"waits-at": [str(line.ma_id) for line in found.lines], "unreached": queues.shown()}
        yield Brought(found.request, deliver, found.annex, facts)


def _found(queues: Queues, text: str) -> _Found:
    listed = {w.line: w.listed for w in queues.named(text) if w.listed.state is not RequestState.DENIED}
    if not listed:
        raise Denied(f"cannot approve '{text}': it was denied")
    read = queues.each(list(listed), lambda line: line.request(listed[line]))
    first, request = read[0]
    if listed[first].kind is RequestKind.ENROLMENT:
        return _Found(request, tuple(line for line, _ in read))
    # All are the same request by its ID; an annex is bound to its exact bytes as well.
    return _with_annex(queues, request, [line for line, document in read if document == request])


def _with_annex(queues: Queues, request: bytes, lines: Sequence[Line]) -> _Found:
    asked = read_restore_request(request)

    def claimed(line: Line) -> tuple[bytes, RestoreAnnex]:
        document = line.annex(asked.request_id)
        return document, read_annex(document, asked, queues.owner, queues.trusted)

    annexes = queues.each(lines, claimed)
    newest, (document, _) = max(annexes, key=lambda found: found[1][1].sequence)
    return _Found(request, _able(asked, newest, [line for line, _ in annexes]), document)


def _able(asked: VerifiedRestoreRequest, chosen: Line, holding: Sequence[Line]) -> tuple[Line, ...]:
    """Who can release what will be approved: the request names keys at several authorities, an annex at one."""
    if asked.request.package_id is None:
        return (chosen,)
    named = {entry.destination_id for entry in asked.request.entries}
    able = tuple(line for line in holding if str(line.ma_id) in named)
    if not able:
        raise NotAtAuthority("cannot approve: the request is for authorities at which it does not wait")
    return able


def _deliver(queues: Queues, lines: Sequence[Line], document: bytes, trust_list: bytes) -> Answer:
    """The answer to those that asked for it, the trust list to all others. Raises where nobody took the answer."""
    taken = queues.each(lines, lambda line: line.upload(document))
    others = [line for line in queues.lines if line not in lines and line.ma_id not in queues.refusals]
    queues.where_possible(others, lambda line: line.upload(trust_list))
    return {"taken-by": [str(line.ma_id) for line, _ in taken], "unreached": queues.shown()}
