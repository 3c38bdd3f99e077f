"""Response codes of the TPM and of libtss2 as errors of `lms.errors`: interpreted here and nowhere else.

Source: TPM 2.0 Library Part 2, "TPM_RC"; what libtpms really answers: facts/tpm.md §6. A code that means
something else in one command (TPM_RC_VALUE, TPM_RC_SIZE) is told by the caller of `doing`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from lms.adapters.channel import Refused
from lms.errors import (
    AuthFailed,
    BadAttributes,
    BadConfiguration,
    BlobRefused,
    EndorsementAuthFailed,
    HandleOccupied,
    KeyNotFound,
    LmsError,
    NvFull,
    OwnerAuthFailed,
    PolicyRefused,
    TpmBusy,
    TpmFailed,
    TpmLockedOut,
    TpmUnavailable,
)

Meanings = Mapping[int, type[LmsError]]

# format 1 (bit 7 set), without handle, parameter or session number
VALUE: Final = 0x084
SIZE: Final = 0x095
AUTH_FAIL: Final = 0x08E
BAD_AUTH: Final = 0x0A2
HANDLE: Final = 0x08B
FAILURE: Final = 0x101

MEANINGS: Final[Meanings] = {
    0x082: BadAttributes,  # ATTRIBUTES; a fixedTPM child below a key that moves
    HANDLE: KeyNotFound,
    0x08D: BadConfiguration,  # RANGE; a handle outside the owner's range
    AUTH_FAIL: AuthFailed,  # it counts towards the lock-out
    0x09B: PolicyRefused,  # SIGNATURE; an approval that its key did not sign
    0x09D: PolicyRefused,  # POLICY_FAIL
    0x09F: BlobRefused,  # INTEGRITY; altered, below another parent, or a credential for another key
    0x0A0: PolicyRefused,  # TICKET
    BAD_AUTH: OwnerAuthFailed,  # also of an object with noDA: told by the caller
    0x0A3: PolicyRefused,  # EXPIRED
    0x0A4: PolicyRefused,  # POLICY_CC
    0x0A7: BlobRefused,  # ECC_POINT; a seed for another kind of key
    0x100: TpmUnavailable,  # INITIALIZE, although we sent TPM2_Startup
    0x128: PolicyRefused,  # PCR_CHANGED, between policy and use
    0x12F: AuthFailed,  # AUTH_UNAVAILABLE; the object takes a policy instead, or the other way round
    0x14B: NvFull,  # NV_SPACE
    0x14C: HandleOccupied,  # NV_DEFINED
    0x901: TpmBusy,  # CONTEXT_GAP
    0x902: TpmBusy,  # OBJECT_MEMORY
    0x903: TpmBusy,  # SESSION_MEMORY
    0x904: TpmBusy,  # MEMORY
    0x905: TpmBusy,  # SESSION_HANDLES
    0x906: TpmBusy,  # OBJECT_HANDLES
    0x909: TpmBusy,  # CANCELED
    **dict.fromkeys(range(0x910, 0x91F), TpmBusy),  # REFERENCE_xx; another program, or a reset, took our handle
    0x920: TpmBusy,  # NV_RATE
    0x921: TpmLockedOut,  # LOCKOUT
    0x922: TpmBusy,  # RETRY
    0x923: TpmUnavailable,  # NV_UNAVAILABLE
}

# What a person is told beside the code, which is for a journal and a search.
_WORDS: Final[Mapping[type[LmsError], str]] = {
    OwnerAuthFailed: "the owner authorisation is missing or wrong",
    EndorsementAuthFailed: "the endorsement authorisation is missing or wrong",
    AuthFailed: "the authorisation is missing or wrong",
    NvFull: "there is no room for it in the TPM",
    TpmLockedOut: "the TPM is locked out",
    TpmBusy: "the TPM has no free slot",
    HandleOccupied: "something else is there",
    BlobRefused: "it was altered, or belongs to another key",
}

_TPM_LAYERS: Final = (0, 11, 12)  # the TPM itself, and what a resource manager passes on or says in its place
_TCTI_LAYER: Final = 10
_ESYS_LAYER: Final = 7
_BASE_BAD_SEQUENCE: Final = 7
_BASE_RSP_AUTH_FAILED: Final = 0x1B


def _symbol(code: int) -> str:
    """As "TPM_RC_INTEGRITY"; the number where libtss2 knows no name."""
    from tpm2_pytss.constants import TPM2_RC

    for name, value in vars(TPM2_RC).items():
        if value == code and name.isupper() and name not in ("VER1", "WARN", "FMT1"):
            return f"TPM_RC_{name}"
    return f"response code {code:#x}"


def _split(code: int) -> tuple[int, str]:
    """A TPM response code without what it is about, and that in words (Part 2, "Response code formats")."""
    if not code & 0x080:
        return code, ""
    number = code >> 8 & 0xF
    if code & 0x040:
        return code & 0x0BF, f" (parameter {number})"
    if number & 0x8:
        return code & 0x0BF, f" (session {number & 0x7})"
    return code & 0x0BF, f" (handle {number})" if number else ""


def _transport(layer: int, base: int) -> LmsError | None:
    """What libtss2 itself said, where it is worth words of its own."""
    if layer == _TCTI_LAYER or base == _BASE_BAD_SEQUENCE:
        return TpmUnavailable("the TPM does not answer")
    if layer == _ESYS_LAYER and base == _BASE_RSP_AUTH_FAILED:
        return TpmFailed("the answer of the TPM was altered on its way")
    return None


def _failures() -> tuple[type[Exception], ...]:
    """What has an `rc`; libtss2 raises nothing before it was loaded."""
    module = sys.modules.get("tpm2_pytss.TSS2_Exception")
    return (Refused,) if module is None else (Refused, module.TSS2_Exception)


def translated(error: Any, action: str, meanings: Meanings) -> LmsError:
    """The error of ours for one with an `rc`; `action` says what could not be done."""
    rc = int(error.rc)  # not a TPM_FRIENDLY_INT: that one has words of its own
    layer, code = rc >> 16 & 0xFF, rc & 0xFFFF
    if layer not in _TPM_LAYERS:
        known = _transport(layer, code)
        return type(known)(f"cannot {action}: {known}") if known else TpmFailed(f"cannot {action}: {error}")
    bare, about = _split(code)
    kind = meanings.get(bare) or MEANINGS.get(bare, TpmFailed)
    words = f"{_WORDS[kind]}, " if kind in _WORDS else ""
    return kind(f"cannot {action}: {words}{_symbol(bare)}{about}")


@contextmanager
def doing(action: str, meanings: Meanings | None = None) -> Iterator[None]:
    """What fails inside becomes one of our errors, "cannot `action`: …"; `meanings` go before `MEANINGS`."""
    try:
        yield
    except _failures() as error:
        raise translated(error, action, meanings or {}) from error
