"""The acts that make a platform recoverable: `provision`, `enroll`, `archive` (PROTOCOL §8)."""

from __future__ import annotations

import base64
from typing import Final
from uuid import UUID, uuid4

from lms.errors import BadRequest
from lms.model.keys import digits
from lms.model.packages import DestinationKind
from lms.names import ENDORSEMENT_AUTH, GRANT, OWNER, OWNER_AUTH
from lms.service.acts.call import Answer, Call
from lms.service.acts.facts import facts
from lms.service.acts.owner_auth import owner_auth_for_new_keys
from lms.service.archive import archive
from lms.service.enroll import enroll_authority, enroll_token
from lms.service.enrolment import accept_grant, request_enrolment
from lms.service.provision import Provisioning, provision
from lms.service.setting import Setting


def provision_platform(call: Call, setting: Setting) -> Answer:
    """SRK, DRSK, AK and signing key, for the owner whose fingerprint is given."""
    order = Provisioning(
        owner_document=call.document(OWNER),
        fingerprint=call.text("fingerprint") or "",
        offline_token=call.flag("offline-token"),
        algorithm=setting.algorithm,
        srk_handle=setting.srk_handle,
        drsk_handle=setting.drsk_handle,
        new_platform_id=uuid4(),
        unverified_tpm=call.flag("unverified-tpm"),
    )
    state = setting.store.load()
    ready = state is not None and state.drsk is not None
    owner_auth = call.secret(OWNER_AUTH) if ready else owner_auth_for_new_keys(call, setting)
    state, changed = provision(setting, order, owner_auth)
    return facts(state) | {"changed": changed}


def enroll(call: Call, setting: Setting) -> Answer:
    """A destination, or the authority that certifies this platform."""
    destination = call.text("destination") or ""
    if destination not in _ENROLLED:
        raise BadRequest(f"cannot enroll '{destination}': expected one of {', '.join(_ENROLLED)}")
    return _ENROLLED[destination](call, setting)


def _enroll_token(call: Call, setting: Setting) -> Answer:
    state, changed = enroll_token(setting, call.secret(OWNER_AUTH))
    return facts(state) | {"changed": changed}


def _enroll_ma(call: Call, setting: Setting) -> Answer:
    named = call.text("id")
    try:
        ma_id = None if named is None else UUID(named)
    except ValueError:
        raise BadRequest(f"cannot read '{named}' as an authority's ID") from None
    state, changed = enroll_authority(setting, ma_id, call.secret(OWNER_AUTH))
    return facts(state) | {"changed": changed}


def _enroll_msa(call: Call, setting: Setting) -> Answer:
    if call.given(GRANT):
        return facts(accept_grant(setting, call.document(GRANT), call.secret(ENDORSEMENT_AUTH))) | {"changed": True}
    document, request_id = request_enrolment(setting)
    return {"request": digits(request_id), "document": base64.b64encode(document).decode("ascii")}


_ENROLLED: Final = {"token": _enroll_token, "ma": _enroll_ma, "msa": _enroll_msa}


def make_archive(call: Call, setting: Setting) -> Answer:
    """A new package at every place that keeps packages."""
    state = archive(setting, call.secret(ENDORSEMENT_AUTH))
    remote = any(d.kind is DestinationKind.MIGRATION_AUTHORITY for d in state.destinations)
    return facts(state) | {"changed": True, "only-copy": not setting.archives and not remote}
