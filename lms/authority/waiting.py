"""What waits for the owner: `pending` and `deny`, at the station or at an authority, and `take` there (PROTOCOL §7).

A list shows how a request's digits begin and never all of them, so that a person finds it, and denies it by what is
shown; those that are approved are read at the machine, because an authority may list what it exchanged. Nothing here
needs a token.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import UUID

from lms.adapters.store import AuthorityDirectory, authority_lives_in
from lms.assembly import utc_now
from lms.authority.desk import MAX_FILE, Answer, configuration_of
from lms.authority.queue import enrolled_station, meant, opened_queues, request_meant
from lms.errors import NotAtAuthority, NotInitialised
from lms.files import create_file, ensure_directory, is_there, read_file, write_file
from lms.model.authorities import ListedRequest, RequestState
from lms.model.keys import digits
from lms.service.keeping import AuthoritySetting
from lms.service.keeping.access import Served
from lms.service.keeping.by_hand import ClosedVaultKey, exported, queued
from lms.service.keeping.by_hand import deny as deny_request
from lms.service.keeping.by_hand import take as take_answer
from lms.terminal import say


def pending(arguments: argparse.Namespace) -> Answer:
    """The requests that wait: at the owner's authorities; at this one, where this is one's machine and no station."""
    elsewhere = arguments.export is None and _looks_elsewhere(arguments)
    answer = _pending_elsewhere(arguments) if elsewhere else _pending_here(arguments)
    return answer if arguments.json else _for_people(answer)


def _for_people(answer: Answer) -> Answer:
    """Without the IDs, which are for programs."""
    if not answer["requests"]:
        say("lms-authority", "nothing waits")
    return answer | {"requests": [{k: v for k, v in asked.items() if k != "request"} for asked in answer["requests"]]}


def _looks_elsewhere(arguments: argparse.Namespace) -> bool:
    if arguments.authority is not None or enrolled_station(arguments) is not None:
        return True
    return not authority_lives_in(configuration_of(arguments).authority.state_directory)


def _beginnings(listed: Iterable[ListedRequest]) -> dict[bytes, str]:
    """How the digits of each request begin: one group, two where that tells more of them apart; never more."""
    groups = {one.request_id: digits(one.request_id).split("-") for one in listed}
    short, long = (
        {request_id: "-".join(group[:shown]) + "-…" for request_id, group in groups.items()} for shown in (1, 2)
    )
    return short if len({*short.values()}) == len(groups) else long


def _shown(listed: ListedRequest, begin: Mapping[bytes, str], **more: object) -> Answer:
    return {
        "kind": listed.kind.value,
        "platform": str(listed.platform_id),
        "digits": begin[listed.request_id],
        "received": listed.received.isoformat(),
        **more,
        "request": listed.request_id.hex().upper(),
    }


def _pending_elsewhere(arguments: argparse.Namespace) -> Answer:
    with opened_queues(arguments) as queues:
        found = [w for w in queues.waiting() if w.listed.state is RequestState.PENDING]
        begin = _beginnings(w.listed for w in found)
        requests = [_shown(w.listed, begin, authority=str(w.line.ma_id)) for w in found]
        return {"requests": requests, "unreached": queues.shown()}


def deny(arguments: argparse.Namespace) -> Answer:
    """Deny a request wherever it waits: its machine hears it, and no answer to it is taken any more."""
    text = request_meant(arguments.request)
    return _deny_elsewhere(arguments, text) if _looks_elsewhere(arguments) else _deny_here(arguments, text)


def _denied(listed: ListedRequest, at: Iterable[UUID]) -> Answer:
    return {
        "request": digits(listed.request_id),
        "kind": listed.kind.value,
        "platform": str(listed.platform_id),
        "denied-at": [str(ma_id) for ma_id in at],
    }


def _deny_elsewhere(arguments: argparse.Namespace, text: str) -> Answer:
    with opened_queues(arguments) as queues:
        found = queues.named(text)
        request_id = found[0].listed.request_id
        done = queues.each([w.line for w in found], lambda line: line.deny(request_id))
        return _denied(found[0].listed, (line.ma_id for line, _ in done)) | {"unreached": queues.shown()}


def _deny_here(arguments: argparse.Namespace, text: str) -> Answer:
    with _authority(arguments) as setting, setting.vault.transaction() as transaction:
        found = meant(text, (listed for _, listed in queued(transaction)))
        if not found:
            raise NotAtAuthority(f"cannot find request '{text}': it was not left here, or was forgotten")
        deny_request(transaction, found[0].request_id)
    return _denied(found[0], [setting.identity.ma_id])


@contextmanager
def _authority(arguments: argparse.Namespace) -> Iterator[AuthoritySetting]:
    """The authority of this machine, its vault closed. Raises NotInitialised."""
    from lms.adapters.vault import open_vault  # the library of databases is large, and a station has none

    configuration = configuration_of(arguments).authority
    directory = configuration.state_directory
    identity = AuthorityDirectory(directory).load() if authority_lives_in(directory) else None
    if identity is None:
        raise NotInitialised(f"cannot look into a queue: there is no authority in '{directory}'")
    with closing(open_vault(configuration.store_url)) as vault:
        key = ClosedVaultKey(identity.vault)
        yield AuthoritySetting(identity, vault, key, leaf=bytes, now=utc_now, monotonic=float)


def _pending_here(arguments: argparse.Namespace) -> Answer:
    with _authority(arguments) as setting, setting.vault.transaction() as transaction:
        found = [(s, r) for s, r in queued(transaction) if r.state is RequestState.PENDING]
        written = {
            r.request_id: _written(arguments, r, exported(setting, transaction, s, r))
            for s, r in found
            if arguments.export is not None
        }
    begin = _beginnings(r for _, r in found)
    return {"requests": [_shown(r, begin, owner=_owner(s), files=written.get(r.request_id)) for s, r in found]}


def _owner(served: Served | None) -> str | None:
    return None if served is None else digits(served.kept.fingerprint)


def _written(arguments: argparse.Namespace, listed: ListedRequest, documents: tuple[bytes, bytes | None]) -> str:
    """Where a request lies; its annex lies beside it. What is there already stays where it is the same."""
    directory, name = Path(arguments.export), listed.request_id.hex().upper()
    ensure_directory(directory)
    request, annex = documents
    path = directory / f"{name}.xml"
    if not (is_there(path) and read_file(path, MAX_FILE) == request):
        create_file(path, request, mode=0o644)
    if annex is not None:
        write_file(directory / f"{name}.annex.xml", annex, mode=0o644)  # the newest: what is here changes
    return str(path)


def take(arguments: argparse.Namespace) -> Answer:
    """Take a grant, an approval or a trust list of an owner into this authority's store, as an upload would."""
    document = read_file(Path(arguments.file), MAX_FILE)
    with _authority(arguments) as setting, setting.vault.transaction() as transaction:
        receipt = take_answer(setting, transaction, document)
    request = digits(bytes.fromhex(receipt.id)) if receipt.id else None  # a trust list answers none
    return {"taken": arguments.file, "request": request, "changed": receipt.changed}
