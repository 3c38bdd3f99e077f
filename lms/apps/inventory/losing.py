"""`doctor --before`: exactly what an event would take away, and what is to be done after it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import Enum
from typing import Final

from lms.apps.acts import Answer
from lms.apps.inventory.bond import Item, Kind, State, Verdict
from lms.apps.inventory.examining import Examined, row
from lms.model.packages import SYSTEM, DestinationKind
from lms.model.platform import Health

_PLATFORM: Final = 0x4000000C
"""TPM_RH_PLATFORM. TPM2_Clear leaves the endorsement seed, too, but not what protects the children of its keys."""


class Event(Enum):
    """What happens to a TPM."""

    BOARD_SWAP = "board-swap"
    CLEAR = "clear"


_MEANING: Final = {
    Event.BOARD_SWAP: "the TPM goes with its board: all its hierarchies, persistent keys and NV indices, and its EK",
    Event.CLEAR: "the owner hierarchy is made anew: its persistent keys, all below them and the owner's NV indices go, "
    "and what hangs below keys of the endorsement hierarchy; the EK stays",
}
_STRANGE: Final = {
    Event.BOARD_SWAP: "another board has another EK",
    Event.CLEAR: "the EK stays and the storage root key becomes another one",
}
_STALE: Final = "what was registered or changed since the newest package is in none"
_LACKS: Final = "the newest package does not have it: it outlives the TPM in the state on this disk alone"
_OTHER_PCRS: Final = "another board has other PCRs, and nothing else opens the volume: its data would be lost"


def losses(event: Event, examined: Examined) -> Answer:
    """`loses` is empty where nothing would be lost; what nobody could judge counts as lost."""
    lost = (_lost(event, item, examined) for item in examined.items)
    named = [*map(_lacking, examined.machine.lacks), *(one for one in lost if one)]
    told: Answer = {"before": event.value, "meaning": _MEANING[event], "loses": [row(one) for one in named]}
    return told | {"afterwards": list(_afterwards(event, examined)), "unseen": list(examined.unseen)}


def _lacking(entry: Mapping[str, str]) -> Item:
    """An entry that no package has."""
    whose = "" if entry["owner"] == SYSTEM else f", {entry['owner']}"
    where = f"'{entry['label']}' of '{entry['application']}'{whose}"
    return Item(Kind.REGISTERED, where, Verdict(State.STALE, _LACKS, "lmsctl archive"))


def _lost(event: Event, item: Item, examined: Examined) -> Item | None:
    """The thing as it would be lost; None where it stays or comes back."""
    if item.verdict.state in (State.LOST, State.UNKNOWN):
        stays = event is Event.CLEAR and item.bond is not None and item.bond.parent == _PLATFORM
        return None if stays else item
    machine = examined.machine
    if item.kind is Kind.RECOVERABLE_KEY and machine.state == Health.STALE.value and not machine.lacks:
        return replace(item, verdict=replace(item.verdict, reason=_STALE))
    if event is Event.BOARD_SWAP and item.alone and item in _bound(examined) and not _free(item, examined):
        act = f"cryptsetup luksAddKey {shlex.quote(item.where)}"
        return replace(item, verdict=Verdict(State.LOST, _OTHER_PCRS, act))
    return None


def _bound(examined: Examined) -> list[Item]:
    """Tokens below the recoverable key that take certain PCRs."""
    return [item for item in _ours(examined) if item.bond is not None and item.bond.pcrs]


def _free(token: Item, examined: Examined) -> bool:
    """Whether another token of its volume takes none."""
    free = {item.where for item in _ours(examined) if item not in _bound(examined)}
    return token.where in free


def _ours(examined: Examined) -> list[Item]:
    return [item for item in examined.items if item.bond and item.bond.parent == examined.machine.handle]


def _afterwards(event: Event, examined: Examined) -> Iterator[Answer]:
    """What has to be done then, and who has to do it."""
    kinds = {one["kind"] for one in examined.machine.status.get("destinations", ())}
    if DestinationKind.MIGRATION_AUTHORITY.value in kinds:
        why = f"{_STRANGE[event]}: the owner has to approve the restore"
        yield {"why": why, "act": "lmsctl restore"}
    if DestinationKind.RECOVERY_TOKEN.value in kinds:
        why = f"{_STRANGE[event]}: the restore takes the token and its password"
        yield {"why": why, "act": "lmsctl restore --token FILE"}
    if event is Event.BOARD_SWAP:
        for where in dict.fromkeys(item.where for item in _bound(examined) if not item.alone):
            why = "another board has other PCRs: the volume opens by its passphrase, then it is sealed anew"
            yield {"why": why, "act": f"lmsctl luks reseal {shlex.quote(where)}"}
