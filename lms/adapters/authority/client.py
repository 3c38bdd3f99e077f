"""`lms.ports.RemoteAuthority`: a Migration Authority at the other end of a TLS connection (PROTOCOL §7).

What an authority says is passed on as it is: signatures, trust lists and Names are verified by who asked.
"""

from __future__ import annotations

import hashlib
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import UUID

from lms.adapters.authority.channel import Channel, ClientCertificate
from lms.adapters.authority.deadline import Attempt, Deadline
from lms.adapters.authority.faults import error_of
from lms.adapters.authority.soap import Soap
from lms.errors import AuthorityBusy, AuthorityFailed, AuthorityUnreachable, LmsError, TooLarge
from lms.model.authorities import (
    Challenge,
    Hello,
    Inventory,
    Kind,
    Receipt,
    ServiceInformation,
    Session,
)
from lms.model.owner import Owner
from lms.model.trust import TrustList
from lms.wire.document import MIB
from lms.wire.service_v1 import AuthenticateAnswer, DownloadAnswer, MigrationFault
from lms.wire.tls import judge_tls

MAX_UPLOAD: Final = 64 * MIB
_BACKOFF_S: Final = (0.5, 2.0)
# With it a call ends within ten minutes, because one thread does all jobs: so the largest package needs a line of 1.4
# Mbit/s, and the largest that is released one of 2.4.
_TRANSFER_S: Final = 540.0
# Asked twice, these do no more than once: an authority keeps the same bytes only once. Authenticate and Delete are
# asked once: a nonce is good for one answer, and a deletion is somebody's decision.
_REPEATABLE: Final = frozenset({"GetMAServiceInformation", "GetMAKey", "Query", "Download", "Upload"})


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one attempt; `again_s` is the least time before another, None where there is to be none."""

    answer: Any = None
    error: LmsError | None = None
    again_s: float | None = None


class AuthorityClient:
    """One authority, at one address, for one owner. Not for several threads at once."""

    def __init__(
        self,
        address: str,
        ma_id: UUID,
        owner: Owner,
        trust_list: TrustList | None,
        *,
        deadline_s: float = 60.0,
        transfer_s: float = _TRANSFER_S,
        station: ClientCertificate | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`address` is https://HOST:PORT; each call ends within `deadline_s`, also where it is asked again, and
        what its bytes take at 64 KiB a second, `transfer_s` at most.

        Nothing is connected before the first call. Raises BadRequest for an address that is none.
        """
        judge = partial(judge_tls, ma_id=ma_id, owner=owner, trust_list=trust_list)
        self._ma_id = ma_id
        self._channel = Channel(address, judge, station)
        self._soap = Soap(self._channel.post)
        # zeep's objects refer to each other: else a client that nobody has any more would keep its connection.
        weakref.finalize(self, self._channel.close)
        self._deadline_s = deadline_s
        self._transfer_s = transfer_s
        self._clock = clock
        self._pause = pause

    @property
    def leaf(self) -> bytes:
        """DER of the certificate that it showed on the present connection; empty before the first call."""
        return self._channel.leaf

    def close(self) -> None:
        """Close the connection; a later call makes a new one."""
        self._channel.close()

    def information(self) -> ServiceInformation:
        """GetMAServiceInformation."""
        information: ServiceInformation = self._call("GetMAServiceInformation")
        if information.ma_id != self._ma_id:
            raise AuthorityFailed(f"cannot use the answer: '{self._ma_id}' says that it is '{information.ma_id}'")
        return information

    def vault_public(self) -> bytes:
        """GetMAKey: TPM2B_PUBLIC of the vault parent. Believed only where the trust list names it."""
        vault: bytes = self._call("GetMAKey").vault
        return vault

    def challenge(self, hello: Hello) -> Challenge:
        """Authenticate, first call. Raises BadAttributes, MalformedStructure, AuthorityBusy."""
        said = {
            "PlatformID": str(hello.platform_id),
            "EK": hello.ek,
            "SRK": hello.srk,
            "EKCertificate": list(hello.ek_certificates),
            "ClientNonce": hello.client_nonce,
        }
        answer: AuthenticateAnswer = self._call("Authenticate", Hello=said)
        if answer.challenge is None:
            raise AuthorityFailed("cannot use the answer: it opens a session that was not asked for")
        return answer.challenge

    def session(self, server_nonce: bytes, proof: bytes) -> Session:
        """Authenticate, second call. Raises NotAuthenticated."""
        answer: AuthenticateAnswer = self._call("Authenticate", Proof={"ServerNonce": server_nonce, "Proof": proof})
        if answer.session is None:
            raise AuthorityFailed("cannot use the answer: it is another challenge instead of a session")
        return answer.session

    def upload(self, session: bytes, document: bytes) -> Receipt:
        """Hand a document over. Raises TooLarge, and AuthorityFailed for a receipt of other bytes."""
        if len(document) > MAX_UPLOAD:
            raise TooLarge(f"cannot upload {len(document)} bytes: at most {MAX_UPLOAD}")
        receipt: Receipt = self._call("Upload", Session=session or None, Document=document).receipt
        if receipt.digest != hashlib.sha256(document).digest():
            raise AuthorityFailed("cannot use the authority's receipt: it is for other bytes than those uploaded")
        return receipt

    def query(self, session: bytes) -> Inventory:
        """What the asker has there."""
        inventory: Inventory = self._call("Query", Session=session or None)
        return inventory

    def download(self, session: bytes, kind: Kind, id: str, at_most: int | None = None) -> bytes:
        """One document, its exact signed bytes. Raises NotAtAuthority, ApprovalPending, Denied, AlreadyReleased.

        AuthorityFailed where the answer is longer than one with `at_most` bytes.
        """
        answer: DownloadAnswer = self._call("Download", at_most, Session=session or None, Kind=kind.value, ID=id)
        return answer.document

    def delete(self, session: bytes, id: str) -> Receipt:
        """Mark a package for deletion; of a request, by a station: deny it. Raises LastPackage."""
        receipt: Receipt = self._call("Delete", Session=session or None, ID=id).receipt
        return receipt

    def _call(self, operation: str, at_most: int | None = None, **arguments: Any) -> Any:
        deadline = Deadline(self._deadline_s, self._transfer_s, self._clock)
        ask = partial(self._soap.call, operation, arguments, at_most=at_most)
        outcome = _outcome(ask, deadline)
        for backoff_s in _BACKOFF_S if operation in _REPEATABLE else ():
            if outcome.again_s is None or not deadline.allows(max(backoff_s, outcome.again_s)):
                break
            self._pause(max(backoff_s, outcome.again_s))
            outcome = _outcome(ask, deadline)
        if outcome.error is not None:
            raise outcome.error
        return outcome.answer


def _outcome(ask: Callable[..., Any], deadline: Deadline) -> _Outcome:
    attempt = Attempt(deadline)
    try:
        answer = ask(attempt=attempt)
    except AuthorityBusy as error:
        return _Outcome(error=error, again_s=0)
    except AuthorityUnreachable as error:
        # Once an answer began, the authority has the request: what broke then is told, not asked again.
        return _Outcome(error=error, again_s=None if attempt.answered else 0)
    if not isinstance(answer, MigrationFault):
        return _Outcome(answer)
    refused = error_of(answer)
    return _Outcome(error=refused, again_s=answer.retry_after_s or 0 if isinstance(refused, AuthorityBusy) else None)
