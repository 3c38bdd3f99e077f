"""What an act answers about the platform, in the words of DESIGN §3 and §4; `status` answers nothing else."""

from __future__ import annotations

from lms.model.keys import digits
from lms.model.platform import PlatformState
from lms.service.acts.call import Answer, Call
from lms.service.diagnosis import WORDS, Reason, diagnose
from lms.service.setting import Setting
from lms.wire.anchor import read_owner


def facts(state: PlatformState) -> Answer:
    """What the state tells, without a look at the TPM."""
    return {
        "platform": str(state.platform_id),
        "state": state.health.value,
        "owner": digits(read_owner(state.owner_document).fingerprint),
        "key": None if state.drsk is None else state.drsk.name.digits,
        "key-name": None if state.drsk is None else str(state.drsk.name),
        "handle": f"{state.drsk_handle:#x}",
        "destinations": [{"kind": d.kind.value, "id": d.identity} for d in state.destinations],
        "sequence": state.sequence,
        "approved": state.enrolment is not None,
        "one-party": "token" if state.drsk is not None and state.drsk.policy.offline_keys else None,
    }


def status(call: Call, setting: Setting) -> Answer:
    """The state of this platform, compared with its TPM."""
    state = setting.store.load()
    if state is None or state.drsk is None:
        return {"state": "unprovisioned", "owner-auth-set": setting.tpm.owner_auth_is_set()}
    reason = diagnose(setting, state)
    answer = facts(state)
    if reason is not Reason.INTACT:
        answer["state"] = "restore-needed"
    return answer | {
        "reason": reason.value,
        "explanation": WORDS[reason],
        "owner-auth-set": setting.tpm.owner_auth_is_set(),
        "lockout-auth-set": setting.tpm.lockout_auth_is_set(),
    }
