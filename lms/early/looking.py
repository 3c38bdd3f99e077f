"""One look at the TPM (TPM 2.0 Library Part 3, TPM2_ReadPublic), and what it is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lms.adapters.channel import Channel, Refused, command, endpoint_for
from lms.config import TokenPlace
from lms.errors import HandleOccupied, TokenAbsent, TpmUnavailable
from lms.files import is_there, read_regular_file
from lms.model.recovery import RecoveryFacts
from lms.names import RECOVERY_FACTS
from lms.wire.record import read_record

_READ_PUBLIC: Final = 0x173
_NO_KEY: Final = 0x18B  # TPM_RC_HANDLE of the first handle
_DEADLINE_S: Final = 2.0
_MAX_FACTS: Final = 4096


def facts_in(directory: Path | None) -> RecoveryFacts | None:
    """What the recovery directory tells; None where it tells nothing. Raises FileProblem, MalformedStructure."""
    path = None if directory is None else directory / RECOVERY_FACTS
    if path is None or not is_there(path):
        return None
    return read_record(RecoveryFacts, read_regular_file(path, _MAX_FACTS, links=False))


def is_in_its_place(tcti: str, facts: RecoveryFacts) -> bool:
    """Whether the key is where it was; its handle is free where it is not. Raises TpmUnavailable, HandleOccupied."""
    found = name_at(tcti, facts.handle)
    if found not in (None, facts.key):
        name = found.hex().upper()
        raise HandleOccupied(f"cannot restore unasked: another key, {name}, lives at {facts.handle:#x}")
    return found is not None


def require_token(place: TokenPlace) -> None:
    """Raises TokenAbsent where nothing is plugged in: nobody need load what reads it."""
    if not is_there(place.device or place.path):
        raise TokenAbsent(f"cannot restore yet: the recoverable key is gone, and no token is to be seen ({place})")


def name_at(tcti: str, handle: int) -> bytes | None:
    """The Name of the key at a persistent handle, as the TPM tells it; None where there is none.

    Raises TpmUnavailable, within two seconds.
    """
    channel = Channel(endpoint_for(tcti), _DEADLINE_S)
    try:
        answer = channel.execute(command(_READ_PUBLIC, handle))
    except Refused as error:
        if error.rc == _NO_KEY:
            return None
        why = channel.trouble or f"it answers {error.rc:#x}"
        raise TpmUnavailable(f"cannot look for the recoverable key: {why}") from None
    finally:
        channel.shut()
    _, behind_public = _sized(answer)
    return _sized(behind_public)[0]


def _sized(buffer: bytes) -> tuple[bytes, bytes]:
    """The content of the TPM2B in front, and what comes behind it."""
    end = 2 + int.from_bytes(buffer[:2], "big")
    return buffer[2:end], buffer[end:]
