"""How a thing hangs on a TPM, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from lms.model.keys import Name

OWNER: Final = 0x40000001
"""TPM_RH_OWNER: the parent is a primary key that the TPM derives again each time."""


class Kind(Enum):
    """What is bound to a TPM."""

    RECOVERABLE_KEY = "recoverable key"
    PERSISTENT_KEY = "persistent key"
    NV_INDEX = "NV index"
    LUKS_TOKEN = "LUKS token"
    CLEVIS_TOKEN = "clevis token"
    CLEVIS_JWE = "clevis JWE"
    TRUSTED_KEY = "trusted key"
    TSS2_KEY = "TSS2 key"
    PKCS11_STORE = "PKCS#11 store"
    CREDENTIAL = "systemd credential"
    REGISTERED = "registered entry"


class State(Enum):
    """What becomes of a thing when the TPM is gone."""

    PROTECTED = "protected"
    STALE = "stale"
    LOST = "would be lost"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Bond:
    """A thing below a key: that key's handle, persistent or of a hierarchy, and its Name where that is written down.

    `enrolled`: it is a token of a volume that `luks enroll` of this machine knows.
    """

    kind: Kind
    parent: int = OWNER
    name: Name | None = None
    pcrs: tuple[int, ...] = ()
    enrolled: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """A state, the reason in words, and the command that repairs it; empty where there is nothing to repair."""

    state: State
    reason: str
    act: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is bound to the TPM: `where` is a path, a device or a handle.

    `bond` is that of what the TPM does not keep itself; `alone`: nothing else opens the volume that it opens.
    """

    kind: Kind
    where: str
    verdict: Verdict
    bond: Bond | None = None
    alone: bool = False
