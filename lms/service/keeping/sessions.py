"""Who is asking: challenges answered by a TPM, and the sessions that follow (PROTOCOL §7, Authenticate).

All in memory: after a restart everybody authenticates again. A session says which keys its holder has, and no
more; what these keys may do is asked of the trust list at each call (`lms.service.keeping.access`).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final
from uuid import UUID

from lms.errors import AuthorityBusy, BadAttributes, NotAuthenticated, SessionExpired
from lms.model.authorities import Challenge, Hello
from lms.model.keys import Name
from lms.model.secret import Secret
from lms.model.trust import Pair
from lms.service.selection import judge_ek
from lms.wire.authenticate import NONCE_SIZE, SECRET_SIZE, proof
from lms.wire.tpm.credential import make_credential
from lms.wire.tpm.public import SRK_ATTRIBUTES, name_of, read_public

LIFETIME_S: Final = 15 * 60
_CHALLENGE_S: Final = 60
_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Claim:
    """What a session's holder proved: it has this EK and SRK; and what it says: that it is this platform."""

    platform_id: UUID
    pair: Pair
    srk: bytes


@dataclass(frozen=True, slots=True)
class _Open:
    claim: Claim
    secret: Secret
    client_nonce: bytes
    until: float


class Sessions:
    """Challenges on their way and sessions; safe for many threads."""

    def __init__(self, ma_id: UUID, leaf: Callable[[], bytes], monotonic: Callable[[], float]) -> None:
        self._ma_id = ma_id
        self._leaf = leaf
        self._monotonic = monotonic
        self._lock = Lock()
        self._challenges: dict[bytes, _Open] = {}
        self._sessions: dict[bytes, tuple[Claim, float]] = {}

    def challenge(self, hello: Hello) -> Challenge:
        """A credential that only this EK opens, beside this SRK. Raises BadAttributes, AuthorityBusy."""
        if len(hello.client_nonce) != NONCE_SIZE:
            raise NotAuthenticated("cannot challenge: the nonce has not 32 bytes")
        judge_ek(hello.ek)
        if read_public(hello.srk).attributes != SRK_ATTRIBUTES:
            raise BadAttributes("cannot challenge: the SRK does not have exactly the attributes of one")
        ek, srk = name_of(hello.ek), name_of(hello.srk)
        secret, nonce = Secret(secrets.token_bytes(SECRET_SIZE)), secrets.token_bytes(NONCE_SIZE)
        credential = make_credential(hello.ek, secret.reveal(), srk)
        claim = Claim(hello.platform_id, Pair(ek, srk), hello.srk)
        with self._lock:
            self._forget()
            if len(self._challenges) >= _MOST:
                raise AuthorityBusy("cannot challenge: too many are on their way")
            self._challenges[nonce] = _Open(claim, secret, hello.client_nonce, self._monotonic() + _CHALLENGE_S)
        return Challenge(credential, nonce)

    def session(self, server_nonce: bytes, offered: bytes) -> tuple[bytes, Claim]:
        """A token for whoever answered a challenge; each is answered once. Raises NotAuthenticated, AuthorityBusy."""
        with self._lock:
            self._forget()
            asked = self._challenges.pop(server_nonce, None)
        if asked is None or not hmac.compare_digest(offered, self._expected(asked, server_nonce)):
            raise NotAuthenticated("cannot authenticate: the proof answers no challenge of this authority")
        token = secrets.token_bytes(32)
        with self._lock:
            if len(self._sessions) >= _MOST:
                raise AuthorityBusy("cannot open a session: too many are open")
            self._sessions[token] = (asked.claim, self._monotonic() + LIFETIME_S)
        return token, asked.claim

    def find(self, token: bytes) -> Claim:
        """Whose session this is. Raises SessionExpired."""
        with self._lock:
            self._forget()
            found = self._sessions.get(token)
        if found is None:
            raise SessionExpired("cannot go on: there is no such session")
        return found[0]

    def _expected(self, asked: _Open, server_nonce: bytes) -> bytes:
        claim, pair = asked.claim, asked.claim.pair
        return proof(
            asked.secret,
            self._ma_id,
            self._leaf(),
            asked.client_nonce,
            server_nonce,
            claim.platform_id,
            Name(pair.ek_name),
            Name(pair.srk_name),
        )

    def _forget(self) -> None:
        now = self._monotonic()
        self._challenges = {nonce: asked for nonce, asked in self._challenges.items() if asked.until > now}
        self._sessions = {token: (claim, until) for token, (claim, until) in self._sessions.items() if until > now}
