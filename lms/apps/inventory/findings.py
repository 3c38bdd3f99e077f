"""What an administrator should see to beside the things themselves: each with its meaning and what to do."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from lms.apps.acts import Answer
from lms.apps.inventory.machine import Machine
from lms.model.packages import DestinationKind

_OLD: Final = 90
_TOLD: Final[Mapping[str, tuple[str, str]]] = {
    "owner-auth-unset": (
        "the TPM has no owner authorisation: whoever reaches it can take its keys away",
        "tpm2_changeauth -c owner file:FILE",
    ),
    "lockout-auth-unset": (
        "the TPM has no lock-out authorisation: whoever reaches it can clear it",
        "tpm2_changeauth -c lockout file:FILE",
    ),
    "locked-out": (
        "the TPM refuses authorisations after too many wrong guesses",
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
    for word in status.get("findings", ()):
        yield found(word, *_TOLD.get(word, (word, "lmsctl status")))
    if status.get("locked-out") and "findings" not in status:
        yield found("locked-out", *_TOLD["locked-out"])
    if status.get("owner-auth-set") is False and "findings" not in status:
        yield found("owner-auth-unset", *_TOLD["owner-auth-unset"])
    yield from _of_destinations(machine)


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


def of_volumes(alone: Iterable[str], copies: Iterable[tuple[Path, str]]) -> Iterator[Answer]:
    """Volumes that only a TPM opens, and directories of copies that lie on one of them."""
    for volume in alone:
        act = f"cryptsetup luksAddKey {shlex.quote(volume)}"
        yield found("only-tpm-opens", f"no passphrase or key file opens {volume}", act)
    for directory, volume in copies:
        meaning = f"copies in {directory} protect nothing: {volume}, on which they lie, is opened by this TPM alone"
        yield found("copy-not-apart", meaning, "name a directory elsewhere in `archives` of lms.toml")
