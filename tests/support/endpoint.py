"""The other side of the port `lms.ports.MigrationAuthority`: notes what arrives, says what it was told to say.

`CONVERSATIONS` has every message of the service once.
"""

from __future__ import annotations

from datetime import UTC, datetime

from lms.model.authorities import (
    Challenge,
    Hello,
    Inventory,
    Kind,
    ListedPackage,
    ListedRequest,
    Receipt,
    RequestKind,
    RequestState,
    ServiceInformation,
    Session,
)
from lms.model.tpm import Credential
from lms.model.trust import Mode
from lms.wire.service_v1 import (
    AuthenticateAnswer,
    AuthenticateRequest,
    DeleteRequest,
    DownloadAnswer,
    DownloadRequest,
    InformationRequest,
    KeyAnswer,
    KeyRequest,
    MigrationFault,
    Proof,
    QueryRequest,
    ReceiptAnswer,
    UploadRequest,
)
from tests.support.documents import make_platform, uuid

WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
RECEIPT = Receipt(str(uuid("package")), b"d" * 32, WHEN, changed=True)
INFORMATION = ServiceInformation(uuid("ma"), Mode.SOFTWARE, 64 * 1024 * 1024, 90)
CHALLENGE = Challenge(Credential(b"blob", b"secret"), b"s" * 32)
SESSION = Session(b"t" * 32, 900, b"<trust/>")
INVENTORY = Inventory(
    (
        ListedPackage(uuid("package"), 8, WHEN, b"d" * 32, 4711, None),
        ListedPackage(uuid("older"), 7, WHEN, b"e" * 32, 4712, WHEN),
    ),
    (ListedRequest(b"r" * 32, RequestKind.RESTORE, uuid("platform"), WHEN, RequestState.PENDING),),
    3,
)

HELLO = Hello(make_platform().id, make_platform().ek.public, make_platform().srk.public, (b"certificate",), bytes(32))
TOKEN = b"t" * 32
# Operation, request, what arrives at the port, answer.
CONVERSATIONS = [
    ("Authenticate", AuthenticateRequest(HELLO, None), ("challenge", HELLO), AuthenticateAnswer(CHALLENGE, None)),
    (
        "Authenticate",
        AuthenticateRequest(None, Proof(b"n" * 32, b"p" * 32)),
        ("session", b"n" * 32, b"p" * 32),
        AuthenticateAnswer(None, SESSION),
    ),
    ("Upload", UploadRequest(TOKEN, b"<a/>"), ("upload", TOKEN, b"<a/>"), ReceiptAnswer(RECEIPT)),
    ("Upload", UploadRequest(None, b"<a/>"), ("upload", b"", b"<a/>"), ReceiptAnswer(RECEIPT)),
    (
        "Download",
        DownloadRequest(TOKEN, Kind.TRUST_LIST, ""),
        ("download", TOKEN, Kind.TRUST_LIST, ""),
        DownloadAnswer(b"document"),
    ),
    ("Query", QueryRequest(TOKEN), ("query", TOKEN), INVENTORY),
    ("Query", QueryRequest(None), ("query", b""), INVENTORY),
    ("Delete", DeleteRequest(TOKEN, RECEIPT.id), ("delete", TOKEN, RECEIPT.id), ReceiptAnswer(RECEIPT)),
    ("GetMAServiceInformation", InformationRequest(), ("information",), INFORMATION),
    ("GetMAKey", KeyRequest(), ("vault_public",), KeyAnswer(b"vault")),
]
FAULT = MigrationFault("ApprovalPending", "cannot release yet", uuid("correlation"), 60, b"r" * 32)


class Endpoint:
    """Records each call in `calls`; raises `error` where there is one."""

    def __init__(self, error: BaseException | None = None, document: bytes = b"document") -> None:
        self.calls: list[tuple[object, ...]] = []
        self._error = error
        self._document = document

    def _say(self, value, *call):
        self.calls.append(call)
        if self._error is not None:
            raise self._error
        return value

    def information(self):
        return self._say(INFORMATION, "information")

    def vault_public(self):
        return self._say(b"vault", "vault_public")

    def challenge(self, hello):
        return self._say(CHALLENGE, "challenge", hello)

    def session(self, server_nonce: bytes, proof: bytes):
        return self._say(SESSION, "session", server_nonce, proof)

    def upload(self, session: bytes, document: bytes):
        return self._say(RECEIPT, "upload", session, document)

    def query(self, session: bytes):
        return self._say(INVENTORY, "query", session)

    def download(self, session: bytes, kind: Kind, id: str):
        return self._say(self._document, "download", session, kind, id)

    def delete(self, session: bytes, id: str):
        return self._say(RECEIPT, "delete", session, id)
