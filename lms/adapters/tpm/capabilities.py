"""TPM2_GetCapability, TPM2_ReadPublic, TPM2_NV_ReadPublic and TPM2_FlushContext as bytes (TPM 2.0 Library Part 3).

Past ESAPI: looking at a TPM takes no libtss2, ESAPI cannot flush a session that it did not open, and the lists that
tpm2_pytss returns read freed memory when they are used carelessly.
"""

from __future__ import annotations

from typing import Final

from lms.adapters.channel import Channel, command
from lms.adapters.tpm.responses import doing
from lms.errors import BadRequest
from lms.model.tpm import Tries
from lms.wire.tpm.marshal import Reader

_CC_FLUSH_CONTEXT: Final = 0x165
_CC_NV_READ_PUBLIC: Final = 0x169
_CC_READ_PUBLIC: Final = 0x173
_CC_GET_CAPABILITY: Final = 0x17A
_CAP_HANDLES: Final = 1
_CAP_COMMANDS: Final = 2
_CAP_TPM_PROPERTIES: Final = 6
_PT_PERMANENT: Final = 0x200
_PT_LOCKOUT_COUNTER: Final = 0x20E
_COUNT: Final = 254

_COMMAND_INDEX: Final = 0xFFFF  # of TPMA_CC

_NV_INDEX: Final = 0x01000000
_TRANSIENT: Final = 0x80000000
_PERSISTENT: Final = 0x81000000
_LOADED_SESSION: Final = 0x02000000
_SAVED_SESSION: Final = 0x03000000

REWRAP: Final = 0x152
"""TPM_CC of TPM2_Rewrap, which a TPM may lack."""

OWNER_AUTH_SET: Final = 1 << 0
LOCKOUT_AUTH_SET: Final = 1 << 2
IN_LOCKOUT: Final = 1 << 9


def _handles(channel: Channel, first: int) -> tuple[int, ...]:
    reader = Reader(channel.execute(command(_CC_GET_CAPABILITY, _CAP_HANDLES, first, _COUNT)))
    reader.raw(1 + 4)  # moreData, capability
    return tuple(reader.u32() for _ in range(reader.u32()))


def persistent_handles(channel: Channel) -> tuple[int, ...]:
    """All persistent handles in use."""
    return _handles(channel, _PERSISTENT)


def require_persistent(handle: int) -> None:
    """Raises BadRequest for any other handle."""
    if handle >> 24 != _PERSISTENT >> 24:
        raise BadRequest(f"cannot use {handle:#x}: not a persistent handle")


def public_at(channel: Channel, handle: int) -> bytes | None:
    """TPM2B_PUBLIC of the key at a persistent handle; None where there is none."""
    require_persistent(handle)
    with doing(f"find the key at {handle:#x}"):
        if handle not in persistent_handles(channel):
            return None
        return _first(channel.execute(command(_CC_READ_PUBLIC, handle)))


def _first(answer: bytes) -> bytes:
    """The TPM2B with which an answer begins."""
    return answer[: 2 + int.from_bytes(answer[:2], "big")]


def kept(channel: Channel) -> dict[int, bytes]:
    """All that a TPM keeps, by its handle: TPM2B_PUBLIC of persistent keys, TPM2B_NV_PUBLIC of NV indices."""
    found = {}
    with doing("list what the TPM keeps"):
        for first, code in ((_PERSISTENT, _CC_READ_PUBLIC), (_NV_INDEX, _CC_NV_READ_PUBLIC)):
            for handle in _handles(channel, first):
                found[handle] = _first(channel.execute(command(code, handle)))
    return found


def permanent(channel: Channel) -> int:
    """TPMA_PERMANENT."""
    return _properties(channel, _PT_PERMANENT, 1)[0]


def tries(channel: Channel) -> Tries:
    """What wrong guesses used up: the counter, the maximum and the interval follow each other."""
    return Tries(*_properties(channel, _PT_LOCKOUT_COUNTER, 3))


def _properties(channel: Channel, first: int, count: int) -> list[int]:
    """Values of properties that follow each other."""
    reader = Reader(channel.execute(command(_CC_GET_CAPABILITY, _CAP_TPM_PROPERTIES, first, count)))
    reader.raw(1 + 4)  # moreData, capability
    found = [(reader.u32(), reader.u32()) for _ in range(reader.u32())]
    return [value for _, value in found]


def implements(channel: Channel, code: int) -> bool:
    """Whether the TPM has the command with this TPM_CC."""
    reader = Reader(channel.execute(command(_CC_GET_CAPABILITY, _CAP_COMMANDS, code, 1)))
    reader.raw(1 + 4)  # moreData, capability
    return code in [reader.u32() & _COMMAND_INDEX for _ in range(reader.u32())]


def flush_all(channel: Channel) -> None:
    """Free all slots: for a TPM without resource manager, whose only user we are."""
    for first in (_TRANSIENT, _LOADED_SESSION, _SAVED_SESSION):
        for handle in _handles(channel, first):
            channel.execute(command(_CC_FLUSH_CONTEXT, handle))
