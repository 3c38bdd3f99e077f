"""The acts on a document alone: `inspect` and `verify`. They change nothing and need neither state nor TPM."""

from __future__ import annotations

from typing import Final

from lms.errors import BadRequest
from lms.names import GRANT, OWNER, PACKAGE, SHEET, TOKEN
from lms.service.acts.call import Answer, Call
from lms.service.setting import Setting
from lms.wire.anchor import confirm_owner
from lms.wire.inspection import inspect_document, verify_package

_DOCUMENTS: Final = (PACKAGE, TOKEN, OWNER, GRANT, SHEET)


def inspect(call: Call, setting: Setting) -> Answer:
    """What one document says of itself, under whichever word it came; nothing of it is believed."""
    given = [word for word in _DOCUMENTS if call.given(word)]
    if len(given) != 1:
        raise BadRequest(f"cannot inspect {len(given)} documents: give one")
    return inspect_document(call.document(given[0]))


def verify(call: Call, setting: Setting) -> Answer:
    """Every check of a package that needs no TPM, against an owner whose fingerprint is given."""
    owner = confirm_owner(call.document(OWNER), call.word("fingerprint"))
    return verify_package(call.document(PACKAGE), owner, call.text("confirm-key"), setting.now())
