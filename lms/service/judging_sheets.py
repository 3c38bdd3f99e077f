"""Recovery sheets that a person gives, compared with what is known on this machine (PROTOCOL §6)."""

from __future__ import annotations

from contextlib import suppress

from lms.errors import LmsError, OwnerMismatch, SheetMismatch, SheetStale
from lms.model.owner import Owner, RecoverySheet
from lms.service.enroll import trust_list_of
from lms.service.setting import Setting
from lms.wire.anchor import read_owner
from lms.wire.sheet import accept_sheet, confirm_sheet


def confirmed_sheet(setting: Setting, document: bytes, fingerprint: str) -> tuple[RecoverySheet, Owner]:
    """A sheet and its owner, whose fingerprint a person gives.

    Raises FingerprintUnconfirmed, FingerprintDiffers and the errors of `judged_sheet`.
    """
    _, owner = confirm_sheet(document, fingerprint, setting.now())
    return judged_sheet(setting, document, owner), owner


def judged_sheet(setting: Setting, document: bytes, owner: Owner) -> RecoverySheet:
    """A sheet of a confirmed owner, for this machine as far as it knows which it is.

    Raises the errors of `accept_sheet`, SheetMismatch (of another platform), SheetStale.
    """
    state = setting.store.load()
    if state is not None and read_owner(state.owner_document).fingerprint != owner.fingerprint:
        raise OwnerMismatch("cannot use the recovery sheet: this platform belongs to another owner")
    sheet = accept_sheet(document, owner, None if state is None else trust_list_of(state), setting.now())
    if state is not None and state.platform_id != sheet.platform_id:
        raise SheetMismatch(
            f"cannot use the recovery sheet: it is for platform {sheet.platform_id}, this is {state.platform_id}"
        )
    for known in _known_sheets(setting, owner):
        if known.platform_id == sheet.platform_id and known.sequence > sheet.sequence:
            raise SheetStale(
                f"cannot use the recovery sheet: its Sequence is {sheet.sequence}, {known.sequence} is known"
            )
    return sheet


def sheet_at_hand(setting: Setting, owner: Owner) -> RecoverySheet | None:
    """The newest sheet on this machine that this owner issued."""
    return max(_known_sheets(setting, owner), key=lambda sheet: sheet.sequence, default=None)


def _known_sheets(setting: Setting, owner: Owner) -> list[RecoverySheet]:
    """The sheets on this machine that this owner issued; what lies in /boot is otherwise anybody's word."""
    state = setting.store.load()
    documents = [
        None if state is None or state.enrolment is None else state.enrolment.sheet,
        None if setting.recovery is None else setting.recovery.sheet(),
    ]
    sheets = []
    for document in documents:
        if document is not None:
            with suppress(LmsError):
                sheets.append(accept_sheet(document, owner, None, setting.now()))
    return sheets
