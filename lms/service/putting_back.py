"""Putting the DRSK back into the TPM that it was in, which takes nobody's approval (PROTOCOL §3).

Its blob here hangs below this SRK. Where that was not kept or is spoilt, an authority that knows this pair of EK and
SRK passes its outer wrap on, and the inner key is the one that was sealed below this SRK. No other TPM opens either.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from lms.errors import BlobRefused, LmsError, MalformedStructure, NotAtAuthority, OwnerAuthFailed
from lms.model.authorities import Kind
from lms.model.keys import Name
from lms.model.platform import EnrolledDestination, PlatformState
from lms.model.secret import Secret
from lms.model.tpm import OuterWrap, SealedObject
from lms.service import probe
from lms.service.installing import make_room
from lms.service.line import Whereabouts, chip_of, open_line
from lms.service.setting import PreparedTpm, Setting
from lms.wire.restoration import read_rewrapped_package

_LOG: Final = logging.getLogger(__name__)
_SPOILT: Final = (BlobRefused, MalformedStructure)


def put_back(
    setting: Setting,
    state: PlatformState,
    prepared: PreparedTpm,
    authorities: Sequence[Whereabouts],
    replace_foreign: Name | None,
    owner_auth: Secret,
    endorsement_auth: Secret,
) -> PlatformState | None:
    """The state, with the key in its place; None where this is another TPM, or what it takes is nowhere.

    Raises HandleOccupied, OwnerAuthFailed and the TPM's errors.
    """
    if (prepared.ek_name, prepared.srk_name) != (state.ek_name, state.srk_name):
        return None
    drsk = state.require_drsk()
    for key in _found(setting, state, authorities, owner_auth, endorsement_auth):
        try:
            probe.prove(setting.tpm, state.srk_handle, key, drsk.name, drsk.probe)
        except _SPOILT as error:
            _LOG.warning("a blob of the recoverable key is of no use: %s", error)
            continue
        setting.step("putting the key back")
        state = replace(state, drsk=replace(drsk, key=key))
        setting.store.save(state)
        make_room(setting, state.drsk_handle, drsk.name, replace_foreign, owner_auth)
        setting.tpm.persist(state.srk_handle, key, state.drsk_handle, owner_auth)
        return state
    return None


def _found(
    setting: Setting,
    state: PlatformState,
    authorities: Sequence[Whereabouts],
    owner_auth: Secret,
    endorsement_auth: Secret,
) -> Iterator[SealedObject]:
    """What may be the key below this SRK: the blob here, then what each authority has of it."""
    key = state.require_drsk().key
    if key.private:
        yield key
    kept = {destination.identity: destination for destination in state.destinations}
    for authority in authorities:
        if str(authority.ma_id) not in kept:
            continue
        setting.step(f"asking authority {authority.ma_id} for the key that was in this TPM")
        try:
            outer = _passed_on(setting, state, authority, endorsement_auth)
            imported = _imported(setting, state, kept[str(authority.ma_id)], outer, owner_auth)
        except OwnerAuthFailed:
            raise
        except LmsError as error:
            _LOG.info("authority %s cannot give the key back unapproved: %s", authority.ma_id, error)
        else:
            yield imported


def _passed_on(setting: Setting, state: PlatformState, authority: Whereabouts, endorsement_auth: Secret) -> OuterWrap:
    """The outer wrap of the newest blob there, for this SRK. Raises NotAtAuthority and the errors of the line."""
    line = open_line(setting, authority, state.platform_id, chip_of(setting, state), endorsement_auth)
    newest, name = line.newest(), state.require_drsk().name
    if newest is not None:
        document = line.download(Kind.REWRAPPED_PACKAGE, str(newest.package_id))
        rewrapped = read_rewrapped_package(document, authority.ma_id, authority.owner, authority.trust_list)
        for blob in rewrapped.blobs:
            if blob.key_id == name:
                return blob.outer
    raise NotAtAuthority(f"cannot find key {name.digits} at authority {authority.ma_id}")


def _imported(
    setting: Setting, state: PlatformState, destination: EnrolledDestination, outer: OuterWrap, owner_auth: Secret
) -> SealedObject:
    """Raises BlobRefused where the blob there is another one than that whose inner key is kept."""
    inner = setting.tpm.unseal_as_owner(state.srk_handle, destination.kept_inner_key, owner_auth)
    public = state.require_drsk().key.public
    return setting.tpm.import_key(state.srk_handle, public, outer, destination.symmetric, inner)
