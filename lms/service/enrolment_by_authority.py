"""`enroll msa` through a Migration Authority's queue instead of by file (PROTOCOL §6, §7, §8).

The authority carries request and answer and is believed in neither: the owner compares the digits that this machine
computed, and the grant is judged as one that came by file. Run it again and again: the request stays the same until
a grant answers it, or the owner denies it.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from lms.errors import ApprovalPending, BadRequest, Denied
from lms.model.authorities import Kind
from lms.model.keys import digits
from lms.model.platform import PlatformState
from lms.model.secret import Secret
from lms.service.enroll import trust_list_of
from lms.service.enrolment import accept_grant, request_enrolment
from lms.service.line import Line, Whereabouts, chip_of, open_line
from lms.service.setting import Setting, provisioned
from lms.wire.anchor import read_owner


def enroll_by_authority(
    setting: Setting, address: str, ma_id: UUID | None, endorsement_auth: Secret
) -> tuple[PlatformState, bool]:
    """The state with the owner's grant, and whether it is new; an approved platform asks nobody.

    `ma_id` may be left out where the trust list here has the address. Raises ApprovalPending with the request's
    digits as long as the owner has not approved, Denied, BadRequest, the errors of `open_line` and `accept_grant`.
    """
    state = provisioned(setting)
    if state.enrolment is not None and state.request_nonce is None:
        return state, False
    where = _whereabouts(state, address, ma_id)
    document, request_id = request_enrolment(setting)
    line = open_line(setting, where, state.platform_id, chip_of(setting, state), endorsement_auth)
    if not _is_left(line, request_id):
        line.upload(document)
    return accept_grant(setting, _grant(setting, line, request_id), endorsement_auth), True


def _whereabouts(state: PlatformState, address: str, ma_id: UUID | None) -> Whereabouts:
    trusted = trust_list_of(state)
    known = () if trusted is None else trusted.authorities
    found = ma_id or next((a.ma_id for a in known if address in a.addresses), None)
    if found is None:
        raise BadRequest(f"cannot tell which authority answers at '{address}': give its ID with --id")
    return Whereabouts(found, (address,), read_owner(state.owner_document), trusted)


def _is_left(line: Line, request_id: bytes) -> bool:
    # Each time it is signed anew, and an authority keeps the first bytes under a RequestID.
    return any(listed.request_id == request_id for listed in line.inventory().requests)


def _grant(setting: Setting, line: Line, request_id: bytes) -> bytes:
    try:
        return line.download(Kind.ENROLMENT_GRANT, request_id.hex().upper())
    except ApprovalPending:
        shown = digits(request_id)
        raise ApprovalPending(f"cannot enroll yet: the owner has to approve request {shown}", request_id) from None
    except Denied:
        setting.store.save(replace(provisioned(setting), request_nonce=None))  # who begins again asks anew
        raise
