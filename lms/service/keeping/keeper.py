"""`lms.ports.MigrationAuthority` as the authority itself: what a call changes, one transaction changes (PROTOCOL §7).

Who asks is found first, then one function of this package does what is asked; the tables below are, but for the
package, the whole of what can be uploaded and fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cryptography import x509

from lms.errors import ApprovalPending, NotAtAuthority, NotAuthorised, TooLarge, WrongDocument
from lms.model.authorities import (
    Challenge,
    Hello,
    Inventory,
    Kind,
    ListedPackage,
    Peer,
    Receipt,
    RequestKind,
    ServiceInformation,
    Session,
)
from lms.model.trust import Role
from lms.ports import MigrationAuthority, VaultTransaction
from lms.service.keeping.access import (
    Bound,
    Station,
    bound,
    require_bound,
    served_owners,
    whose_msa,
)
from lms.service.keeping.packages import accept, keep, kept_before, mark_package
from lms.service.keeping.releases import annex, kept_package, release, rewrapped
from lms.service.keeping.requests import (
    deny,
    own_request,
    station_request,
    take_approval,
    take_enrolment_request,
    take_grant,
    take_restore_request,
    take_trust_list,
)
from lms.service.keeping.sessions import LIFETIME_S, Claim, Sessions
from lms.service.keeping.setting import AuthoritySetting
from lms.wire.certificates import for_attestation, identity_of, issued_by_owner
from lms.wire.document import claimed_root
from lms.wire.exchange_v1 import ENROLMENT_GRANT, RESTORE_APPROVAL, TRUST_LIST

Asker = Claim | Station


class Keeper:
    """A Migration Authority, whoever it talks to."""

    def __init__(self, setting: AuthoritySetting) -> None:
        self._setting = setting
        self._sessions = Sessions(setting.identity.ma_id, setting.leaf, setting.monotonic)

    def at(self, peer: Peer) -> MigrationAuthority:
        """The authority as it is to this peer."""
        return _Served(self._setting, self._sessions, peer)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call: by whom, from where, within which transaction."""

    setting: AuthoritySetting
    transaction: VaultTransaction
    asker: Asker
    address: str

    @property
    def claim(self) -> Claim:
        if isinstance(self.asker, Station):
            raise NotAuthorised("cannot do this as a station: it is a platform's to do")
        return self.asker

    @property
    def bound(self) -> Bound:
        return require_bound(self.transaction, self.claim)

    @property
    def station(self) -> Station:
        if not isinstance(self.asker, Station):
            raise NotAuthorised("cannot do this: it is a station's to do")
        return self.asker


def _take_enrolment(call: _Call, document: bytes) -> Receipt:
    return take_enrolment_request(call.setting, call.transaction, call.claim, call.address, document)


def _take_restore(call: _Call, document: bytes) -> Receipt:
    return take_restore_request(call.setting, call.transaction, call.claim, call.address, document)


def _take_grant(call: _Call, document: bytes) -> Receipt:
    return take_grant(call.setting, call.transaction, document)


def _take_approval(call: _Call, document: bytes) -> Receipt:
    return take_approval(call.setting, call.transaction, document)


def _take_trust_list(call: _Call, document: bytes) -> Receipt:
    return take_trust_list(call.setting, call.transaction, document)


PACKAGE: Final = "MigrationPackage"
_MSA_WORD: Final = {"EnrolmentGrant": ENROLMENT_GRANT, "RestoreApproval": RESTORE_APPROVAL, "TrustList": TRUST_LIST}

TAKEN: Final[dict[str, Callable[[_Call, bytes], Receipt]]] = {
    "EnrolmentRequest": _take_enrolment,
    "RestoreRequest": _take_restore,
    # The MSA's word is its own proof: whoever brings it.
    "EnrolmentGrant": _take_grant,
    "RestoreApproval": _take_approval,
    "TrustList": _take_trust_list,
}


def _request_id(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise NotAtAuthority(f"cannot find '{text}': not a RequestID") from None


def _package_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotAtAuthority(f"cannot find '{text}': not a PackageID") from None


def _give_package(call: _Call, id: str) -> bytes:
    return kept_package(call.transaction, call.bound, _package_id(id))


def _give_released(call: _Call, id: str) -> bytes:
    return release(call.setting, call.transaction, call.claim, _request_id(id))


def _give_rewrapped(call: _Call, id: str) -> bytes:
    return rewrapped(call.setting, call.transaction, call.bound, _package_id(id))


def _give_enrolment(call: _Call, id: str) -> bytes:
    return station_request(call.transaction, call.station, _request_id(id), RequestKind.ENROLMENT).document


def _give_restore(call: _Call, id: str) -> bytes:
    return station_request(call.transaction, call.station, _request_id(id), RequestKind.RESTORE).document


def _give_grant(call: _Call, id: str) -> bytes:
    kept = own_request(call.transaction, call.claim, _request_id(id), RequestKind.ENROLMENT)
    if kept.answer is None:
        raise ApprovalPending(f"cannot answer yet: request {id} waits for its approval", kept.request_id)
    return kept.answer


def _give_annex(call: _Call, id: str) -> bytes:
    kept = station_request(call.transaction, call.station, _request_id(id), RequestKind.RESTORE)
    return annex(call.setting, call.transaction, call.station, kept)


def _give_trust_list(call: _Call, id: str) -> bytes:
    asker = call.asker
    served = asker.served if isinstance(asker, Station) else call.bound.served
    return served.kept.trust_list


GIVEN: Final[dict[Kind, Callable[[_Call, str], bytes]]] = {
    Kind.PACKAGE: _give_package,
    Kind.RELEASED_PACKAGE: _give_released,
    Kind.REWRAPPED_PACKAGE: _give_rewrapped,
    Kind.ENROLMENT_REQUEST: _give_enrolment,
    Kind.RESTORE_REQUEST: _give_restore,
    Kind.ENROLMENT_GRANT: _give_grant,
    Kind.RESTORE_ANNEX: _give_annex,
    Kind.TRUST_LIST: _give_trust_list,
}


class _Served:
    """The authority as it is to one peer."""

    def __init__(self, setting: AuthoritySetting, sessions: Sessions, peer: Peer) -> None:
        self._setting = setting
        self._sessions = sessions
        self._peer = peer

    def information(self) -> ServiceInformation:
        identity, limits = self._setting.identity, self._setting.limits
        return ServiceInformation(identity.ma_id, identity.mode, limits.max_document, limits.retention.days)

    def vault_public(self) -> bytes:
        return self._setting.identity.vault

    def challenge(self, hello: Hello) -> Challenge:
        return self._sessions.challenge(hello, self._peer.address)

    def session(self, server_nonce: bytes, proof: bytes) -> Session:
        token, claim = self._sessions.session(server_nonce, proof)
        with self._setting.vault.transaction() as transaction:
            found = bound(transaction, claim)
        return Session(token, LIFETIME_S, None if found is None else found.served.kept.trust_list)

    def upload(self, session: bytes, document: bytes) -> Receipt:
        if len(document) > self._setting.limits.max_document:
            raise TooLarge(f"cannot take a document of {len(document)} bytes")
        with self._setting.vault.transaction() as transaction:
            self._call(transaction, session)  # of somebody unknown no document is looked at
            owners = served_owners(transaction)
        root = claimed_root(document)
        if root == PACKAGE:
            return self._upload_package(session, document)
        if root not in TAKEN:
            raise WrongDocument(f"cannot take '{root}': an authority keeps no such document")
        if root in _MSA_WORD:
            # Anybody may bring these, and they are big: the store is not held while a forged one is read.
            whose_msa(owners, _MSA_WORD[root].read(document)[1], self._setting.now())
        with self._setting.vault.transaction() as transaction:
            return TAKEN[root](self._call(transaction, session), document)

    def _upload_package(self, session: bytes, document: bytes) -> Receipt:
        """The store is held to see who asks, and to write: not while the package is judged."""
        with self._setting.vault.transaction() as transaction:
            asker = self._call(transaction, session).bound
            before = kept_before(transaction, asker, document)
        if before is not None:
            return before
        accepted = accept(self._setting, asker, document)
        with self._setting.vault.transaction() as transaction:
            return keep(self._setting, transaction, self._call(transaction, session).bound, accepted)

    def query(self, session: bytes) -> Inventory:
        with self._setting.vault.transaction() as transaction:
            call = self._call(transaction, session)
            if isinstance(call.asker, Station):
                served = call.asker.served
                return Inventory((), transaction.requests(served.kept.fingerprint), served.trusted.number)
            found = bound(transaction, call.claim)
            mine = transaction.requests_of(call.claim.pair.ek_name)
            if found is None:
                return Inventory((), mine, 0)
            packages = tuple(
                ListedPackage(p.package_id, p.sequence, p.stored, p.digest, p.size, p.marked)
                for p in found.packages(transaction)
            )
            return Inventory(packages, mine, found.served.trusted.number)

    def download(self, session: bytes, kind: Kind, id: str) -> bytes:
        with self._setting.vault.transaction() as transaction:
            return GIVEN[kind](self._call(transaction, session), id)

    def delete(self, session: bytes, id: str) -> Receipt:
        with self._setting.vault.transaction() as transaction:
            call = self._call(transaction, session)
            if isinstance(call.asker, Station):
                return deny(transaction, station_request(transaction, call.asker, _request_id(id)))
            return mark_package(self._setting, transaction, call.bound, _package_id(id))

    def _call(self, transaction: VaultTransaction, session: bytes) -> _Call:
        asker: Asker = self._sessions.find(session) if session else self._station(transaction)
        return _Call(self._setting, transaction, asker, self._peer.address)

    def _station(self, transaction: VaultTransaction) -> Station:
        if self._peer.certificate is not None:
            certificate = x509.load_der_x509_certificate(self._peer.certificate)
            for served in served_owners(transaction):
                if not issued_by_owner(certificate, served.owner) or for_attestation(certificate):
                    continue
                identity = identity_of(certificate)
                if identity.role is Role.STATION and served.trusted.withdrawn_since(identity) is None:
                    return Station(served)
        raise NotAuthorised("cannot do this without a session, or a station's certificate")
