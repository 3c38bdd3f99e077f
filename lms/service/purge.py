"""`purge`: what a platform that is given up leaves on its machine (DESIGN §4). No package that is the newest goes.

The state goes last: what was cut before is done again by the same words. The TPM's key goes where that is said.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from lms.errors import PurgeUnconfirmed, StillProtecting, TpmUnavailable
from lms.model.keys import digits, same_digits
from lms.model.packages import SYSTEM
from lms.model.platform import PlatformState
from lms.model.registered import Entry
from lms.model.secret import Secret
from lms.service.setting import Setting
from lms.wire.tpm.public import name_of

_NOBODY: Final = UUID(int=0)
_NAMED: Final = 8  # in an error; the answer names all


@dataclass(frozen=True, slots=True)
class Purging:
    """What may go: `archives`, the packages before the newest one; `evict`, the recoverable key in the TPM.

    `begun`: what an application is in the middle of, which goes as well.
    """

    archives: bool = False
    evict: bool = False
    begun: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Remains:
    """A thing that is left: what it is, where it lies, and whether it goes."""

    what: str
    where: str
    goes: bool


def confirmation(state: PlatformState | None, order: Purging) -> str:
    """The digits that a person gives who means this platform, and all that would be lost with it."""
    return digits(_meant(state, order))


def _meant(state: PlatformState | None, order: Purging) -> bytes:
    platform = (_NOBODY if state is None else state.platform_id).bytes
    return hashlib.sha256(b"\0".join((platform, *(one.encode() for one in losses(state, order))))).digest()


def losses(state: PlatformState | None, order: Purging) -> list[str]:
    """What works no more on this machine, or never again."""
    return [*_below_the_key(state), *order.begun]


def _below_the_key(state: PlatformState | None) -> list[str]:
    if state is None or state.drsk is None:
        return []
    found = [_said(entry) for entry in state.registry.entries]
    return found if state.package_id is not None else [*found, "the recoverable key itself, which no package has"]


def _said(entry: Entry) -> str:
    place = entry.place
    owner = "" if place.owner == SYSTEM else f" of {place.owner}"
    return f"{place.application} {place.label}{owner}"


def found_remains(setting: Setting, state: PlatformState | None, order: Purging) -> list[Remains]:
    """All that is left, and what of it this order takes."""
    rows = [Remains("state", path, goes=True) for path in setting.store.remains()]
    if setting.recovery is not None:
        rows += [Remains("recovery-facts", path, goes=True) for path in setting.recovery.remains()]
        rows += [Remains("newest-package", path, goes=False) for path in (setting.recovery.find(),) if path]
    return rows if state is None else rows + _packages(setting, state, order) + _keys(setting, state, order)


def _packages(setting: Setting, state: PlatformState, order: Purging) -> list[Remains]:
    rows = [Remains("destination", f"{d.kind.value} {d.identity}", goes=False) for d in state.destinations]
    if state.package_id is None:
        return rows
    for archive in setting.archives:
        newest = archive.find(state.platform_id, state.archived, state.package_id)
        older = archive.older(state.platform_id, state.archived)
        rows += [Remains("older-package", path, goes=order.archives and newest is not None) for path in older]
        rows += [Remains("newest-package", path, goes=False) for path in (newest,) if path]
    return rows


def _keys(setting: Setting, state: PlatformState, order: Purging) -> list[Remains]:
    """A machine whose TPM is gone can be purged all the same."""
    try:
        rows = [Remains("recoverable-key", f"{state.drsk_handle:#x}", order.evict)] if _is_here(setting, state) else []
        srk = setting.tpm.read_public(state.srk_handle)
    except TpmUnavailable:
        return []
    if srk is not None and name_of(srk) == state.srk_name:
        rows.append(Remains("storage-root-key", f"{state.srk_handle:#x}", goes=False))
    return rows


def _is_here(setting: Setting, state: PlatformState) -> bool:
    found = setting.tpm.read_public(state.drsk_handle)
    return state.drsk is not None and found is not None and name_of(found) == state.drsk.name


def purge(setting: Setting, order: Purging, confirmed: str, owner_auth: Secret, *, lose: bool) -> None:
    """Take away what goes. Asked twice is asked once.

    Raises PurgeUnconfirmed; StillProtecting where something hangs on the key, unless `lose`.
    """
    state = setting.store.load()
    if state is not None:
        _check(state, order, confirmed, lose=lose)
        _take_from_tpm(setting, state, order, owner_auth)
        _take_packages(setting, state, order)
    setting.step("removing the state")
    if setting.recovery is not None:
        setting.recovery.forget()
    setting.store.purge()


def _check(state: PlatformState, order: Purging, confirmed: str, *, lose: bool) -> None:
    if not same_digits(confirmed, _meant(state, order)):
        raise PurgeUnconfirmed(
            f"cannot purge platform {state.platform_id}: these are not its digits, with what would be lost now"
        )
    lost = losses(state, order)
    if lost and not lose:
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        raise StillProtecting(f"cannot purge: it would end {', '.join(lost[:_NAMED])}{more}")


def _take_from_tpm(setting: Setting, state: PlatformState, order: Purging, owner_auth: Secret) -> None:
    if order.evict and _is_here(setting, state):
        setting.step("taking the recoverable key from its handle")
        setting.tpm.trust_salt(state.srk_name)
        setting.tpm.evict(state.drsk_handle, owner_auth)


def _take_packages(setting: Setting, state: PlatformState, order: Purging) -> None:
    """Older packages go only where the newest one lies."""
    if not order.archives or state.package_id is None:
        return
    for archive in setting.archives:
        if archive.find(state.platform_id, state.archived, state.package_id) is not None:
            archive.remove_older(state.platform_id, state.archived)
