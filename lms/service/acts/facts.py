"""What an act answers about the platform, in the words of DESIGN §3 and §4.

`status`, `handles`, `packages` and `authorities` answer nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lms.errors import MalformedStructure, TpmLockedOut
from lms.model.keys import Name, digits
from lms.model.packages import DestinationKind
from lms.model.platform import EnrolledDestination, Health, PlatformState
from lms.model.trust import TrustedAuthority, TrustList
from lms.service.acts.call import Answer, Call
from lms.service.acts.entries import described
from lms.service.archive import places_of
from lms.service.diagnosis import WORDS, Reason, diagnose
from lms.service.enroll import standing, trust_list_of, withdrawn_authorities
from lms.service.lacking import lacking
from lms.service.setting import Setting, provisioned
from lms.wire.anchor import read_owner
from lms.wire.inspection import policy_facts
from lms.wire.tpm.foreign import NV_INDEX, foreign_attributes, foreign_name, nv_attributes

_MEANING: Final[Mapping[Health, str]] = {
    Health.UNPROVISIONED: "there is no recoverable key yet",
    Health.CREATED: "nothing keeps the keys yet: enroll a destination, then archive",
    Health.STALE: "something changed since the newest package: archive",
    Health.AT_RISK: "one destination alone can give the keys back: enroll a second one",
    Health.PROTECTED: "two independent destinations can give the keys back",
    Health.RESTORE_NEEDED: "the keys are not in this TPM: restore",
    Health.RESTORED_NOT_ENROLLED: "the keys are back, but destinations that held them are not enrolled anew",
}
_NOT_ARCHIVED: Final = "nothing keeps the keys yet: a destination is enrolled, archive"
_RETIRED: Final = "another one took this platform over (a new board, or a clone), or the owner took this one back"


def facts(state: PlatformState, health: Health | None = None) -> Answer:
    """What the state tells, without a look at the TPM; `health` where that look said more."""
    health = health or standing(state).health
    return {
        "platform": str(state.platform_id),
        "state": health.value,
        "meaning": _NOT_ARCHIVED if health is Health.CREATED and state.destinations else _MEANING[health],
        "owner": digits(read_owner(state.owner_document).fingerprint),
        "key": None if state.drsk is None else state.drsk.name.digits,
        "key-name": None if state.drsk is None else str(state.drsk.name),
        "handle": f"{state.drsk_handle:#x}",
        "destinations": [{"kind": d.kind.value, "id": d.identity} for d in state.destinations],
        "sequence": state.sequence,
        "approved": state.enrolment is not None,
        "birth-evidence": None if state.drsk is None else state.drsk.birth is not None,
        **({"one-party": None, "weaker": None} if state.drsk is None else policy_facts(state.drsk.policy)),
    }


def status(call: Call, setting: Setting) -> Answer:
    """The state of this platform, compared with its TPM."""
    state = setting.store.load()
    if state is None or state.drsk is None:
        return {"state": "unprovisioned", "owner-auth-set": setting.tpm.owner_auth_is_set()} | _lockout(setting)
    reason = diagnose(setting, state)
    answer = facts(state, None if reason is Reason.INTACT else Health.RESTORE_NEEDED)
    trust_list = trust_list_of(state)
    answer["destinations"] = [_described(destination, trust_list) for destination in state.destinations]
    known: Answer = {
        "reason": reason.value,
        "explanation": _explained(reason, state),
        "request": _request(setting, reason),
        "to-enroll": list(standing(state).to_enroll),
        "withdrawn": _withdrawn(state),
        "owner-auth-set": setting.tpm.owner_auth_is_set(),
        "lockout-auth-set": setting.tpm.lockout_auth_is_set(),
        **_lockout(setting),
    }
    return answer | known | _age(setting, state) | {"findings": _findings(state, known)}


def _lockout(setting: Setting) -> Answer:
    """What to do about a TPM that somebody guessed at, and how much that takes still; absent where nobody did."""
    locked, tries = setting.tpm.is_locked_out(), setting.tpm.tries()
    known: Answer = {"locked-out": TpmLockedOut.hint if locked else None}
    if not (locked or tries.used):
        return known
    left = max(0, tries.most - tries.used)
    return known | {"tries-left": left, "tries": tries.most, "try-recovery-s": tries.recovery_s}


def _request(setting: Setting, reason: Reason) -> str | None:
    """The digits of the restore request on its way, which its approver asks for."""
    pending = None if reason is Reason.INTACT else setting.store.load_pending()
    return None if pending is None else digits(pending.request_id)


def _explained(reason: Reason, state: PlatformState) -> str:
    """What was found in this TPM, and what the authorities said of it."""
    words = WORDS[reason]
    if reason is Reason.INTACT and state.retired_at:
        words += f", but authorities know this TPM no more: {_RETIRED}"
    if withdrawn := _withdrawn(state):
        words += f"; the owner withdrew authority {', '.join(withdrawn)}: nothing there counts, enroll another one"
    return words


def _withdrawn(state: PlatformState) -> list[str]:
    """IDs of destinations, of now or of before a restore, that the owner took back."""
    named = dict.fromkeys((*(d.identity for d in state.destinations), *state.to_enroll))
    withdrawn = withdrawn_authorities(state)
    return [identity for identity in named if identity in withdrawn]


def _described(destination: EnrolledDestination, trust_list: TrustList | None) -> Answer:
    """Kind and ID; of an authority also the Sequence of the newest package that it was seen to hold, 0 is none."""
    known: Answer = {"kind": destination.kind.value, "id": destination.identity}
    if destination.kind is DestinationKind.MIGRATION_AUTHORITY:
        listed = () if trust_list is None else trust_list.authorities
        granted = (_granted(authority) for authority in listed if str(authority.ma_id) == destination.identity)
        known |= {"held": destination.held} | next(granted, {})
    return known


def _granted(authority: TrustedAuthority) -> Answer:
    """What the owner granted it as: the store of one in software can be copied, a combined one lives with the token."""
    return {"mode": authority.mode.value, "combined": authority.combined}


def _age(setting: Setting, state: PlatformState) -> Answer:
    """When the newest package was made, and how many whole days ago."""
    if state.archived_at is None:
        return {}
    return {"archived": state.archived_at.isoformat(), "age-days": (setting.now() - state.archived_at).days}


def _findings(state: PlatformState, known: Mapping[str, Any]) -> list[str]:
    """What an administrator should see to, beside the state itself."""
    found = {
        "restored-not-enrolled": bool(known["to-enroll"]),
        "retired": bool(state.retired_at),
        "withdrawn": bool(known["withdrawn"]),
        "owner-auth-unset": not known["owner-auth-set"],
        "locked-out": known["locked-out"] is not None,
        "lockout-auth-unset": not known["lockout-auth-set"],
    }
    return [word for word, is_so in found.items() if is_so]


def handles(call: Call, setting: Setting) -> Answer:
    """All that this TPM keeps, and which of it is ours."""
    state = setting.store.load()
    ours = {} if state is None else _ours(state)
    return {"handles": [_kept(handle, public, ours) for handle, public in sorted(setting.tpm.kept().items())]}


def _ours(state: PlatformState) -> dict[Name, str]:
    known = {state.srk_name: "storage-root-key"}
    return known if state.drsk is None else known | {state.drsk.name: "recoverable-key"}


def _kept(handle: int, public: bytes, ours: Mapping[Name, str]) -> Answer:
    """A key, with its Name where that is of a hash that we know; an NV index without what is in it."""
    known: Answer = {"handle": f"{handle:#010x}", "kind": "key"}
    if handle >> 24 == NV_INDEX >> 24:
        return known | {"kind": "nv", "attributes": f"{nv_attributes(public):#010x}"}
    try:
        name = foreign_name(public)
    except MalformedStructure:
        return known
    return known | {"attributes": f"{foreign_attributes(public):#010x}", "name": str(name), "ours": ours.get(name)}


def packages(call: Call, setting: Setting) -> Answer:
    """The newest package, the places that have it, and what of the caller's it does not have, as far as it is here."""
    state = provisioned(setting)
    if state.package_id is None:
        return {"packages": []}
    newest = {"package": str(state.package_id), "sequence": state.archived, **_age(setting, state)}
    known: Answer = {"packages": [newest], "places": places_of(setting, state)}
    lacks = lacking(setting, state) if state.unarchived else None
    if lacks is None:
        return known
    return known | {"lacks": [described(entry) for entry in lacks if call.caller.may_have(entry.place.owner)]}


def authorities(call: Call, setting: Setting) -> Answer:
    """The authorities of the newest trust list here, and whether they are destinations of the keys."""
    state = provisioned(setting)
    trust_list = trust_list_of(state)
    if trust_list is None:
        return {"authorities": []}
    held = {d.identity: d.held for d in state.destinations if d.kind is DestinationKind.MIGRATION_AUTHORITY}
    listed = [_authority(authority, trust_list, held) for authority in trust_list.authorities]
    return {"trust-list": trust_list.number, "authorities": listed}


def _authority(authority: TrustedAuthority, trust_list: TrustList, held: Mapping[str, int]) -> Answer:
    identity = str(authority.ma_id)
    withdrawn = trust_list.withdrawn_since(authority.role_identity)
    return {
        "id": identity,
        "addresses": list(authority.addresses),
        **_granted(authority),
        "enrolled": identity in held,
        "held": held.get(identity, 0),
        "withdrawn": None if withdrawn is None else withdrawn.isoformat(),
    }
