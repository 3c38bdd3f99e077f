"""`TpmDevice`: `lms.ports.Tpm` on a real TPM or a swtpm.

A face: each method hands its act to the one thread that owns the TPM.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from lms.adapters.channel import Channel, Observer, endpoint_for
from lms.adapters.tpm import capabilities
from lms.adapters.tpm.connection import Connection, Salt
from lms.adapters.tpm.responses import doing
from lms.adapters.tpm.worker import Worker
from lms.errors import TpmUnavailable
from lms.model.keys import Algorithm, Name
from lms.model.packages import MsaApproval
from lms.model.policies import Branch, DuplicationPolicy
from lms.model.secret import Secret
from lms.model.tpm import Attestation, Credential, OuterWrap, SealedObject, Tries
from lms.ports import CertifiedKey, DuplicatedKey, EndorsementKey, Step


class _Module:
    """A module of this package that needs libtss2, imported by its first use."""

    def __init__(self, name: str) -> None:
        self._name = f"{__package__}.{name}"

    def __getattr__(self, member: str) -> Any:
        return getattr(import_module(self._name), member)


if TYPE_CHECKING:
    from lms.adapters.tpm import attestation, keys, migration
    from lms.adapters.tpm.context import Context
else:
    attestation, keys, migration = map(_Module, ("attestation", "keys", "migration"))

T = TypeVar("T")
_NOTHING: Final = Secret(b"")


class TpmDevice:
    """One TPM, used by any thread; implements `lms.ports.Tpm`.

    `tcti` is `device:/dev/tpmrm0`, `swtpm:path=FILE` or `swtpm:host=HOST,port=PORT`; a swtpm has no resource
    manager and no other user than this object, which frees its slots. `endorsement_auth` is for deriving the
    AK and EKs. `observe` sees all commands and responses (tests).
    """

    def __init__(
        self,
        tcti: str,
        *,
        endorsement_auth: Secret = _NOTHING,
        deadline_s: float = 30.0,
        rsa_deadline_s: float = 180.0,
        observe: Observer | None = None,
    ) -> None:
        endpoint_for(tcti)  # a bad configuration is told at once
        self._salt = Salt()
        self._endorsement_auth = endorsement_auth
        self._tcti = tcti
        self._channel: Channel | None = None

        def connect() -> Connection:
            self._channel = Channel(endpoint_for(tcti), deadline_s, observe)
            return Connection(
                self._channel,
                bare=tcti.startswith("swtpm"),
                salt=self._salt,
                endorsement_auth=self._endorsement_auth,
                rsa_deadline_s=rsa_deadline_s,
            )

        self._worker = Worker(connect, self._told)

    def _told(self, error: TpmUnavailable) -> TpmUnavailable:
        """What the way to the TPM said: a device that is absent or forbidden is another case than one that hangs."""
        trouble = self._channel.trouble if self._channel is not None else ""
        return TpmUnavailable(f"{error} ('{self._tcti}': {trouble})") if trouble else error

    def close(self) -> None:
        """Let go of the TPM and end the thread."""
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, endorsement_auth: Secret) -> None:
        """A new act begins: no salt is trusted any more, AK and EKs are derived with this authorisation."""
        self._salt.name = None
        self._endorsement_auth = endorsement_auth
        self._worker.renew()

    def endorsement_keys(self) -> tuple[EndorsementKey, ...]:
        """All EKs: RSA-2048 first where there is one; also those without a certificate."""
        return self._act(attestation.endorsement_keys)

    def trust_salt(self, name: Name) -> None:
        """Salt sessions with this key from now on: an EK that was verified, or the SRK that is pinned."""
        self._salt.name = name

    def _act(self, act: Callable[[Context], T]) -> T:
        return self._worker.run(lambda tpm: act(tpm.context))

    def _permanent(self, bit: int) -> bool:
        def ask(tpm: Connection) -> bool:
            with doing("read the TPM's properties"):
                return bool(capabilities.permanent(tpm.channel) & bit)

        return self._worker.run(ask)

    def owner_auth_is_set(self) -> bool:
        """Whether the owner hierarchy has an authorisation value."""
        return self._permanent(capabilities.OWNER_AUTH_SET)

    def lockout_auth_is_set(self) -> bool:
        """Whether the lock-out hierarchy has an authorisation value."""
        return self._permanent(capabilities.LOCKOUT_AUTH_SET)

    def is_locked_out(self) -> bool:
        """Whether it refuses what wrong guesses count for (TPMA_PERMANENT, inLockout)."""
        return self._permanent(capabilities.IN_LOCKOUT)

    def tries(self) -> Tries:
        """What wrong guesses used up (TPM_PT_LOCKOUT_COUNTER, TPM_PT_MAX_AUTH_FAIL, TPM_PT_LOCKOUT_INTERVAL)."""

        def ask(tpm: Connection) -> Tries:
            with doing("read the TPM's properties"):
                return capabilities.tries(tpm.channel)

        return self._worker.run(ask)

    def set_owner_auth(self, old: Secret, new: Secret) -> None:
        """TPM2_HierarchyChangeAuth of the owner hierarchy; OwnerAuthFailed."""
        self._act(lambda tpm: keys.set_owner_auth(tpm, old, new))

    def read_public(self, handle: int) -> bytes | None:
        """TPM2B_PUBLIC of the persistent key at `handle`; None where there is no key."""
        return self._worker.run(lambda tpm: capabilities.public_at(tpm.channel, handle))

    def kept(self) -> dict[int, bytes]:
        """Persistent keys and NV indices by their handles: TPM2B_PUBLIC, TPM2B_NV_PUBLIC."""
        return self._worker.run(lambda tpm: capabilities.kept(tpm.channel))

    def ensure_srk(self, handle: int, algorithm: Algorithm, owner_auth: Secret) -> bytes:
        """Derive the SRK, persist it where the handle is free, and return its TPM2B_PUBLIC; HandleOccupied."""
        return self._act(lambda tpm: keys.ensure_srk(tpm, handle, algorithm, owner_auth))

    def attestation_key(self) -> bytes:
        """TPM2B_PUBLIC of the AK, re-derived in the endorsement hierarchy."""
        return self._act(attestation.attestation_key)

    def create(
        self, parent: int, template: bytes, *, auth: Secret, data: Secret, path: tuple[Step, ...] = ()
    ) -> SealedObject:
        """TPM2_Create below the persistent `parent`, or below the last key of `path`; AuthFailed."""
        return self._act(lambda tpm: keys.create(tpm, parent, template, auth, data, path))

    def create_certified(self, parent: int, template: bytes) -> CertifiedKey:
        """TPM2_Create with empty auth, then TPM2_CertifyCreation by the AK."""
        return self._act(lambda tpm: attestation.create_certified(tpm, parent, template))

    def persist(self, parent: int, key: SealedObject, handle: int, owner_auth: Secret) -> None:
        """TPM2_Load and TPM2_EvictControl; already so is success, another key there is HandleOccupied."""
        self._act(lambda tpm: keys.persist(tpm, parent, key, handle, owner_auth))

    def evict(self, handle: int, owner_auth: Secret) -> None:
        """Remove the persistent key at `handle`; absent is success."""
        self._act(lambda tpm: keys.evict(tpm, handle, owner_auth))

    def certify(self, parent: int, key: SealedObject | None, auth: Secret) -> Attestation:
        """TPM2_Certify by the AK of `key` below `parent`, or of `parent` itself where `key` is None."""
        return self._act(lambda tpm: attestation.certify(tpm, parent, key, auth))

    def sign(self, parent: int, key: SealedObject, auth: Secret, digest: bytes) -> bytes:
        """TPMT_SIGNATURE (ECDSA, SHA-256) by an unrestricted signing key over a 32-byte digest."""
        return self._act(lambda tpm: keys.sign(tpm, parent, key, auth, digest))

    def duplicate(
        self,
        handle: int,
        new_parent: bytes,
        policy: DuplicationPolicy,
        branch: Branch,
        approvals: tuple[MsaApproval, ...],
        owner_auth: Secret,
    ) -> DuplicatedKey:
        """TPM2_Duplicate with inner wrap, through one branch (PROTOCOL §2); NotMigratable, PolicyRefused."""
        return self._act(
            lambda tpm: migration.duplicate(tpm, handle, new_parent, policy, branch, approvals, owner_auth)
        )

    def import_key(
        self, parent: int, public: bytes, outer: OuterWrap, symmetric: bytes, inner_key: Secret
    ) -> SealedObject:
        """TPM2_Import below the persistent `parent`; BlobRefused."""
        return self._act(lambda tpm: migration.import_key(tpm, parent, public, outer, symmetric, inner_key))

    def supports_rewrap(self) -> bool:
        """Whether the TPM has TPM2_Rewrap."""

        def ask(tpm: Connection) -> bool:
            with doing("read the TPM's commands"):
                return capabilities.implements(tpm.channel, capabilities.REWRAP)

        return self._worker.run(ask)

    def rewrap(self, handle: int, auth: Secret, key_id: Name, outer: OuterWrap, new_parent: bytes) -> OuterWrap:
        """TPM2_Rewrap from the persistent key at `handle` to the public key `new_parent`; BlobRefused, AuthFailed."""
        return self._act(lambda tpm: migration.rewrap(tpm, handle, auth, key_id, outer, new_parent))

    def loaded_name(
        self, parent: int, key: SealedObject, probe: SealedObject | None, path: tuple[Step, ...] = ()
    ) -> tuple[Name, Secret]:
        """Load `key` as a transient object, return its Name, and what the sealed `probe` below it holds."""
        return self._act(lambda tpm: keys.loaded_name(tpm, parent, key, probe, path))

    def unseal(self, parent: int, key: SealedObject, *, auth: Secret, path: tuple[Step, ...] = ()) -> Secret:
        """TPM2_Unseal of a sealed object below `parent`, or the last key of `path`; AuthFailed."""
        return self._act(lambda tpm: keys.unseal(tpm, parent, key, auth, path))

    def unseal_as_owner(self, parent: int, key: SealedObject, owner_auth: Secret) -> Secret:
        """TPM2_Unseal of a sealed object whose policy is PolicySecret(owner); OwnerAuthFailed."""
        return self._act(lambda tpm: keys.unseal_as_owner(tpm, parent, key, owner_auth))

    def unseal_by_policy(self, parent: int, key: SealedObject, pcrs: tuple[int, ...], auth: Secret) -> Secret:
        """TPM2_Unseal through PolicyPCR and PolicyAuthValue, what is empty left out; PolicyRefused, AuthFailed."""
        return self._act(lambda tpm: keys.unseal_by_policy(tpm, parent, key, pcrs, auth))

    def read_pcrs(self, pcrs: tuple[int, ...]) -> dict[int, bytes]:
        """The values of these PCRs in the SHA-256 bank; PcrsMissing where the TPM has none."""
        return self._act(lambda tpm: keys.read_pcrs(tpm, pcrs))

    def activate(self, ek: Name, activated: int, credential: Credential, endorsement_auth: Secret) -> Secret:
        """TPM2_ActivateCredential with the EK named `ek` for the persistent `activated` (0: the AK).

        InnerKeyMismatch where the credential is for another key, KeyNotFound where no EK has this Name.
        """
        return self._act(lambda tpm: attestation.activate(tpm, ek, activated, credential, endorsement_auth))

    def random(self, size: int) -> bytes:
        """`size` bytes (at most 32) from the TPM's random number generator."""
        return self._act(lambda tpm: keys.random(tpm, size))
