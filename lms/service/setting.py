"""What every act on a platform stands on: its TPM, its store, its time, and whom it takes for genuine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from cryptography import x509

from lms.errors import ClockUnset, EkUntrusted, NotProvisioned, OwnerAuthFailed
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, Algorithm, Name
from lms.model.owner import Owner
from lms.model.platform import PlatformState
from lms.model.secret import Secret
from lms.model.trust import TrustList
from lms.names import RELEASED
from lms.ports import EndorsementKey, PackageArchive, PlatformStore, RecoveryPlace, RemoteAuthority, TokenOpener, Tpm
from lms.wire.endorsement import check_endorsement_key
from lms.wire.tpm.public import name_of

NO_SECRET = Secret(b"")


def no_step(text: str) -> None:
    """Nobody looks on."""


def nobody_asked() -> None:
    """A TPM that has no owner authorisation stays without."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a use case acts. `ek_roots` and `ek_intermediates` are the TPM makers' CA certificates.

    `opener` makes what opens a token file with its password, `connect` the way to a Migration Authority by
    address and MAID. Algorithm and handles are for new keys: those of a provisioned platform stand in its state.
    Between two steps a use case calls `step` with what comes next: there it may be told to end by an exception,
    which is to the state as a crash is. Where a TPM that becomes ours has no owner authorisation and none is given,
    `no_owner_auth` is called, when all else is judged and before anything is changed.
    """

    tpm: Tpm
    store: PlatformStore
    archives: tuple[PackageArchive, ...]
    now: Callable[[], datetime]
    host_name: str
    opener: Callable[[bytes, Secret], TokenOpener]
    connect: Callable[[str, UUID, Owner, TrustList | None], RemoteAuthority]
    algorithm: Algorithm = Algorithm.ECC_P256
    srk_handle: int = SRK_HANDLE
    drsk_handle: int = DRSK_HANDLE
    ek_roots: tuple[x509.Certificate, ...] = ()
    ek_intermediates: tuple[x509.Certificate, ...] = ()
    step: Callable[[str], None] = no_step
    no_owner_auth: Callable[[], None] = nobody_asked
    recovery: RecoveryPlace | None = None


class TpmSetting(Protocol):
    """The part of a setting that making a TPM ours takes; a Migration Authority's has it, too."""

    @property
    def tpm(self) -> Tpm: ...

    @property
    def now(self) -> Callable[[], datetime]: ...

    @property
    def ek_roots(self) -> tuple[x509.Certificate, ...]: ...

    @property
    def ek_intermediates(self) -> tuple[x509.Certificate, ...]: ...

    @property
    def step(self) -> Callable[[str], None]: ...

    @property
    def no_owner_auth(self) -> Callable[[], None]: ...


@dataclass(frozen=True, slots=True)
class PreparedTpm:
    """A TPM whose SRK lives at its handle: publics of EK, SRK and AK."""

    ek: bytes
    srk: bytes
    ak: bytes

    @property
    def ek_name(self) -> Name:
        """Name of the EK."""
        return name_of(self.ek)

    @property
    def srk_name(self) -> Name:
        """Name of the SRK."""
        return name_of(self.srk)


def provisioned(setting: Setting) -> PlatformState:
    """The state of a platform that has a DRSK. Raises NotProvisioned, ClockUnset."""
    state = setting.store.load()
    if state is None:
        raise NotProvisioned("cannot do this before the platform is provisioned")
    state.require_drsk()
    check_clock(setting.now(), state)
    setting.tpm.trust_salt(state.srk_name)
    return state


def check_clock(now: datetime, state: PlatformState | None = None) -> None:
    """Raises ClockUnset where it is before the release of this software, or what its platform already saw (§5)."""
    if now < RELEASED:
        why = f"this software was released on {RELEASED:%Y-%m-%d}"
    elif state is not None and now < state.time_floor:
        why = f"{state.time_floor:%Y-%m-%d} was seen"
    else:
        return
    raise ClockUnset(f"cannot trust the clock: it says {now:%Y-%m-%d}, but {why}")


def genuine_ek(setting: TpmSetting, unverified_tpm: bool) -> EndorsementKey:
    """The EK to which credentials go, verified unless the caller takes the TPM as it is. Raises EkUntrusted."""
    ek = setting.tpm.endorsement_keys()[0]
    if unverified_tpm:
        return ek
    if ek.certificate is None:
        raise EkUntrusted("cannot verify the TPM: it carries no EK certificate")
    check_endorsement_key(ek.public, ek.certificate, setting.ek_roots, setting.ek_intermediates, setting.now())
    return ek


def prepare_tpm(
    setting: TpmSetting, algorithm: Algorithm, srk_handle: int, owner_auth: Secret, *, unverified_tpm: bool
) -> PreparedTpm:
    """Ensure owner authorisation and SRK; sessions are salted with the EK before, with the SRK afterwards.

    An owner authorisation is set where the TPM has none and one is given.
    """
    setting.step("preparing the TPM")
    tpm = setting.tpm
    ek = genuine_ek(setting, unverified_tpm)
    tpm.trust_salt(name_of(ek.public))
    if owner_auth and not tpm.owner_auth_is_set():
        tpm.set_owner_auth(NO_SECRET, owner_auth)
    elif not owner_auth and tpm.owner_auth_is_set():
        raise OwnerAuthFailed("cannot use the TPM: its owner authorisation is set and none was given")
    elif not owner_auth:
        setting.no_owner_auth()
    srk = tpm.ensure_srk(srk_handle, algorithm, owner_auth)
    tpm.trust_salt(name_of(srk))
    return PreparedTpm(ek.public, srk, tpm.attestation_key())
