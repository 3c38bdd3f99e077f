"""`luks check`: a volume is opened by its token, as at boot, and nothing is mapped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from lms.apps.acts import Acts, Answer
from lms.apps.luks.changing import Change
from lms.apps.luks.listing import described
from lms.apps.luks.ours import Found, Home
from lms.apps.luks.sealing import policy_of
from lms.apps.luks.token import Binding
from lms.errors import AuthFailed, BlobRefused, LmsError, PcrsDiffer, TokenUseless, VolumeNotEnrolled
from lms.model.secret import Secret

OTHERWISE: Final = "its header names other PCRs or another use of a PIN than it was enrolled with"
_UNTOLD: Final = "its header does not say what it was bound to"


def check(acts: Acts, path: Path, directory: Path, pin: Callable[[], Secret]) -> Answer:
    """Prove all tokens of ours. Raises VolumeNotEnrolled, TokenUseless with the reason, AuthFailed and more.

    `header-kept`: whether packages carry the header as it is now; `persons`: how many slots no TPM opens.
    """
    home = Home.of(acts)
    with Change.of(acts, path, directory) as change:
        header = change.volume.header()
        tokens = required(change)
        for found in tokens:
            require_use(change, found, home, pin)
        change.recognise()
        known = {"opens": True, "header-kept": change.header_is_kept(), "persons": len(header.persons)}
        return {"uuid": change.uuid, **described(tokens[0].slot, tokens[0].token, home), **known}


def required(change: Change) -> tuple[Found, ...]:
    """The tokens of ours. Raises VolumeNotEnrolled."""
    tokens = change.ours()
    if not tokens:
        raise VolumeNotEnrolled(f"cannot find a token of ours in '{change.volume.path}'")
    return tokens


def require_use(change: Change, found: Found, home: Home, pin: Callable[[], Secret]) -> None:
    """Go on only where a token opens its slot. Raises TokenUseless, and what stops finding out."""
    reason = useless(change, found, home, pin)
    if reason is not None:
        raise TokenUseless(f"cannot open '{change.volume.path}' by slot {found.slot}: {reason}")


def useless(change: Change, found: Found, home: Home, pin: Callable[[], Secret]) -> str | None:
    """Why a token opens its slot no more, in words; None where it does. Raises what stops finding out."""
    if change.records.known().binding not in (None, found.token.binding):
        return OTHERWISE
    if not home.has(found.token):
        return "it was sealed below a recoverable key that this machine has no more"
    reason = outdated(change.acts, found.token.binding, found.token.policy)
    if reason is not None:
        return reason
    try:
        change.prove(found.slot, found.token, pin() if found.token.binding.pin else Secret(b""))
    except AuthFailed:
        if found.token.binding.pin:
            raise
        return _UNTOLD
    except PcrsDiffer:
        return _changed(found.token.binding)
    except BlobRefused:
        return "its sealed object was altered"
    except TokenUseless as error:
        return _words(error)
    return None


def outdated(acts: Acts, binding: Binding, policy: bytes) -> str | None:
    """Why a token does not open with the PCRs of now, in words; None where those are as they were. Unseals nothing."""
    if policy == policy_of(acts, binding):
        return None
    return _changed(binding) if binding.pcrs else _UNTOLD


def _changed(binding: Binding) -> str:
    numbers = ", ".join(map(str, binding.pcrs))
    return f"PCR {numbers} had other values when it was sealed: board, firmware, its settings or the boot changed"


def _words(error: LmsError) -> str:
    return str(error).rpartition(": ")[2]
