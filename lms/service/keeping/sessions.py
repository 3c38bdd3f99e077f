"""Who is asking: challenges answered by a TPM, and the sessions that follow (PROTOCOL §7, Authenticate).

All in memory: after a restart everybody authenticates again. A session says which keys its holder has, and no
more; what these keys may do is asked of the trust list at each call (`lms.service.keeping.access`).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from lms.errors import BadAttributes, NotAuthenticated, SessionExpired
from lms.model.authorities import Challenge, Hello
from lms.model.keys import Name
from lms.model.secret import Secret
from lms.model.trust import Pair
from lms.service.keeping.shares import Shares
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
    address: str


class Sessions:
    """Challenges on their way and sessions; safe for many threads."""

    def __init__(self, ma_id: UUID, leaf: Callable[[], bytes], monotonic: Callable[[], float]) -> None:
        self._ma_id = ma_id
        self._leaf = leaf
        self._monotonic = monotonic
        self._challenges: Shares[_Open] = Shares(_MOST, _CHALLENGE_S)
        self._sessions: Shares[Claim] = Shares(_MOST, LIFETIME_S)

    def challenge(self, hello: Hello, address: str) -> Challenge:
        """A credential that only this EK opens, beside this SRK. Raises NotAuthenticated, BadAttributes."""
        if len(hello.client_nonce) != NONCE_SIZE:
            raise NotAuthenticated("cannot challenge: the nonce has not 32 bytes")
        judge_ek(hello.ek)
        if read_public(hello.srk).attributes != SRK_ATTRIBUTES:
            raise BadAttributes("cannot challenge: the SRK does not have exactly the attributes of one")
        ek, srk = name_of(hello.ek), name_of(hello.srk)
        secret, nonce = Secret(secrets.token_bytes(SECRET_SIZE)), secrets.token_bytes(NONCE_SIZE)
        credential = make_credential(hello.ek, secret.reveal(), srk)
        claim = Claim(hello.platform_id, Pair(ek, srk), hello.srk)
        self._challenges.put(nonce, _Open(claim, secret, hello.client_nonce, address), address, self._monotonic())
        return Challenge(credential, nonce)

    def session(self, server_nonce: bytes, offered: bytes) -> tuple[bytes, Claim]:
        """A token for whoever answered a challenge; each is answered once. Raises NotAuthenticated."""
        asked = self._challenges.take(server_nonce, self._monotonic())
        if asked is None or not hmac.compare_digest(offered, self._expected(asked, server_nonce)):
            raise NotAuthenticated("cannot authenticate: the proof answers no challenge of this authority")
        token = secrets.token_bytes(32)
        self._sessions.put(token, asked.claim, asked.address, self._monotonic())
        return token, asked.claim

    def find(self, token: bytes) -> Claim:
        """Whose session this is. Raises SessionExpired."""
        found = self._sessions.find(token, self._monotonic())
        if found is None:
            raise SessionExpired("cannot go on: there is no such session")
        return found

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
