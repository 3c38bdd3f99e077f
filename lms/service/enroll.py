"""`enroll`: make a destination hold the DRSK's blob; `provision`ed begins with the first (PROTOCOL §3, §8)."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from lms.errors import AuthorityUnknown, DestinationNotAllowed
from lms.model.packages import DestinationKind, InnerKey, MsaApproval
from lms.model.platform import EnrolledDestination, PlatformState
from lms.model.policies import Branch, BranchKind
from lms.model.secret import Secret
from lms.model.trust import Role, TrustedAuthority, TrustList
from lms.service.setting import NO_SECRET, Setting, provisioned
from lms.wire.anchor import read_owner
from lms.wire.approvals import check_approved
from lms.wire.tpm.credential import make_credential
from lms.wire.tpm.inner_key import inner_plaintext
from lms.wire.tpm.policy import OWNER_AUTHORISED, duplication_select
from lms.wire.tpm.public import Attributes, name_of, sealed_template
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC
from lms.wire.trust_list import read_trust_list

# An inner key is kept on this chip only, for its owner only, so that a copy can be proven without the MSA.
_KEPT = sealed_template(Attributes.FIXED_TPM | Attributes.FIXED_PARENT | Attributes.NO_DA, OWNER_AUTHORISED)


def enroll_token(setting: Setting, owner_auth: Secret) -> tuple[PlatformState, bool]:
    """Enroll the owner's token as a destination, by its public half alone; False where it is one already.

    Raises NotProvisioned, OwnerAuthFailed, DestinationNotAllowed (the key has no offline branch).
    """
    state = provisioned(setting)
    owner = read_owner(state.owner_document)
    policy = state.require_drsk().policy
    if not policy.owner_alone and owner.recovery_key_name not in policy.offline_keys:
        raise DestinationNotAllowed("cannot enroll the token: the key's policy has no offline branch for it")
    branch = policy.way(Branch(BranchKind.OFFLINE, owner.recovery_key_name))
    kind = DestinationKind.RECOVERY_TOKEN
    return _enroll(setting, state, kind, owner.token_id, owner.recovery_key, branch, (), owner_auth)


def enroll_authority(setting: Setting, ma_id: UUID | None, owner_auth: Secret) -> tuple[PlatformState, bool]:
    """Enroll a Migration Authority that the owner's trust list names; False where it is a destination already.

    Without `ma_id` the only one there is. The network is not used: the vault's public and its approval are the
    MSA's word. Raises NotProvisioned, AuthorityUnknown, OwnerAuthFailed, PolicyRefused or ApprovalInvalid (a false
    approval).
    """
    state = provisioned(setting)
    owner = read_owner(state.owner_document)
    authority = trusted_authority(trust_list_of(state), ma_id)
    kind, identity = DestinationKind.MIGRATION_AUTHORITY, str(authority.ma_id)
    policy = state.require_drsk().policy
    if policy.owner_alone:  # then the TPM does not look at approvals
        approved = duplication_select(name_of(authority.vault))
        check_approved(authority.approvals, approved, (owner.approval_root_name,), identity)
    branch = policy.way(Branch(BranchKind.APPROVAL, owner.approval_root_name))
    return _enroll(setting, state, kind, identity, authority.vault, branch, authority.approvals, owner_auth)


def trust_list_of(state: PlatformState) -> TrustList | None:
    """The newest trust list that this platform has, verified."""
    return None if state.trust_list is None else read_trust_list(state.trust_list, read_owner(state.owner_document))


def withdrawn_authorities(state: PlatformState) -> frozenset[str]:
    """IDs of the authorities that the newest trust list here withdraws."""
    trust_list = trust_list_of(state)
    listed = () if trust_list is None else trust_list.withdrawn
    return frozenset(str(w.identity.uuid) for w in listed if w.identity.role is Role.MIGRATION_AUTHORITY)


def standing(state: PlatformState) -> PlatformState:
    """The state as it counts: without withdrawn authorities, and stale where the newest package counts on one."""
    withdrawn = withdrawn_authorities(state)
    counted_on = any(d.identity in withdrawn and d.held == state.archived for d in state.destinations)
    return replace(
        state,
        destinations=tuple(d for d in state.destinations if d.identity not in withdrawn),
        to_enroll=tuple(i for i in state.to_enroll if i not in withdrawn),
        unarchived=state.unarchived or (counted_on and state.package_id is not None),
    )


def trusted_authority(trust_list: TrustList | None, ma_id: UUID | None) -> TrustedAuthority:
    """The authority with this ID, or the only one. Raises AuthorityUnknown."""
    if trust_list is None:
        raise AuthorityUnknown("cannot find the authority: no trust list is here yet, `lmsctl enroll msa` brings one")
    known = trust_list.standing_authorities
    found = tuple(a for a in known if ma_id in (None, a.ma_id))
    if len(found) == 1:
        return found[0]
    if not found:
        raise AuthorityUnknown("cannot find the authority: the owner's trust list here names no such one")
    names = ", ".join(str(a.ma_id) for a in found)
    raise AuthorityUnknown(f"cannot choose an authority: the trust list names {names}")


def enroll_again(setting: Setting, state: PlatformState, owner_auth: Secret) -> PlatformState:
    """After a restore: the destinations that held the keys before, as far as this platform knows them yet.

    An authority takes nothing from a TPM that the owner did not approve: it stays on the list until a grant is taken.
    """
    owner = read_owner(state.owner_document)
    for identity in state.to_enroll:
        try:
            if identity == owner.token_id:
                enroll_token(setting, owner_auth)
            elif state.enrolment is not None:
                enroll_authority(setting, UUID(identity), owner_auth)
        except AuthorityUnknown:
            continue  # it stays on the list: a trust list that names it may come
    return provisioned(setting)


def _enroll(
    setting: Setting,
    state: PlatformState,
    kind: DestinationKind,
    identity: str,
    parent: bytes,
    branch: Branch,
    approvals: tuple[MsaApproval, ...],
    owner_auth: Secret,
) -> tuple[PlatformState, bool]:
    """Duplicate the DRSK to a destination's parent; the inner key goes to the recovery key and stays sealed here."""
    if any((d.identity, d.parent) == (identity, parent) for d in state.destinations):
        return state, False
    setting.step("wrapping the key for a destination")
    drsk = state.require_drsk()
    recovery_key = read_owner(state.owner_document).recovery_key
    recipient = name_of(recovery_key)
    duplicated = setting.tpm.duplicate(state.drsk_handle, parent, drsk.policy, branch, approvals, owner_auth)
    plaintext = inner_plaintext(duplicated.inner_key.reveal(), state.platform_id, drsk.name)
    enrolled = EnrolledDestination(
        kind=kind,
        identity=identity,
        parent=parent,
        outer=duplicated.outer,
        symmetric=AES_128_CFB_SYMMETRIC,
        inner_keys=(InnerKey(recipient, make_credential(recovery_key, plaintext, recipient)),),
        approvals=approvals,
        kept_inner_key=setting.tpm.create(state.srk_handle, _KEPT, auth=NO_SECRET, data=duplicated.inner_key),
    )
    others = tuple(d for d in state.destinations if d.identity != identity)
    state = replace(
        state,
        destinations=(*others, enrolled),
        to_enroll=tuple(i for i in state.to_enroll if i != identity),
        unarchived=state.package_id is not None,
    )
    setting.store.save(state)
    return state, True
