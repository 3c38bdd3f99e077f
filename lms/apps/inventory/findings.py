"""What an administrator should see to beside the things themselves: each with its meaning and what to do."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from lms.apps.acts import Answer
from lms.apps.inventory.machine import Machine
from lms.model.packages import DestinationKind

_OLD: Final = 90
_UNITS: Final = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
_LOCKED_OUT: Final = "locked-out"
_TOLD: Final[Mapping[str, tuple[str, str]]] = {
    "owner-auth-unset": (
        "the TPM has no owner authorisation: whoever reaches it can take its keys away",
        "tpm2_changeauth -c owner file:FILE",
    ),
    "lockout-auth-unset": (
        "the TPM has no lock-out authorisation: whoever reaches it can clear it",
        "tpm2_changeauth -c lockout file:FILE",
    ),
    _LOCKED_OUT: (
        "the TPM refuses authorisations",
        "tpm2_dictionarylockout --clear-lockout",
    ),
    "retired": ("authorities know this TPM no more", "lmsctl status"),
    "withdrawn": ("the owner withdrew an authority: nothing there counts", "lmsctl enroll ma"),
    "restored-not-enrolled": ("destinations that held the keys are not enrolled anew", "lmsctl enroll DESTINATION"),
}


def found(word: str, meaning: str, act: str) -> Answer:
    """One finding."""
    return {"finding": word, "meaning": meaning, "act": act}


def told(machine: Machine) -> Iterator[Answer]:
    """What follows from `status`; nothing where nobody could be asked."""
    status = machine.status
    words = status.get("findings", _of_no_key(status))
    for word in words:
        meaning, act = _TOLD.get(word, (word, "lmsctl status"))
        yield found(word, f"{meaning}: {_tries(status)}" if word == _LOCKED_OUT else meaning, act)
    if status.get("tries-left"):
        yield found("tries-used", _tries(status), _TOLD[_LOCKED_OUT][1])
    yield from _of_destinations(machine)


def _of_no_key(status: Mapping[str, Any]) -> list[str]:
    """What `status` calls no finding as long as there is no recoverable key."""
    unset = status.get("owner-auth-set") is False
    return [word for word, so in ((_LOCKED_OUT, status.get(_LOCKED_OUT)), ("owner-auth-unset", unset)) if so]


def _tries(status: Mapping[str, Any]) -> str:
    """How many wrong guesses the TPM takes still, and when it forgets one."""
    every = status["try-recovery-s"]
    back = f"one comes back every {_span(every)}" if every else "none comes back by itself"
    used = f"{status['tries'] - status['tries-left']} of {status['tries']} tries are used up"
    return f"{used}, by wrong guesses or by a machine that was switched off hard; {back}"


def _span(seconds: int) -> str:
    """As people say it: "hour", "90 minutes"."""
    unit, size = next(one for one in _UNITS if seconds == one[1] or seconds >= 2 * one[1])
    return unit if seconds == size else f"{round(seconds / size)} {unit}s"


def _of_destinations(machine: Machine) -> Iterator[Answer]:
    destinations, newest = machine.status.get("destinations", ()), machine.status.get("sequence", 0)
    if len(destinations) == 1:
        meaning = f"{_named(destinations[0])} alone can give the keys back"
        yield found("one-destination", meaning, _second(machine, destinations[0]))
    for one in destinations:
        if one["kind"] == DestinationKind.MIGRATION_AUTHORITY.value and one.get("held", 0) < newest:
            meaning = f"{_named(one)} was seen to hold package {one.get('held', 0)}, the newest is {newest}"
            yield found("proof-old", meaning, "lmsctl archive")
    if machine.status.get("age-days", 0) > _OLD:
        meaning = f"the last proof that a package is held is {machine.status['age-days']} days old"
        yield found("proof-old", meaning, "lmsctl archive")


def _second(machine: Machine, first: Mapping[str, str]) -> str:
    """What enrolls another destination: authorities are those that the owner's trust list names."""
    if not machine.status.get("approved"):
        return "lmsctl enroll msa --via ADDRESS"
    if first["kind"] == DestinationKind.MIGRATION_AUTHORITY.value:
        return "lmsctl enroll ma --id UUID"
    return "lmsctl enroll ma"


def _named(destination: Mapping[str, str]) -> str:
    if destination["kind"] == DestinationKind.MIGRATION_AUTHORITY.value:
        return f"authority {destination['id']}"
    return "the token"


def of_token(token: Path | None, copies: Iterable[Path]) -> Iterator[Answer]:
    """Directories of copies on the file system of the token: a file of it, or the block device that holds it."""
    medium = None if token is None else _file_system(token)
    for directory in copies:
        if medium is not None and _file_system(directory) == medium:
            meaning = f"the token and the copies in {directory} lie on one file system: who takes or breaks it has both"
            yield found("token-not-apart", meaning, "name a medium of its own in `recovery_token`")


def _file_system(path: Path) -> int | None:
    """The number of the file system that a path lies on, or that a block device holds; None where it is not there."""
    try:
        there = path.stat()
    except OSError:
        return None
    return there.st_rdev if stat.S_ISBLK(there.st_mode) else there.st_dev


def of_volumes(alone: Iterable[str], copies: Iterable[tuple[Path, str]]) -> Iterator[Answer]:
    """Volumes that only a TPM opens, and directories of copies that lie on one of them."""
    for volume in alone:
        act = f"cryptsetup luksAddKey {shlex.quote(volume)}"
        yield found("only-tpm-opens", f"no passphrase or key file opens {volume}", act)
    for directory, volume in copies:
        meaning = f"copies in {directory} protect nothing: {volume}, on which they lie, is opened by this TPM alone"
        yield found("copy-not-apart", meaning, "name a directory elsewhere in `archives` of lms.toml")
