"""The acts that make a platform recoverable: `provision`, `enroll`, `forget`, `archive` (PROTOCOL §8)."""

from __future__ import annotations

import base64
from typing import Final
from uuid import UUID, uuid4

from lms.errors import BadRequest, RestoreFirst
from lms.model.jobs import Awaiting
from lms.model.keys import digits
from lms.model.owner import RecoverySheet
from lms.model.packages import DestinationKind
from lms.model.secret import Secret
from lms.names import ENDORSEMENT_AUTH, GRANT, OWNER, OWNER_AUTH, SHEET
from lms.service.acts.call import Answer, Call
from lms.service.acts.facts import facts
from lms.service.acts.owner_auth import generating_owner_auth
from lms.service.acts.restore import PASSING, POLL_S, why_waiting
from lms.service.archive import archive, is_archived, places_of
from lms.service.diagnosis import WORDS, Reason, diagnose
from lms.service.enroll import enroll_authority, enroll_token, standing
from lms.service.enrolment import accept_grant, request_enrolment
from lms.service.enrolment_by_authority import enroll_by_authority
from lms.service.forget import forget
from lms.service.judging_sheets import judged_sheet, sheet_at_hand
from lms.service.provision import Provisioning, provision
from lms.service.setting import Setting, provisioned
from lms.wire.anchor import confirm_owner, read_owner

# Another TPM cannot do anything with the keys that the state knows.
_OTHER_TPM: Final = frozenset({Reason.OTHER_TPM, Reason.CLEARED_TPM})


def provision_platform(call: Call, setting: Setting) -> Answer:
    """SRK, DRSK, AK and signing key, for the owner whose fingerprint is given."""
    new_platform = call.flag("new-platform")
    order = Provisioning(
        owner_document=call.document(OWNER),
        fingerprint=call.text("fingerprint") or "",
        offline_token=call.flag("offline-token"),
        algorithm=setting.algorithm,
        srk_handle=setting.srk_handle,
        drsk_handle=setting.drsk_handle,
        new_platform_id=uuid4(),
        unverified_tpm=call.flag("unverified-tpm"),
        new_platform=new_platform,
        adopt=call.flag("adopt"),
        weaker=call.flag("weaker"),
        sheet=_adopted_under(call, setting) if call.flag("adopt") else None,
    )
    state = setting.store.load()
    ready = state is not None and state.drsk is not None and not new_platform
    making = setting if ready else generating_owner_auth(call, setting)
    state, changed = provision(making, order, call.secret(OWNER_AUTH))
    return facts(state) | {"changed": changed}


def _adopted_under(call: Call, setting: Setting) -> RecoverySheet | None:
    """The sheet that tells which platform the key at the handle is: a given one, or one of this owner's in /boot."""
    owner = confirm_owner(call.document(OWNER), call.text("fingerprint") or "")
    if call.given(SHEET):
        return judged_sheet(setting, call.document(SHEET), owner)
    found, lying = setting.tpm.read_public(setting.drsk_handle), sheet_at_hand(setting, owner)
    return lying if lying is not None and lying.drsk == found else None


def enroll(call: Call, setting: Setting) -> Answer:
    """A destination, or the authority that certifies this platform."""
    destination = call.text("destination") or ""
    if destination not in _ENROLLED:
        raise BadRequest(f"cannot enroll '{destination}': expected one of {', '.join(_ENROLLED)}")
    _refuse_other_tpm(setting, "enroll")
    return _ENROLLED[destination](call, setting)


def _refuse_other_tpm(setting: Setting, verb: str) -> None:
    """Raises RestoreFirst where this TPM is not the one that the state knows."""
    state = setting.store.load()
    if state is None or state.drsk is None:
        return  # which has an error of its own
    reason = diagnose(setting, state)
    if reason in _OTHER_TPM:
        raise RestoreFirst(f"cannot {verb}: {WORDS[reason]}")


def _enroll_token(call: Call, setting: Setting) -> Answer:
    state, changed = enroll_token(setting, call.secret(OWNER_AUTH))
    return facts(state) | {"changed": changed}


def _enroll_ma(call: Call, setting: Setting) -> Answer:
    state, changed = enroll_authority(setting, _ma_id(call), call.secret(OWNER_AUTH))
    return facts(state) | {"changed": changed}


def _ma_id(call: Call) -> UUID | None:
    named = call.text("id")
    try:
        return None if named is None else UUID(named)
    except ValueError:
        raise BadRequest(f"cannot read '{named}' as an authority's ID") from None


def _enroll_msa(call: Call, setting: Setting) -> Answer:
    if call.given(GRANT):
        before = setting.store.load()
        state = accept_grant(setting, call.document(GRANT), call.secret(ENDORSEMENT_AUTH))
        return facts(state) | {"changed": state != before}
    via = call.text("via")
    if via is not None:
        return _enroll_through(call, setting, via)
    document, request_id = request_enrolment(setting)
    return {"request": digits(request_id), "document": base64.b64encode(document).decode("ascii")}


def _enroll_through(call: Call, setting: Setting, address: str) -> Answer:
    """By the queue of the authority at an address; the grant may come by file all the same."""
    try:
        state, changed = enroll_by_authority(setting, address, _ma_id(call), call.secret(ENDORSEMENT_AUTH))
    except PASSING as error:
        state = provisioned(setting)
        if not call.waits or state.request_nonce is None:
            raise
        document, request_id = request_enrolment(setting)
        call.offer(GRANT, Secret(document))  # what is to be approved, for who carries it by hand
        raise Awaiting((GRANT,), why_waiting(error, request_id), POLL_S, error) from None
    return facts(state) | {"changed": changed}


_ENROLLED: Final = {"token": _enroll_token, "ma": _enroll_ma, "msa": _enroll_msa}


def forget_destination(call: Call, setting: Setting) -> Answer:
    """A destination by its ID, or the owner's token by that word."""
    named = call.word("destination")
    state, changed = forget(setting, _identity(named, setting), last=call.flag("last"))
    return facts(state) | {"changed": changed}


def _identity(named: str, setting: Setting) -> str:
    token = read_owner(provisioned(setting).owner_document).token_id
    if named in ("token", token):
        return token
    try:
        return str(UUID(named))
    except ValueError:
        raise BadRequest(f"cannot read '{named}': expected the ID of an authority, or 'token'") from None


def make_archive(call: Call, setting: Setting) -> Answer:
    """A new package at every place that keeps packages; `if-changed`: unless the newest one is there and says all."""
    _refuse_other_tpm(setting, "archive")
    state = provisioned(setting)
    changed = not (call.flag("if-changed") and is_archived(setting, state))
    if changed:
        state = archive(setting, call.secret(ENDORSEMENT_AUTH))
    remote = any(d.kind is DestinationKind.MIGRATION_AUTHORITY for d in standing(state).destinations)
    alone = not setting.archives and not remote
    return facts(state) | {"changed": changed, "places": places_of(setting, state), "only-copy": alone}
