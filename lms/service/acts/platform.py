"""The acts that make a platform recoverable: `provision`, `enroll`, `archive` (PROTOCOL §8)."""

from __future__ import annotations

import base64
from uuid import uuid4

from lms.model.keys import digits
from lms.names import ENDORSEMENT_AUTH, GRANT, OWNER, OWNER_AUTH
from lms.service.acts.call import Answer, Call
from lms.service.acts.facts import facts
from lms.service.acts.owner_auth import owner_auth_for_new_keys
from lms.service.archive import archive
from lms.service.enroll import enroll_token
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
    if call.text("destination") == "msa":
        return _enroll_msa(call, setting)
    state, changed = enroll_token(setting, call.secret(OWNER_AUTH))
    return facts(state) | {"changed": changed}


def _enroll_msa(call: Call, setting: Setting) -> Answer:
    if call.given(GRANT):
        return facts(accept_grant(setting, call.document(GRANT), call.secret(ENDORSEMENT_AUTH))) | {"changed": True}
    document, request_id = request_enrolment(setting)
    return {"request": digits(request_id), "document": base64.b64encode(document).decode("ascii")}


def make_archive(call: Call, setting: Setting) -> Answer:
    """A new package at every place that keeps packages."""
    return facts(archive(setting)) | {"changed": True, "only-copy": not setting.archives}
