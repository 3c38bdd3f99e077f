"""The queues of the owner's Migration Authorities, as the owner's station sees them (PROTOCOL §6, §7).

What waits there may have been exchanged by the authority that it waits at: a request is believed as far as it
proves itself, and approved for the digits that a person read at the machine. An authority that is out of reach, or
lies, is named, and does not keep the station from the others.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID

from lms.adapters.store import StationDirectory
from lms.authority.desk import MAX_FILE, Answer, configuration_of, register_of
from lms.errors import (
    AuthorityUnknown,
    AuthorityUnreachable,
    DigitsDiffer,
    LmsError,
    NotAtAuthority,
    NotInitialised,
    RegisterStale,
    RequestAmbiguous,
    TrustListConflict,
    WrongDocument,
)
from lms.files import is_there, read_file
from lms.model.authorities import Inventory, Kind, ListedRequest, RequestKind
from lms.model.keys import begins_digits
from lms.model.owner import Owner
from lms.model.station import StationIdentity
from lms.model.trust import TrustList
from lms.terminal import say
from lms.wire.anchor import read_owner
from lms.wire.document import root_name
from lms.wire.enrolment import read_platform_enrolment
from lms.wire.restoration import read_restore_request
from lms.wire.trust_list import read_trust_list

if TYPE_CHECKING:
    from lms.adapters.authority import AuthorityClient

T = TypeVar("T")
_PATIENCE_S: Final = 20.0  # a person waits, and there may be more authorities
_DIGITS: Final = re.compile(r"[A-Za-z2-7]{4}(-?[A-Za-z2-7]{4}){3}")
_BEGIN: Final = re.compile(r"[A-Z2-7]{4}(-?[A-Z2-7]{4}){0,2}(-?…)?", re.IGNORECASE)
_REQUEST_ID: Final = re.compile(r"[0-9A-Fa-f]{64}")
# How each kind is fetched, and read with all its proofs.
_REQUESTS: Final[Mapping[RequestKind, tuple[Kind, Callable[[bytes], bytes]]]] = {
    RequestKind.ENROLMENT: (Kind.ENROLMENT_REQUEST, lambda document: read_platform_enrolment(document).request_id),
    RequestKind.RESTORE: (Kind.RESTORE_REQUEST, lambda document: read_restore_request(document).request_id),
}


def names_waiting(text: str) -> bool:
    """Whether somebody means a request in a queue, by its digits or its RequestID; a file of that name goes first."""
    return bool(_DIGITS.fullmatch(text) or _REQUEST_ID.fullmatch(text)) and not is_there(Path(text))


def begins_waiting(text: str) -> bool:
    """Whether somebody means it by some of its digits, as `pending` shows them; a file of that name goes first."""
    return bool(_BEGIN.fullmatch(text)) and not is_there(Path(text))


def request_meant(text: str) -> str:
    """How somebody names a request: digits or RequestID as they are, a file by its RequestID with all its proofs.

    Raises FileProblem, WrongDocument and the errors of the request's reader.
    """
    if names_waiting(text) or begins_waiting(text):
        return text
    document = read_file(Path(text), MAX_FILE)
    root = root_name(document)
    for kind, proven in _REQUESTS.values():
        if kind.value == root:
            return proven(document).hex()
    raise WrongDocument(f"cannot deny '{root}': it is no request that waits at an authority")


def is_digits(text: str) -> bool:
    """Whether a text is what a machine shows of its request."""
    return _DIGITS.fullmatch(text) is not None


class Line:
    """An authority as its owner's station sees it, at whichever of its addresses it answers."""

    def __init__(self, ma_id: UUID, clients: Sequence[AuthorityClient]) -> None:
        self.ma_id = ma_id
        self._clients = clients

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            client.close()

    def inventory(self) -> Inventory:
        """The owner's queue, and the number of the trust list there."""
        return self._ask(lambda client: client.query(b""))

    def request(self, listed: ListedRequest) -> bytes:
        """A request whose every proof fits, under the RequestID that it is listed with.

        Raises DigitsDiffer and the errors of its reader.
        """
        kind, proven = _REQUESTS[listed.kind]
        document = self._ask(lambda client: client.download(b"", kind, listed.request_id.hex().upper()))
        if proven(document) != listed.request_id:
            raise DigitsDiffer("cannot approve: it hands out another request than the one that it lists")
        return document

    def annex(self, request_id: bytes) -> bytes:
        """What it claims to hold for a restore request. Raises NotAtAuthority."""
        return self._ask(lambda client: client.download(b"", Kind.RESTORE_ANNEX, request_id.hex().upper()))

    def trust_list(self) -> bytes:
        """The one that it has; nothing is believed."""
        return self._ask(lambda client: client.download(b"", Kind.TRUST_LIST, ""))

    def upload(self, document: bytes) -> None:
        """Hand over what the MSA signed."""
        self._ask(lambda client: client.upload(b"", document))

    def deny(self, request_id: bytes) -> None:
        """Deny a request of the owner's queue."""
        self._ask(lambda client: client.delete(b"", request_id.hex().upper()))

    def _ask(self, call: Callable[[AuthorityClient], T]) -> T:
        refusal: LmsError = AuthorityUnreachable("cannot reach it: it has no address")
        for client in self._clients:
            try:
                return call(client)
            except AuthorityUnreachable as error:
                refusal = error
        raise refusal


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request as an authority lists it."""

    line: Line
    listed: ListedRequest


def meant(text: str, listed: Iterable[ListedRequest]) -> list[ListedRequest]:
    """One request as often as it is listed, by its RequestID or how its digits begin.

    Raises RequestAmbiguous.
    """
    found = [one for one in listed if one.request_id.hex() == text.lower() or begins_digits(text, one.request_id)]
    if (several := len({one.request_id for one in found})) > 1:
        raise RequestAmbiguous(f"cannot tell which request '{text}' is: {several} begin like this")
    return found


@dataclass(slots=True)
class Queues:
    """All queues that the station looks into; `refusals` are the authorities that could not be used, and why."""

    owner: Owner
    trusted: TrustList
    lines: tuple[Line, ...]
    refusals: dict[UUID, LmsError] = field(default_factory=dict)
    told: set[UUID] = field(default_factory=set)

    def each(self, lines: Sequence[Line], act: Callable[[Line], T]) -> list[tuple[Line, T]]:
        """What `act` gives at each authority; one where it fails is left out. Raises where it fails at all of them."""
        done = self.where_possible(lines, act)
        if not done:
            raise self._verdict(lines)
        return done

    def where_possible(self, lines: Sequence[Line], act: Callable[[Line], T]) -> list[tuple[Line, T]]:
        """The same, where none is needed."""
        done = []
        for line in lines:
            try:
                done.append((line, act(line)))
            except LmsError as error:
                self.refusals[line.ma_id] = error
        return done

    def waiting(self) -> list[Waiting]:
        """All that is listed. Raises what the first refused, where none could be asked."""
        inventories = self.each(self.lines, Line.inventory)
        return [Waiting(line, listed) for line, inventory in inventories for listed in inventory.requests]

    def named(self, text: str) -> list[Waiting]:
        """Where the request that somebody means is listed, by its RequestID or how its digits begin.

        Raises NotAtAuthority, RequestAmbiguous, and as `waiting`.
        """
        waiting = self.waiting()
        found = meant(text, (w.listed for w in waiting))
        if not found:
            self.shown()
            raise NotAtAuthority(f"cannot find request '{text}': it waits at no authority that could be asked")
        return [w for w in waiting if w.listed in found]

    def check_register(self, lines: Sequence[Line]) -> None:
        """Raise RegisterStale where an authority shows a newer trust list of this owner.

        TrustListConflict where it shows another one under the same number: what that says must not get lost.
        """
        for line, newest in self.where_possible(lines, lambda line: read_trust_list(line.trust_list(), self.owner)):
            if newest.number == self.trusted.number and newest != self.trusted:
                raise TrustListConflict(f"cannot go on: authority {line.ma_id} has another trust list {newest.number}")
            if newest.number > self.trusted.number:
                known = f"trust list {newest.number}, here is {self.trusted.number}"
                raise RegisterStale(f"cannot go on: authority {line.ma_id} has {known}")

    def _verdict(self, lines: Sequence[Line]) -> LmsError:
        """What the first of these refused, with its name."""
        for line in lines:
            error = self.refusals[line.ma_id]
            return type(error)(f"{error} (authority {line.ma_id})")
        return AuthorityUnknown("cannot ask anybody: the owner's trust list here names no authority")

    def shown(self) -> list[Answer]:
        """The refusals, for an answer; a person hears each of them once, too."""
        for ma_id in self.refusals.keys() - self.told:
            say("lms-authority", f"authority {ma_id}: {self.refusals[ma_id]}")
            self.told.add(ma_id)
        return [{"authority": str(i), "error": type(e).__name__, "message": str(e)} for i, e in self.refusals.items()]


def enrolled_station(arguments: argparse.Namespace) -> StationIdentity | None:
    """The station of this machine; None where there is none, or none that is enrolled."""
    identity = StationDirectory(configuration_of(arguments).station.state_directory).load()
    return None if identity is None or identity.certificate is None else identity


@contextmanager
def opened_queues(arguments: argparse.Namespace) -> Iterator[Queues]:
    """The queues of the owner's authorities, of one of them where `--authority` says so.

    Raises NotInitialised, AuthorityUnknown, FileProblem and the errors of `read_trust_list`.
    """
    from lms.adapters.authority import AuthorityClient, ClientCertificate  # the SOAP library is large

    station = enrolled_station(arguments)
    if station is None or station.certificate is None or station.owner_document is None:
        raise NotInitialised("cannot look into a queue: this machine is no station of an owner yet")
    owner = read_owner(station.owner_document)
    trusted = read_trust_list(register_of(arguments).trust_list(), owner)
    shown = ClientCertificate(station.certificate, station.tls_key)
    lines = tuple(
        Line(
            ma_id, [AuthorityClient(a, ma_id, owner, trusted, deadline_s=_PATIENCE_S, station=shown) for a in addresses]
        )
        for ma_id, addresses in _whereabouts(arguments, trusted)
    )
    try:
        yield Queues(owner, trusted, lines)
    finally:
        for line in lines:
            line.close()


def _whereabouts(arguments: argparse.Namespace, trusted: TrustList) -> list[tuple[UUID, tuple[str, ...]]]:
    """MAIDs and addresses, as the trust list has them; or as `--authority` says where one of them is."""
    known = trusted.standing_authorities
    said = arguments.authority
    if said is None:
        return [(a.ma_id, a.addresses) for a in known]
    for authority in known:
        if said == str(authority.ma_id):
            return [(authority.ma_id, authority.addresses)]
        if said in authority.addresses:
            return [(authority.ma_id, (said,))]
    if len(known) == 1 and "://" in said:
        return [(known[0].ma_id, (said,))]
    raise AuthorityUnknown(f"cannot find authority '{said}': the owner's trust list here names no such one")
