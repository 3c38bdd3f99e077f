"""`doctor`: what on this machine is bound to its TPM, and would it survive; changes nothing, asks for nothing.

Whatever cannot be looked at (no TPM, no daemon, not root) is said, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lms.apps.acts import Acts, Answer
from lms.apps.csp.registry import entries
from lms.apps.inventory.bond import Item, Kind, State
from lms.apps.inventory.crypttab import read_crypttab
from lms.apps.inventory.disks import Disks
from lms.apps.inventory.files import known_places, look_at_files
from lms.apps.inventory.findings import of_token, of_volumes, told
from lms.apps.inventory.handles import UNSEEN, judge_handles
from lms.apps.inventory.machine import Machine
from lms.apps.inventory.sight import Sight
from lms.apps.inventory.volumes import judge_volume, with_old_header
from lms.apps.luks.comparing import header_is_kept
from lms.errors import LmsError
from lms.files import is_there, read_file, resolved
from lms.model.platform import Health

_MAX_CRYPTTAB: Final = 1024 * 1024
_CRYPTTAB: Final = Path("/etc/crypttab")


@dataclass(frozen=True, slots=True)
class Scope:
    """Where to look: the handle of the recoverable key, what is kept of applications, where copies lie, and more.

    `token` is the file of a token, or the block device that holds it.
    """

    handle: int
    records: Path
    copies: tuple[Path, ...] = ()
    paths: tuple[Path, ...] = ()
    devices: tuple[Path, ...] = ()
    token: Path | None = None


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found, and what could not be looked at."""

    machine: Machine
    items: tuple[Item, ...]
    findings: tuple[Answer, ...]
    unseen: tuple[str, ...]

    def answer(self) -> Answer:
        """In plain values."""
        rows = [row(item) for item in self.items]
        return {"bound": rows, "findings": list(self.findings), "unseen": list(self.unseen)}


def row(item: Item) -> Answer:
    """One thing, its state, why it is so, and what repairs it."""
    verdict = item.verdict
    known = {"what": item.kind.value, "where": item.where, "state": verdict.state.value, "reason": verdict.reason}
    return known | ({"act": verdict.act} if verdict.act else {})


def examine(acts: Acts, scope: Scope) -> Examined:
    """Look everywhere."""
    sight = Sight()
    machine = _asked(acts, scope, sight)
    alone, copies = _look_at_volumes(acts, scope, machine, sight)
    look_at_files((*known_places(), *_containers(acts), *_named(scope, sight)), machine, sight)
    findings = (*told(machine), *of_token(scope.token, scope.copies), *of_volumes(alone, copies))
    return Examined(machine, tuple(sight.items), findings, tuple(dict.fromkeys(sight.unseen)))


def _asked(acts: Acts, scope: Scope, sight: Sight) -> Machine:
    """What service and TPM say."""
    try:
        status, _ = acts("status", {})
    except LmsError as error:
        sight.unseen.append(str(error))
        machine = Machine(scope.handle, {}, str(error))
    else:
        machine = Machine(int(status.get("handle", hex(scope.handle)), 16), status, lacks=_lacks(acts, status))
        if "owner-auth-set" not in status:
            sight.unseen.append("cannot see destinations, proofs and what the TPM says of itself: only root is told")
    if machine.state != Health.UNPROVISIONED.value:
        sight.items.append(Item(Kind.RECOVERABLE_KEY, f"{machine.handle:#x}", machine.verdict))
    kept = [UNSEEN]
    with sight.trying():
        kept = judge_handles(acts("handles", {})[0]["handles"])
    sight.items += kept
    return machine


def _lacks(acts: Acts, status: Answer) -> tuple[Mapping[str, str], ...]:
    """What was registered since the newest package; nothing for whom `status` does not tell all."""
    if "sequence" in status:
        with suppress(LmsError):  # `losing` says then that something is lacking
            return tuple(acts("packages", {})[0].get("lacks", ()))
    return ()


def _containers(acts: Acts) -> list[Path]:
    """The files whose keys we carry ourselves."""
    with suppress(LmsError):  # what nobody answers is told already
        return [Path(entry["label"]) for entry in entries(acts)]
    return []


def _named(scope: Scope, sight: Sight) -> Iterator[Path]:
    for path in scope.paths:
        with sight.trying():
            yield resolved(path)


def _look_at_volumes(
    acts: Acts, scope: Scope, machine: Machine, sight: Sight
) -> tuple[list[str], list[tuple[Path, str]]]:
    """The volumes that only a TPM opens, and the directories of copies that lie on one of those."""
    disks = Disks((), ())
    with sight.trying():
        disks = Disks.of_this_machine()
    alone = []
    for path in _volumes(scope, disks, sight):
        with sight.trying():
            closed, items = judge_volume(acts, path, machine, scope.records)
            alone += [str(path)] if closed else []
            kept: bool | None = None
            if any(item.verdict.state is State.PROTECTED for item in items):
                with sight.trying():
                    kept = header_is_kept(acts, path, scope.records)
            sight.items += items if kept is not False else [with_old_header(item) for item in items]
    return alone, disks.closed(scope.copies, alone)


def _volumes(scope: Scope, disks: Disks, sight: Sight) -> Iterable[Path]:
    """Each volume once, however it is named."""
    named = [Path(path) for path in disks.volumes]
    if is_there(_CRYPTTAB):
        with sight.trying():
            named += map(Path, read_crypttab(read_file(_CRYPTTAB, _MAX_CRYPTTAB)))
    return {resolved(path): path for path in reversed((*named, *scope.devices))}.values()
