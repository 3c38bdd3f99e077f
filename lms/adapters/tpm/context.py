"""One ESAPI context and the few things that every act needs: keys by handle, loading, freeing, patience.

A bare TPM has three slots for objects and three for sessions: everything taken here is a context manager.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final, NamedTuple

from tpm2_pytss import ESAPI
from tpm2_pytss.constants import ESYS_TR
from tpm2_pytss.TSS2_Exception import TSS2_Exception
from tpm2_pytss.types import TPM2B_PRIVATE, TPM2B_PUBLIC

from lms.adapters.channel import Channel
from lms.adapters.tpm import capabilities
from lms.adapters.tpm.connection import Salt
from lms.adapters.tpm.responses import BAD_AUTH, HANDLE, VALUE, doing
from lms.adapters.tpm.tcti import ChannelTcti
from lms.errors import AuthFailed, BadRequest, KeyNotFound, MalformedStructure
from lms.model.keys import Name
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.ports import EndorsementKey, Step
from lms.wire.tpm.public import ALG_RSA, name_of

NOTHING: Final = Secret(b"")


class Session(NamedTuple):
    """A session that stays open, and the key that salts it."""

    salt: Name | None
    handle: Any


def read(kind: Any, data: bytes) -> Any:
    """Unmarshal one whole TPM structure with tpm2_pytss; MalformedStructure for anything else."""
    try:
        value, used = kind.unmarshal(data)
    except (TSS2_Exception, ValueError, TypeError) as error:
        raise MalformedStructure(f"cannot read a {kind.__name__}") from error
    if used != len(data):
        raise MalformedStructure(f"cannot read a {kind.__name__}: bytes follow its end")
    return value


class Context:
    """An ESAPI context for one act.

    `endorsement_keys` are those that were found in it, empty before somebody looked; `session` carries the act's
    secrets, None before the first.
    """

    def __init__(self, channel: Channel, salt: Salt, endorsement_auth: Secret, rsa_deadline_s: float) -> None:
        self.channel = channel
        self.salt = salt
        self.endorsement_auth = endorsement_auth
        self.endorsement_keys: tuple[EndorsementKey, ...] = ()
        self.session: Session | None = None
        self._rsa_deadline_s = rsa_deadline_s
        self._open: dict[int, Any] = {}
        self.esapi = ESAPI(ChannelTcti(channel))

    def end_session(self) -> None:
        """Free the slot of `session`, if there is one and no reset did."""
        session, self.session = self.session, None
        if session is not None:
            with suppress(TSS2_Exception):
                self.esapi.flush_context(session.handle)

    def close(self, *, answers: bool = True) -> None:
        """Free what libtss2 holds; nothing is sent to a TPM that does not answer."""
        if answers:
            self.end_session()
        self.esapi.close()

    @contextmanager
    def flushing(self, handle: Any) -> Iterator[Any]:
        """Free a transient object or a session at the end."""
        try:
            yield handle
        except BaseException:
            with suppress(TSS2_Exception):
                self.esapi.flush_context(handle)
            raise
        with doing("free a slot of the TPM"):
            self.esapi.flush_context(handle)

    @contextmanager
    def persistent(self, handle: int) -> Iterator[Any]:
        """The key at a persistent handle; KeyNotFound where there is none."""
        capabilities.require_persistent(handle)
        if handle in self._open:  # ESAPI would give the same object again, and close both at once
            yield self._open[handle]
            return
        with doing(f"find the key at {handle:#x}", {VALUE: KeyNotFound, HANDLE: KeyNotFound}):
            key = self._open[handle] = self.esapi.tr_from_tpmpublic(handle)
        try:
            yield key
        finally:
            del self._open[handle]
            with suppress(TSS2_Exception):  # evicting closes it as well
                self.esapi.tr_close(key)

    def public_at(self, handle: int) -> bytes | None:
        """TPM2B_PUBLIC of the key at a persistent handle; None where there is none."""
        return capabilities.public_at(self.channel, handle)

    def public(self, key: Any) -> bytes:
        """TPM2B_PUBLIC of a key as ESAPI holds it: what it salts with, whoever sits on the bus.

        A serialised ESYS_TR is u32 handle ‖ TPM2B_NAME ‖ u32 type ‖ TPM2B_PUBLIC.
        """
        with doing("read a public area"):
            data: bytes = self.esapi.tr_serialize(key)
        start = 4 + 2 + int.from_bytes(data[4:6], "big") + 4
        return data[start : start + 2 + int.from_bytes(data[start : start + 2], "big")]

    @contextmanager
    def loaded(self, parent: Any, key: SealedObject, session: Any = ESYS_TR.PASSWORD) -> Iterator[Any]:
        """Load `key` below `parent`, whose authorisation is empty, or goes through `session`."""
        with self.flushing(self._load(parent, key, session)) as handle:
            yield handle

    def _load(self, parent: Any, key: SealedObject, session: Any) -> Any:
        private, public = read(TPM2B_PRIVATE, key.private), read(TPM2B_PUBLIC, key.public)
        with doing("load the key", {BAD_AUTH: AuthFailed}):
            return self.esapi.load(parent, private, public, session1=session)

    @contextmanager
    def reached(self, handle: int, path: tuple[Step, ...], session: Any) -> Iterator[Any]:
        """The last key of a path from a persistent handle down, ready for use in `session`; the key there without one.

        Each key of the path lets go of the one above it: a bare TPM holds three.
        """
        with self.persistent(handle) as root, ExitStack() as above:
            key, auth = root, NOTHING
            for step in path:
                with self.authorised(key, auth):
                    below = self._load(key, step.key, session)
                above.close()
                key, auth = above.enter_context(self.flushing(below)), step.auth
            with self.authorised(key, auth):
                yield key

    @contextmanager
    def loaded_public(self, public: bytes) -> Iterator[Any]:
        """Load a public key; in the owner hierarchy, because TPM2_PolicyAuthorize refuses tickets of the null one."""
        area = read(TPM2B_PUBLIC, public)
        with doing("load a public key", {VALUE: MalformedStructure}):
            handle = self.esapi.load_external(area, None, ESYS_TR.OWNER)
        with self.flushing(handle):
            yield handle

    @contextmanager
    def authorised(self, handle: Any, auth: Secret) -> Iterator[None]:
        """ESAPI knows the authorisation of an entity inside, and only there."""
        if len(auth) > 32:
            raise BadRequest("cannot use an authorisation of more than 32 bytes")
        self.esapi.tr_set_auth(handle, auth.reveal())
        try:
            yield
        finally:
            with suppress(TSS2_Exception):
                self.esapi.tr_set_auth(handle, b"")

    @contextmanager
    def patience(self, template: bytes) -> Iterator[None]:
        """More time where an RSA key is made: chips look for primes for minutes."""
        usual = self.channel.deadline_s
        if int.from_bytes(template[2:4], "big") == ALG_RSA:
            self.channel.deadline_s = max(usual, self._rsa_deadline_s)
        try:
            yield
        finally:
            self.channel.deadline_s = usual


def name_or_none(public: bytes) -> Name | None:
    """Name of a key that may be of a kind that is not ours."""
    try:
        return name_of(public)
    except MalformedStructure:
        return None
