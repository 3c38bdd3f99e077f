"""What the TPM itself keeps: persistent keys and NV indices, of which only those of the owner count.

Those of the board's maker stay with the board and are nothing of ours: the platform's range of persistent handles, NV
indices that the platform made. An endorsement key and the storage root key of the TCG are made anew in every TPM; what
hangs below them is found where it lies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from lms.apps.inventory.bond import Item, Kind, State, Verdict
from lms.wire.tpm.public import Attributes

_OWNERS: Final = range(0x81000000, 0x81800000)
# TCG TPM v2.0 Provisioning Guidance, 7.8: the shared SRK, and endorsement keys.
_SHARED_SRK: Final = 0x81000001
_ENDORSEMENT: Final = range(0x81010000, 0x81020000)
_STORAGE: Final = Attributes.FIXED_TPM | Attributes.RESTRICTED | Attributes.DECRYPT
_PLATFORM_CREATED: Final = 1 << 30  # of TPMA_NV
_MADE_ANEW: Final = Verdict(State.PROTECTED, "every TPM has its own; what hangs below it is judged by itself")
_SRK: Final = Verdict(State.PROTECTED, "it is made anew when the recoverable key is restored")
_STRANGER: Final = Verdict(State.LOST, "another program keeps it in this TPM alone: only that can make it anew")


UNSEEN: Final = Item(
    Kind.PERSISTENT_KEY, "in the TPM", Verdict(State.UNKNOWN, "nobody could say what the TPM keeps", "lmsctl status")
)
"""Where the TPM cannot be looked at."""


def judge_handles(found: Iterable[Mapping[str, Any]]) -> list[Item]:
    """What the act `handles` told, without what is nobody's loss, and the recoverable key, of which `status` tells."""
    judged = (_judged(one, int(one["handle"], 16)) for one in found)
    return [item for item in judged if item is not None]


def _judged(one: Mapping[str, Any], handle: int) -> Item | None:
    attributes = int(one.get("attributes", "0"), 16)
    if one["kind"] == "nv":
        return None if attributes & _PLATFORM_CREATED else Item(Kind.NV_INDEX, one["handle"], _STRANGER)
    if handle not in _OWNERS or one.get("ours") == "recoverable-key":
        return None
    if one.get("ours") == "storage-root-key":
        return Item(Kind.PERSISTENT_KEY, one["handle"], _SRK)
    reserved = handle == _SHARED_SRK or handle in _ENDORSEMENT
    own = reserved and attributes & _STORAGE == _STORAGE
    return Item(Kind.PERSISTENT_KEY, one["handle"], _MADE_ANEW if own else _STRANGER)
