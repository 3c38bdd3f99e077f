"""Where an authority's vault key is, in its TPM or in software: the one place that knows (DESIGN §3; PROTOCOL §3).

The mode was fixed when the authority was made and stands in its identity; the configuration only says how its TPM is
reached. The TLS key is in software in both.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final, Self, TypeVar
from uuid import UUID

from lms.adapters.store import authority_lives_in
from lms.adapters.tpm import TpmDevice
from lms.assembly import ca_certificates, utc_now
from lms.config import AuthorityConfiguration, Configuration
from lms.errors import BadConfiguration, LmsError, OwnerAuthFailed, RewrapMissing, SharedWithAuthority
from lms.model.authorities import AuthorityIdentity
from lms.model.keys import VAULT_HANDLE
from lms.model.secret import Secret
from lms.model.trust import Mode
from lms.ports import VaultKey
from lms.service.keeping.chip import ChipSetting, ChipVaultKey, chip_opener, ensure_vault, make_chip_identity
from lms.service.keeping.enrolment import Opener, make_software_identity, software_opener
from lms.service.keeping.software import SoftwareVaultKey
from lms.terminal import read_secret, say
from lms.wire.tpm.public import template_of, vault_template

T = TypeVar("T")
_NONE: Final = Secret(b"")
_OWNER_AUTH_PROMPT: Final = "owner authorisation"


@dataclass(frozen=True, slots=True)
class Keys:
    """An authority's vault key, and what opens the certificates that were encrypted to it."""

    vault: VaultKey
    opens: Opener


@contextmanager
def _in_software(
    configuration: AuthorityConfiguration, identity: AuthorityIdentity, endorsement_auth: Secret
) -> Iterator[Keys]:
    assert identity.vault_key is not None
    yield Keys(SoftwareVaultKey(identity.vault_key), software_opener(identity))


@contextmanager
def _in_tpm(
    configuration: AuthorityConfiguration, identity: AuthorityIdentity, endorsement_auth: Secret
) -> Iterator[Keys]:
    with _tpm(configuration, endorsement_auth) as tpm:
        if not tpm.supports_rewrap():  # else it would take packages, and give none back
            raise RewrapMissing(f"cannot use the TPM of authority {identity.ma_id}: it lacks TPM2_Rewrap")
        yield Keys(ChipVaultKey(tpm, identity), chip_opener(tpm, identity, endorsement_auth))


_OPENED: Final[
    Mapping[Mode, Callable[[AuthorityConfiguration, AuthorityIdentity, Secret], AbstractContextManager[Keys]]]
] = {Mode.SOFTWARE: _in_software, Mode.TPM: _in_tpm}


def opened_keys(
    configuration: AuthorityConfiguration, identity: AuthorityIdentity, endorsement_auth: Secret = _NONE
) -> AbstractContextManager[Keys]:
    """An authority's keys, by its mode. Raises BadConfiguration, NotInitialised, RewrapMissing and the TPM's errors."""
    return _OPENED[identity.mode](configuration, identity, endorsement_auth)


def _tpm(configuration: AuthorityConfiguration, endorsement_auth: Secret) -> TpmDevice:
    if configuration.tcti is None:
        raise BadConfiguration("cannot reach the authority's vault: it is in a TPM, and 'authority.tcti' names none")
    return TpmDevice(configuration.tcti, endorsement_auth=endorsement_auth)


def check_apart(configuration: Configuration) -> None:
    """Raise SharedWithAuthority where a token would be opened beside an authority: its directory, or its TPM."""
    directory = configuration.authority.state_directory
    if authority_lives_in(directory):
        raise SharedWithAuthority(f"cannot open the token beside the Migration Authority in '{directory}'")
    for tcti in filter(None, dict.fromkeys((configuration.authority.tcti, configuration.tcti))):
        if _holds_vault(tcti):
            raise SharedWithAuthority(f"cannot open the token beside the Migration Authority in the TPM at '{tcti}'")


def _holds_vault(tcti: str) -> bool:
    """Whoever's it is; a TPM that cannot be reached shows none."""
    try:
        with TpmDevice(tcti) as tpm:
            public = tpm.read_public(VAULT_HANDLE)
            return public is not None and template_of(public) == vault_template()
    except LmsError:
        return False


def endorsement_auth_of(arguments: argparse.Namespace) -> Secret:
    """The endorsement authorisation that was given; empty without one. Raises BadRequest, FileProblem."""
    source = arguments.endorsement_auth
    return _NONE if source is None else Secret(read_secret(source, "endorsement authorisation"))


@dataclass(slots=True)
class Administrator:
    """What `init` may do to a TPM, said once: authorisations, and whether an EK that nobody vouches for will do."""

    owner_auth: Secret | None
    endorsement_auth: Secret
    unverified_tpm: bool

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Self:
        """As the options say. Raises BadRequest, FileProblem."""
        source = arguments.owner_auth
        owner_auth = None if source is None else Secret(read_secret(source, _OWNER_AUTH_PROMPT))
        return cls(owner_auth, endorsement_auth_of(arguments), arguments.unverified_tpm)

    def own(self, act: Callable[[Secret], T]) -> T:
        """Do `act` with the owner authorisation, which is asked for where it is missed."""
        try:
            return act(_NONE if self.owner_auth is None else self.owner_auth)
        except OwnerAuthFailed:
            if self.owner_auth is not None or not sys.stdin.isatty():
                raise
            self.owner_auth = Secret(read_secret(None, _OWNER_AUTH_PROMPT))
            return act(self.owner_auth)


@contextmanager
def _chip_setting(configuration: Configuration, administrator: Administrator) -> Iterator[ChipSetting]:
    certificates = ca_certificates(configuration, "authority.ek_roots")
    with _tpm(configuration.authority, administrator.endorsement_auth) as tpm:
        yield ChipSetting(
            tpm=tpm,
            now=utc_now,
            algorithm=configuration.algorithm,
            srk_handle=configuration.srk_handle,
            ek_roots=tuple(c for c in certificates if c.issuer == c.subject),
            ek_intermediates=tuple(c for c in certificates if c.issuer != c.subject),
        )


def make_keys(
    configuration: Configuration, administrator: Administrator, ma_id: UUID, addresses: tuple[str, ...]
) -> AuthorityIdentity:
    """The identity of a new authority: in the TPM that is configured, where that has TPM2_Rewrap; else in software.

    Raises BadRequest, EkUntrusted, HandleOccupied, OwnerAuthFailed and the TPM's errors.
    """
    if configuration.authority.tcti is None:
        return make_software_identity(ma_id, addresses)
    with _chip_setting(configuration, administrator) as setting:
        if not setting.tpm.supports_rewrap():
            say("lms-authority", "this TPM cannot pass wrapped keys on (it lacks TPM2_Rewrap): the mode is 'software'")
            return make_software_identity(ma_id, addresses)
        unverified = administrator.unverified_tpm
        return administrator.own(
            lambda auth: make_chip_identity(setting, ma_id, addresses, auth, unverified_tpm=unverified)
        )


def ensure_keys(configuration: Configuration, administrator: Administrator, identity: AuthorityIdentity) -> bool:
    """See to it that a saved identity's vault can be used; whether it could not before.

    Raises HandleOccupied, VaultLost, OwnerAuthFailed and the TPM's errors.
    """
    if identity.mode is Mode.SOFTWARE:
        return False
    with _chip_setting(configuration, administrator) as setting:
        changed = administrator.own(lambda auth: ensure_vault(setting, identity, auth))
        if changed and not setting.tpm.owner_auth_is_set():
            say("lms-authority", "the TPM has no owner authorisation: whoever reaches it can remove the vault")
        return changed
