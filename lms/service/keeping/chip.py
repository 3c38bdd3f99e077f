"""A Migration Authority with a TPM: its vault parent there, what proves it, what it opens (PROTOCOL §1, §3, §6).

The vault parent has the SRK's template, and is a child of the SRK: a primary key follows from its template alone,
whatever its authorisation is, so that with empty authorisation anybody could derive it again as the TPM's SRK.
Its blob is written down before it goes to its handle; what is found there afterwards is known to be ours or foreign.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from cryptography import x509

from lms.errors import BlobRefused, HandleOccupied, NotInitialised, VaultLost
from lms.model.authorities import AuthorityChip, AuthorityIdentity
from lms.model.keys import SRK_HANDLE, VAULT_HANDLE, Algorithm, Name
from lms.model.secret import Secret
from lms.model.tpm import OuterWrap, SealedObject
from lms.ports import Tpm
from lms.service.keeping.enrolment import Opener, checked_addresses, make_identity
from lms.service.setting import NO_SECRET, no_step, nobody_asked, prepare_tpm
from lms.wire.tpm.public import name_of, vault_template

_AK: Final = 0  # `Tpm.activate`: the attestation key, not a persistent one
_AUTH_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class ChipSetting:
    """The TPM in which an MA's vault lives or shall live; roots and intermediates are of TPM makers."""

    tpm: Tpm
    now: Callable[[], datetime]
    algorithm: Algorithm = Algorithm.ECC_P256
    srk_handle: int = SRK_HANDLE
    ek_roots: tuple[x509.Certificate, ...] = ()
    ek_intermediates: tuple[x509.Certificate, ...] = ()
    step: Callable[[str], None] = no_step
    no_owner_auth: Callable[[], None] = nobody_asked


def make_chip_identity(
    setting: ChipSetting, ma_id: UUID, addresses: tuple[str, ...], owner_auth: Secret, *, unverified_tpm: bool
) -> AuthorityIdentity:
    """A new MA whose vault parent was born in this TPM; `ensure_vault` puts it to its handle once this is saved.

    Raises BadRequest, HandleOccupied, EkUntrusted, OwnerAuthFailed and the TPM's errors.
    """
    checked_addresses(addresses)  # before anything is done to the TPM
    tpm = setting.tpm
    if tpm.read_public(VAULT_HANDLE) is not None:
        raise HandleOccupied(f"cannot make an authority: a key lives at {VAULT_HANDLE:#x} already")
    prepared = prepare_tpm(setting, setting.algorithm, setting.srk_handle, owner_auth, unverified_tpm=unverified_tpm)
    auth = Secret(secrets.token_bytes(_AUTH_SIZE))
    vault = tpm.create(setting.srk_handle, vault_template(), auth=auth, data=NO_SECRET)
    chip = AuthorityChip(
        ek=prepared.ek,
        ek_certificates=tuple(
            k.certificate for k in tpm.endorsement_keys() if k.public == prepared.ek and k.certificate is not None
        ),
        ak=prepared.ak,
        vault_certify=tpm.certify(setting.srk_handle, vault, auth),
        vault_private=vault.private,
        vault_auth=auth,
    )
    return make_identity(ma_id, addresses, vault.public, chip=chip)


def chip_of(identity: AuthorityIdentity) -> AuthorityChip:
    """The chip of an MA in mode `tpm`."""
    assert identity.chip is not None
    return identity.chip


def ensure_vault(setting: ChipSetting, identity: AuthorityIdentity, owner_auth: Secret) -> bool:
    """Put the vault parent to its handle; whether it was not there.

    Raises HandleOccupied, VaultLost (another TPM, or one that was cleared), OwnerAuthFailed.
    """
    tpm, chip = setting.tpm, chip_of(identity)
    present = tpm.read_public(VAULT_HANDLE)
    if present == identity.vault:
        return False
    # Before anything is done to a TPM that may be somebody else's.
    if chip.ek not in {k.public for k in tpm.endorsement_keys()}:
        raise VaultLost(f"cannot find the vault of authority {identity.ma_id}: this is another TPM")
    if present is not None:
        raise HandleOccupied(f"cannot persist the vault at {VAULT_HANDLE:#x}: another key lives there")
    prepare_tpm(setting, setting.algorithm, setting.srk_handle, owner_auth, unverified_tpm=True)
    vault = SealedObject(identity.vault, chip.vault_private)
    try:
        tpm.persist(setting.srk_handle, vault, VAULT_HANDLE, owner_auth)
    except BlobRefused:
        raise VaultLost(f"cannot load the vault of authority {identity.ma_id}: its TPM was cleared") from None
    return True


class ChipVaultKey:
    """`lms.ports.VaultKey` in a TPM. Raises NotInitialised where the key is not at its handle."""

    def __init__(self, tpm: Tpm, identity: AuthorityIdentity) -> None:
        _trust(tpm, identity)
        self._tpm = tpm
        self._auth = chip_of(identity).vault_auth
        self.public = identity.vault

    def rewrap(self, key_id: Name, outer: OuterWrap, new_parent: bytes) -> OuterWrap:
        """TPM2_Rewrap. Raises BlobRefused and the TPM's errors."""
        return self._tpm.rewrap(VAULT_HANDLE, self._auth, key_id, outer, new_parent)


def chip_opener(tpm: Tpm, identity: AuthorityIdentity, endorsement_auth: Secret) -> Opener:
    """Opens what was encrypted to EK and AK of an MA's TPM. Raises InnerKeyMismatch when called."""
    _trust(tpm, identity)
    ek = name_of(chip_of(identity).ek)
    return lambda credential: tpm.activate(ek, _AK, credential, endorsement_auth)


def _trust(tpm: Tpm, identity: AuthorityIdentity) -> None:
    """Salt sessions with the vault parent, the one key that is pinned here and can only be in one TPM."""
    if tpm.read_public(VAULT_HANDLE) != identity.vault:
        raise NotInitialised(f"cannot use the vault of authority {identity.ma_id}: it is not at {VAULT_HANDLE:#x}")
    tpm.trust_salt(name_of(identity.vault))
