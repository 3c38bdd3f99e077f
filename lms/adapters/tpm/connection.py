"""A connection to the TPM for one act, used by the worker's thread only; libtss2 comes with the first use of it.

With curl and GnuTLS, which it brings along, libtss2 takes 8 MB and a part of every start. An idle service only
looks at its TPM, and needs none of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lms.adapters.channel import Channel
from lms.adapters.tpm import capabilities
from lms.adapters.tpm.responses import doing
from lms.model.keys import Name
from lms.model.secret import Secret

if TYPE_CHECKING:
    from lms.adapters.tpm.context import Context


@dataclass
class Salt:
    """The key that salts sessions: its Name once somebody verified it, and the handle where it was last seen."""

    name: Name | None = None
    handle: int = 0


class Connection:
    """The channel, and the ESAPI context over it; a bare TPM is found with all its slots free."""

    def __init__(
        self, channel: Channel, *, bare: bool, salt: Salt, endorsement_auth: Secret, rsa_deadline_s: float
    ) -> None:
        self.channel = channel
        self._salt = salt
        self._endorsement_auth = endorsement_auth
        self._rsa_deadline_s = rsa_deadline_s
        if bare:
            with doing("reach the TPM"):
                capabilities.flush_all(channel)

    @cached_property
    def context(self) -> Context:
        """What acts on keys are done with."""
        from lms.adapters.tpm.context import Context

        return Context(self.channel, self._salt, self._endorsement_auth, self._rsa_deadline_s)

    @property
    def in_session(self) -> bool:
        """Whether a session is open."""
        return "context" in vars(self) and self.context.session is not None

    def close(self, *, answers: bool = True) -> None:
        """Let go of the TPM; nothing is sent to one that does not answer."""
        if "context" in vars(self):
            self.context.close(answers=answers)
        self.channel.shut()
