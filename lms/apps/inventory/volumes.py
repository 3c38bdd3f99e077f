"""LUKS2 volumes: the tokens by which a TPM opens them, of systemd and of clevis, and whether anything else does."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lms.apps.acts import Acts
from lms.apps.inventory.bond import Bond, Item, Kind, State, Verdict
from lms.apps.inventory.clevis import read_clevis_token
from lms.apps.inventory.judging import judge
from lms.apps.inventory.machine import Machine
from lms.apps.luks.checking import outdated
from lms.apps.luks.header import slots_of
from lms.apps.luks.records import is_known
from lms.apps.luks.token import TYPE, read_parent, read_policy
from lms.apps.luks.volume import Volume
from lms.errors import (
    CryptsetupFailed,
    FileProblem,
    HeaderDamaged,
    LmsError,
    MalformedStructure,
    ProgramNotStarted,
    VolumeReencrypting,
)

_CLEVIS: Final = "clevis"
_OLD_HEADER: Final = "the recoverable key comes back, but slots changed since the header was kept that packages carry"
_A_KEY: Final[Mapping[Kind, str]] = {
    Kind.LUKS_TOKEN: "systemd-cryptenroll --unlock-tpm2-device=auto --recovery-key {0} && lmsctl luks enroll {0}",
    Kind.CLEVIS_TOKEN: "clevis luks unlock -d {0}; then cryptsetup luksAddKey {0}, and lmsctl luks enroll {0}",
}


def judge_volume(acts: Acts, path: Path, machine: Machine, records: Path) -> tuple[bool, list[Item]]:
    """Whether only a TPM opens a volume, and its tokens; one that cannot be read is unknown.

    `records` is the directory of what `luks enroll` wrote down. Raises FileProblem where there is no volume, NotLuks2
    and MalformedStructure.
    """
    try:
        with Volume.opened(path) as volume:
            header, enrolled = volume.header(), is_known(records, volume.uuid())
    except (FileProblem, HeaderDamaged, VolumeReencrypting, CryptsetupFailed, ProgramNotStarted) as error:
        if not path.exists():
            raise
        return False, [Item(Kind.LUKS_TOKEN, str(path), Verdict(State.UNKNOWN, str(error)))]
    items = []
    for token in header.tokens.values():
        for bond in read_bonds(token) if header.opening & set(slots_of(token)) else ():
            item = judge(replace(bond, enrolled=enrolled), str(path), machine)
            item = replace(item, alone=not header.persons)
            items.append(_compared(acts, token, item) if machine.key_is_here and _comes_back(item) else item)
    verdicts = sorted((item.verdict for item in items), key=lambda one: one.state is not State.PROTECTED)
    saved = next((verdict for verdict in verdicts if verdict.state is not State.LOST), None)
    judged = [item if item.verdict.state is not State.LOST else _told(item, saved) for item in items]
    return not header.persons, judged


def read_bonds(token: Mapping[str, Any]) -> tuple[Bond, ...]:
    """What of a LUKS2 token is bound to a TPM. Raises MalformedStructure."""
    if token["type"] == _CLEVIS:
        return read_clevis_token(token)
    return (_systemd(token),) if token["type"] == TYPE else ()


def _systemd(token: Mapping[str, Any]) -> Bond:
    """Of any systemd: before 255 it names no parent, which is a primary key then."""
    try:
        pcrs = tuple(sorted({int(number) for number in token["tpm2-pcrs"]}))
        named = token.get("tpm2_srk")
        parent = None if named is None else read_parent(base64.b64decode(named, validate=True))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise MalformedStructure("cannot read a token: its fields are not those of systemd") from None
    if parent is None:
        return Bond(Kind.LUKS_TOKEN, pcrs=pcrs)
    return Bond(Kind.LUKS_TOKEN, parent.handle, parent.name, pcrs)


def _comes_back(item: Item) -> bool:
    """Whether it hangs below the recoverable key, and packages hold that."""
    return item.verdict.state in (State.PROTECTED, State.STALE)


def _compared(acts: Acts, token: Mapping[str, Any], item: Item) -> Item:
    """What opens no more with the PCRs of now has to be sealed anew; where only it opens the volume, nobody can."""
    try:
        reason = outdated(acts, *read_policy(token))
    except LmsError as error:
        return replace(item, verdict=Verdict(State.UNKNOWN, f"nobody could say whether its PCRs changed: {error}"))
    if reason is None:
        return item
    if item.alone:
        return replace(item, verdict=Verdict(State.LOST, reason))
    verb = "reseal" if item.bond is not None and item.bond.enrolled else "enroll"
    return replace(item, verdict=Verdict(State.STALE, reason, f"lmsctl luks {verb} {shlex.quote(item.where)}"))


def with_old_header(item: Item) -> Item:
    """What comes back, but whose header in the packages is not that of the disk."""
    if item.verdict.state is not State.PROTECTED:
        return item
    return replace(item, verdict=Verdict(State.STALE, _OLD_HEADER, f"lmsctl luks enroll {shlex.quote(item.where)}"))


def _told(item: Item, saved: Verdict | None) -> Item:
    """What it means that a token would be lost: nothing, a passphrase at the next boot, or the data."""
    verdict = item.verdict
    if saved is not None:
        reason = f"{verdict.reason}; another token of this volume hangs below the recoverable key: {saved.reason}"
        return replace(item, verdict=replace(saved, reason=reason))
    if not item.alone:
        return replace(item, verdict=replace(verdict, reason=f"{verdict.reason}; a passphrase opens the volume still"))
    reason = f"{verdict.reason}; nothing else opens the volume: its data would be lost"
    act = _A_KEY[item.kind].format(shlex.quote(item.where)) if verdict.act else ""
    return replace(item, verdict=Verdict(verdict.state, reason, act))
