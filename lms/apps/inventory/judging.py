"""What becomes of a thing: it survives where it hangs below the recoverable key, and packages hold that."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lms.apps.inventory.bond import OWNER, Bond, Item, Kind, State, Verdict
from lms.apps.inventory.machine import Machine
from lms.apps.kernel.files import DEFAULT_KEYS, Files

_HIERARCHIES: Final[Mapping[int, str]] = {
    OWNER: "a primary key of this TPM's owner hierarchy",
    0x40000007: "the null hierarchy, and is lost with the next boot already",
    0x4000000B: "a primary key of this TPM's endorsement hierarchy",
    0x4000000C: "a primary key of this TPM's platform hierarchy",
}
_CSP: Final = "lmsctl csp add NEWFILE"
_REPAIRS: Final[Mapping[Kind, str]] = {
    Kind.LUKS_TOKEN: "lmsctl luks enroll {}",
    Kind.CLEVIS_TOKEN: "lmsctl luks enroll {}",
    Kind.CLEVIS_JWE: "clevis decrypt <{} | lmsctl register --application clevis --label NAME --data -",
    Kind.TRUSTED_KEY: 'keyctl add trusted NAME "new 32 keyhandle={handle:#x}" @u',
    Kind.TSS2_KEY: _CSP,
    Kind.PKCS11_STORE: _CSP,
    Kind.CREDENTIAL: "systemd-creds decrypt --name= {} - | systemd-creds encrypt --with-key=host --name=NAME - NEWFILE",
}
_GONE: Final = "it was made below a recoverable key that this machine has no more"
_ANOTHER: Final = "it hangs below the recoverable key of another machine"


def judge(bond: Bond, where: str, machine: Machine) -> Item:
    """What becomes of a thing that was found somewhere."""
    return Item(bond.kind, where, _verdict(bond, where, machine), bond)


def _verdict(bond: Bond, where: str, machine: Machine) -> Verdict:
    if bond.parent != machine.handle:
        above = _HIERARCHIES.get(bond.parent, f"the key at {bond.parent:#x}, which is not the recoverable one")
        return Verdict(State.LOST, f"it hangs below {above}", repair(bond.kind, where, machine))
    if bond.name is not None and machine.name is not None and str(bond.name) != machine.name:
        if bond.enrolled:
            return Verdict(State.LOST, _GONE, f"lmsctl luks reseal {shlex.quote(where)}")
        return Verdict(
            State.LOST, _ANOTHER if bond.kind is Kind.LUKS_TOKEN else _GONE, repair(bond.kind, where, machine)
        )
    return machine.verdict


def repair(kind: Kind, where: str, machine: Machine) -> str:
    """The command that makes a thing survive; nothing where only its own program can do it."""
    path = Path(where)
    if kind is Kind.TRUSTED_KEY and path.name == Files(path.parent, path.parent).master.name:
        elsewhere = "" if str(path.parent) == DEFAULT_KEYS else f" --directory {shlex.quote(str(path.parent))}"
        return f"lmsctl evm create --replace{elsewhere}"
    return _REPAIRS.get(kind, "").format(shlex.quote(where), handle=machine.handle)
