"""The act `restore`: the keys of a package on this TPM, by token or through an authority (PROTOCOL §8)."""

from __future__ import annotations

import base64
from typing import Final

from lms.errors import (
    ApprovalPending,
    AuthorityBusy,
    AuthorityUnreachable,
    BadRequest,
    LmsError,
    SessionExpired,
)
from lms.model.jobs import Awaiting
from lms.model.keys import Name, digits
from lms.model.owner import Owner, RecoverySheet
from lms.model.platform import PlatformState
from lms.model.secret import Secret
from lms.names import APPROVAL, ENDORSEMENT_AUTH, GRANT, OWNER_AUTH, PACKAGE, SHEET, TOKEN, TOKEN_PASSWORD
from lms.service.acts.call import Answer, Call
from lms.service.acts.facts import facts
from lms.service.acts.owner_auth import generating_owner_auth
from lms.service.at_hand import package_at_hand
from lms.service.diagnosis import WORDS
from lms.service.judging_sheets import confirmed_sheet, judged_sheet
from lms.service.restore import Restored, RestoreOrder, restore_by_token
from lms.service.restore_by_authority import AuthorityOrder, restore_by_authority
from lms.service.setting import Setting
from lms.wire.anchor import read_owned_token

POLL_S: Final = 30.0
"""How often a waiting job asks the authorities whether its request was approved, in seconds."""

# What ends no job that has asked: the owner takes days, and meanwhile networks and authorities come and go.
# One that was started again in the middle knows no session from before.
PASSING: Final = (ApprovalPending, AuthorityUnreachable, AuthorityBusy, SessionExpired)


def restore(call: Call, setting: Setting) -> Answer:
    """Bring the DRSK back: with the owner's token where it is given, else through the authorities that hold it."""
    if not call.flag("unattended"):  # else nobody is there to whom a new owner authorisation could be handed
        setting = generating_owner_auth(call, setting)
    if call.given(TOKEN) or call.given(TOKEN_PASSWORD) or call.given(PACKAGE):
        return _by_token(call, setting)
    if not call.given(SHEET):
        return _by_authority(call, setting, None, None)
    fingerprint = call.text("fingerprint") or ""
    return _by_authority(call, setting, *confirmed_sheet(setting, call.document(SHEET), fingerprint))


def _by_authority(call: Call, setting: Setting, sheet: RecoverySheet | None, owner: Owner | None) -> Answer:
    if call.given(GRANT):
        raise BadRequest("cannot use a trust list without the token and a package: who approves the restore has it")
    if call.flag("stolen"):
        raise BadRequest(
            "cannot retire the other TPMs by asking: who approves the restore says it, `lms-authority approve --stolen`"
        )
    order = AuthorityOrder(
        sheet=sheet,
        owner=owner,
        srk_handle=setting.srk_handle,
        drsk_handle=setting.drsk_handle,
        approval=call.document(APPROVAL) if call.given(APPROVAL) else None,
        unverified_tpm=call.flag("unverified-tpm"),
        accepted_stale=call.number("accept-stale"),
        replace_foreign=_foreign(call),
    )
    try:
        return _answer(restore_by_authority(setting, order, call.secret(OWNER_AUTH), call.secret(ENDORSEMENT_AUTH)))
    except PASSING as error:
        pending = setting.store.load_pending()
        if call.waits and pending is not None:
            call.offer(APPROVAL, Secret(pending.document))  # what is to be approved, for who carries it by hand
            raise Awaiting((APPROVAL,), why_waiting(error, pending.request_id), POLL_S, error) from None
        return _request(call, setting, error)


def why_waiting(error: LmsError, request_id: bytes) -> str:
    """Whatever keeps the job, the owner's approval is what it needs."""
    if isinstance(error, ApprovalPending):
        return str(error)
    return f"{error}; the owner has to approve request {digits(request_id)}"


def _request(call: Call, setting: Setting, error: LmsError) -> Answer:
    """The request itself, for who wants to carry it by hand."""
    pending = setting.store.load_pending()
    if pending is None or not call.flag("request"):
        raise error
    return {
        "waiting": APPROVAL,
        "request": digits(pending.request_id),
        "document": base64.b64encode(pending.document).decode("ascii"),
    }


def _by_token(call: Call, setting: Setting) -> Answer:
    call.require(TOKEN, TOKEN_PASSWORD)
    token = call.document(TOKEN)
    _, owner = read_owned_token(token)
    opener = setting.opener(token, call.secret(TOKEN_PASSWORD))
    sheet = judged_sheet(setting, call.document(SHEET), owner) if call.given(SHEET) else None
    package = call.document(PACKAGE) if call.given(PACKAGE) else _package_at_hand(setting, sheet)
    if package is None and sheet is not None:
        # A token is a file: only its owner's password makes it this owner's word.
        call.once(TOKEN, lambda: opener.vouch(owner))
        return _by_authority(call, setting, sheet, owner)
    if package is None:
        raise BadRequest("cannot restore: no package is at hand, name one with --package, or a sheet with --sheet")
    order = RestoreOrder(
        package=package,
        owner=owner,
        srk_handle=setting.srk_handle,
        drsk_handle=setting.drsk_handle,
        unverified_tpm=call.flag("unverified-tpm"),
        confirmed_key=call.text("confirm-key"),
        accepted_stale=call.number("accept-stale"),
        replace_foreign=_foreign(call),
        sheet=sheet,
        stolen=call.flag("stolen"),
        trust_list=call.document(GRANT) if call.given(GRANT) else None,
    )
    secrets = call.secret(OWNER_AUTH), call.secret(ENDORSEMENT_AUTH)
    restored = restore_by_token(setting, opener, order, *secrets)
    return _answer(restored) | (_newest_list(restored.state) if call.given(GRANT) else {})


def _newest_list(state: PlatformState) -> Answer:
    """For the owner's register: what was signed last, though no authority has it yet. Its number is given out."""
    document = state.confirmed_list or state.trust_list or b""
    return {"trust-list": base64.b64encode(document).decode("ascii")}


def _package_at_hand(setting: Setting, sheet: RecoverySheet | None) -> bytes | None:
    """The newest package here, of the platform that the state or a sheet names."""
    state = setting.store.load()
    named = sheet if state is None else state
    return package_at_hand(setting, None if named is None else named.platform_id)


def _answer(restored: Restored) -> Answer:
    return facts(restored.state) | {
        "changed": restored.changed,
        "was": restored.reason.value,
        "cause": WORDS[restored.reason],
        "age-known": restored.age_known,
    }


def _foreign(call: Call) -> Name | None:
    name = call.text("replace-foreign")
    try:
        return None if name is None else Name.from_text(name)
    except ValueError:
        raise BadRequest("cannot read the Name in --replace-foreign: 68 upper-case hexadecimal digits") from None
