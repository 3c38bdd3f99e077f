"""A Migration Authority's service as bytes to bytes: one SOAP 1.2 request, one answer (PROTOCOL §7).

The calls are a literal table. An error leaves as the typed fault with its class name where the asker can act on
it; everything else is `Internal` and a correlation id that stands in the journal too. No sockets here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID, uuid4

from lms.errors import (
    AboutRequest,
    ApprovalPending,
    AuthorityBusy,
    Blame,
    BlobRefused,
    EkUntrusted,
    LmsError,
    TakeOver,
    VaultFailed,
    VaultTooNew,
)
from lms.ports import MigrationAuthority
from lms.wire.envelope import EnvelopeRefused, Fault, read_request, write_envelope, write_fault_envelope
from lms.wire.service_v1 import (
    AuthenticateAnswer,
    AuthenticateRequest,
    DownloadAnswer,
    KeyAnswer,
    MigrationFault,
    ReceiptAnswer,
    operation_of,
)

_LOG: Final = logging.getLogger(__name__)

INTERNAL: Final = "Internal"
# Whose errors an asker can act on, with the exceptions; disk, database and TPM of the authority are its own affair.
_LEAVES: Final = frozenset({Blame.AUTHORITY, Blame.DOCUMENT})
_LEAVE_TOO: Final = (BlobRefused, EkUntrusted, TakeOver)
_STAY: Final = (VaultFailed, VaultTooNew)
_RETRY_AFTER_S: Final = {AuthorityBusy: 30, ApprovalPending: 60}
_MAX_TEXT: Final = 512
# SOAP 1.2 Part 2, 7.5.2.2.
_STATUS: Final = {Fault.SENDER: 400, Fault.RECEIVER: 500, Fault.VERSION: 500, Fault.HEADER: 500}


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP status, the envelope that goes with it, and what the journal may know of it."""

    status: int
    envelope: bytes
    operation: str
    outcome: str
    correlation_id: UUID


def _authenticate(authority: MigrationAuthority, asked: AuthenticateRequest) -> AuthenticateAnswer:
    if asked.hello is not None:
        return AuthenticateAnswer(authority.challenge(asked.hello), None)
    assert asked.proof is not None  # the schema's choice
    return AuthenticateAnswer(None, authority.session(asked.proof.server_nonce, asked.proof.proof))


CALLS: Final[dict[str, Callable[[MigrationAuthority, Any], Any]]] = {
    "Authenticate": _authenticate,
    "Upload": lambda authority, asked: ReceiptAnswer(authority.upload(asked.session or b"", asked.document)),
    "Download": lambda authority, asked: DownloadAnswer(authority.download(asked.session or b"", asked.kind, asked.id)),
    "Query": lambda authority, asked: authority.query(asked.session or b""),
    "Delete": lambda authority, asked: ReceiptAnswer(authority.delete(asked.session or b"", asked.id)),
    "GetMAServiceInformation": lambda authority, asked: authority.information(),
    "GetMAKey": lambda authority, asked: KeyAnswer(authority.vault_public()),
}


class _Call:
    """One request on its way: what is known of it so far goes into its reply, whatever becomes of it."""

    def __init__(self) -> None:
        self.operation = "-"
        self.correlation_id = uuid4()

    def answer(self, envelope: bytes, authority: MigrationAuthority) -> Reply:
        """Read, call, answer. Raises whatever the call does."""
        message = read_request(envelope)
        operation = operation_of(message)
        self.operation = operation.name
        answer = CALLS[operation.name](authority, operation.read_request(message))
        body = write_envelope(operation.write_answer(answer))
        return Reply(200, body, self.operation, "done", self.correlation_id)

    def refuse(self, fault: Fault, error: LmsError) -> Reply:
        """The fault for an error that may leave."""
        detail = MigrationFault(
            type(error).__name__,
            _sentence(str(error)),
            self.correlation_id,
            next((s for kind, s in _RETRY_AFTER_S.items() if isinstance(error, kind)), None),
            error.request_id if isinstance(error, AboutRequest) else None,
        )
        return self._fault(fault, detail)

    def fail(self, error: Exception) -> Reply:
        """The fault for everything else: the asker learns a number, the journal where it happened."""
        _LOG.error("%s: %s: %s", self.correlation_id, type(error).__name__, _cause(error))
        detail = MigrationFault(INTERNAL, "cannot answer: the authority failed", self.correlation_id)
        return self._fault(Fault.RECEIVER, detail)

    def _fault(self, fault: Fault, detail: MigrationFault) -> Reply:
        body = write_fault_envelope(fault, detail)
        return Reply(_STATUS[fault], body, self.operation, detail.code, self.correlation_id)


def answer(envelope: bytes, authority: MigrationAuthority) -> Reply:
    """What a Migration Authority answers to the bytes of one request; never raises an Exception."""
    call = _Call()
    try:
        return call.answer(envelope, authority)
    except EnvelopeRefused as refused:
        return call.refuse(refused.fault, refused.error)
    except LmsError as error:
        if not _may_leave(error):
            return call.fail(error)
        return call.refuse(Fault.RECEIVER if isinstance(error, AuthorityBusy) else Fault.SENDER, error)
    except Exception as error:  # noqa: BLE001 - the last wall before a stranger
        return call.fail(error)


def busy() -> Reply:
    """The answer to a request that there is no room for."""
    return _Call().refuse(Fault.RECEIVER, AuthorityBusy("cannot answer now: too much is on its way"))


def _may_leave(error: LmsError) -> bool:
    return isinstance(error, _LEAVE_TOO) or (error.blame in _LEAVES and not isinstance(error, _STAY))


def _sentence(text: str) -> str:
    """Text as the schema has it: printable and short. Characters that libxml2 may not know yet become '?'."""
    plain = text.encode("ascii", "replace").decode("ascii")
    return "".join(c if c.isprintable() else " " for c in plain)[:_MAX_TEXT]


def _cause(error: Exception) -> str:
    """Our own words, which hold no secret; of anybody else's exception only file and line, for it may quote one."""
    if isinstance(error, LmsError):
        return str(error)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "?" if trace is None else f"{PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
