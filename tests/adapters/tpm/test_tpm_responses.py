"""What a person is told of each response code (TPM 2.0 Library Part 2, "TPM_RC"); a code that we do not know fails."""

from __future__ import annotations

import pytest
from tpm2_pytss import TSS2_Exception

from lms.adapters.channel import Refused
from lms.adapters.tpm.responses import MEANINGS, VALUE, doing, translated
from lms.errors import (
    AuthFailed,
    BadAttributes,
    BadConfiguration,
    BlobRefused,
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

AUTH = "the authorisation is missing or wrong, "
ALTERED = "it was altered, or belongs to another key, "
SLOT = "the TPM has no free slot, "
REFERENCES = [f"{kind}{number}" for kind in "HS" for number in range(8)]

# The specification's code and its name there; our error, and the words that stand before that name.
ROWS = (
    (0x082, "ATTRIBUTES", BadAttributes, ""),
    (0x08B, "HANDLE", KeyNotFound, ""),
    (0x08D, "RANGE", BadConfiguration, ""),
    (0x08E, "AUTH_FAIL", AuthFailed, AUTH),
    (0x09B, "SIGNATURE", PolicyRefused, ""),
    (0x09D, "POLICY_FAIL", PolicyRefused, ""),
    (0x09F, "INTEGRITY", BlobRefused, ALTERED),
    (0x0A0, "TICKET", PolicyRefused, ""),
    (0x0A2, "BAD_AUTH", OwnerAuthFailed, "the owner authorisation is missing or wrong, "),
    (0x0A3, "EXPIRED", PolicyRefused, ""),
    (0x0A4, "POLICY_CC", PolicyRefused, ""),
    (0x0A7, "ECC_POINT", BlobRefused, ALTERED),
    (0x100, "INITIALIZE", TpmUnavailable, ""),
    (0x128, "PCR_CHANGED", PolicyRefused, ""),
    (0x12F, "AUTH_UNAVAILABLE", AuthFailed, AUTH),
    (0x14B, "NV_SPACE", NvFull, "there is no room for it in the TPM, "),
    (0x14C, "NV_DEFINED", HandleOccupied, "something else is there, "),
    (0x901, "CONTEXT_GAP", TpmBusy, SLOT),
    (0x902, "OBJECT_MEMORY", TpmBusy, SLOT),
    (0x903, "SESSION_MEMORY", TpmBusy, SLOT),
    (0x904, "MEMORY", TpmBusy, SLOT),
    (0x905, "SESSION_HANDLES", TpmBusy, SLOT),
    (0x906, "OBJECT_HANDLES", TpmBusy, SLOT),
    (0x909, "CANCELED", TpmBusy, SLOT),
    *((0x910 + at, f"REFERENCE_{REFERENCES[at]}", TpmBusy, SLOT) for at in range(15) if at != 7),
    (0x917, None, TpmBusy, SLOT),  # a handle that no command has, and so no name
    (0x920, "NV_RATE", TpmBusy, SLOT),
    (0x921, "LOCKOUT", TpmLockedOut, "the TPM is locked out, "),
    (0x922, "RETRY", TpmBusy, SLOT),
    (0x923, "NV_UNAVAILABLE", TpmUnavailable, ""),
)
LAYERS = (0, 11, 12)  # the TPM, and a resource manager that passes on what it says or speaks in its place


def told(rc: int, error: type[Exception] = Refused, meanings=None) -> tuple[type[LmsError], str]:
    found = translated(error(rc), "load the key", meanings or {})
    return type(found), str(found)


def test_every_row_is_told_here():
    assert {code: error for code, _, error, _ in ROWS} == MEANINGS
    assert len(ROWS) == len(MEANINGS)


@pytest.mark.parametrize(("code", "name", "error", "words"), ROWS, ids=[f"{row[0]:#05x}" for row in ROWS])
def test_a_code_is_the_error_of_its_row_in_words(code, name, error, words):
    symbol = f"response code {code:#x}" if name is None else f"TPM_RC_{name}"
    for layer in LAYERS:
        for said in (Refused, TSS2_Exception):
            assert told(layer << 16 | code, said) == (error, f"cannot load the key: {words}{symbol}")
    if code & 0x080:  # the formats that say of what
        for more, about in ((0x300, "handle 3"), (0xA00, "session 2"), (0x540, "parameter 5")):
            assert told(code | more) == (error, f"cannot load the key: {words}{symbol} ({about})")


def test_every_other_code_fails_closed():
    known = {row[0] for row in ROWS}
    for layer in LAYERS:
        for code in range(1, 1 << 16):
            bare = code & 0x0BF if code & 0x080 else code
            if bare not in known:
                kind, words = told(layer << 16 | code)
                assert kind is TpmFailed, hex(code)
                assert words.startswith("cannot load the key: "), hex(code)


def test_a_code_without_a_name_is_told_by_its_number():
    assert told(0x17E) == (TpmFailed, "cannot load the key: response code 0x17e")
    assert told(0x1BE) == (TpmFailed, "cannot load the key: response code 0xbe (handle 1)")


def test_what_the_caller_knows_of_a_code_goes_before_the_table():
    said = "cannot load the key: TPM_RC_VALUE"
    assert told(VALUE) == (TpmFailed, said)
    assert told(VALUE, meanings={VALUE: PolicyRefused}) == (PolicyRefused, said)
    with pytest.raises(PolicyRefused, match=f"^{said}$"), doing("load the key", {VALUE: PolicyRefused}):
        raise Refused(VALUE)


@pytest.mark.parametrize(
    ("rc", "error", "words"),
    [
        (0xA0001, TpmUnavailable, "the TPM does not answer"),
        (0xA000A, TpmUnavailable, "the TPM does not answer"),
        (0x70007, TpmUnavailable, "the TPM does not answer"),
        (0x7001B, TpmFailed, "the answer of the TPM was altered on its way"),
        (0x70001, TpmFailed, "esapi:Catch all for all errors not otherwise specified"),
        (0x6001B, TpmFailed, "fapi:"),
        (0x8009F, TpmFailed, "sys:"),  # a code of the TPM's is none where another layer says it
    ],
)
def test_what_libtss2_says_itself(rc, error, words):
    kind, said = told(rc, TSS2_Exception)
    assert kind is error
    assert said.startswith(f"cannot load the key: {words}")
