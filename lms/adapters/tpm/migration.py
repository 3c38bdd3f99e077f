"""TPM2_Duplicate through one branch of a key's policy, TPM2_Rewrap and TPM2_Import (PROTOCOL §2, §3).

The inner key crosses the bus encrypted by a salted session beside the policy session; TPM2_Rewrap never sees one.
"""

from __future__ import annotations

from typing import Any

from tpm2_pytss.constants import ESYS_TR
from tpm2_pytss.types import (
    TPM2B_DATA,
    TPM2B_ENCRYPTED_SECRET,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPML_DIGEST,
    TPMT_SIGNATURE,
    TPMT_SYM_DEF_OBJECT,
)

from lms.adapters.tpm import sessions
from lms.adapters.tpm.context import Context, read
from lms.adapters.tpm.responses import FAILURE, SIZE, VALUE, doing
from lms.errors import BadAttributes, BadRequest, BlobRefused, DestinationNotAllowed, NotMigratable, PolicyRefused
from lms.model.keys import Name
from lms.model.packages import MsaApproval
from lms.model.policies import Branch, BranchKind, DuplicationPolicy
from lms.model.secret import Secret
from lms.model.tpm import OuterWrap, SealedObject
from lms.ports import DuplicatedKey
from lms.wire.tpm.policy import CC_DUPLICATE, approval_digest, branch_digests, duplication_select
from lms.wire.tpm.public import RECOVERY_ATTRIBUTES, Attributes, name_of, read_public
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC

_BLOB = {VALUE: BlobRefused, SIZE: BlobRefused, FAILURE: BlobRefused}  # libtpms fails on a seed for another RSA key
_APPROVAL = {VALUE: PolicyRefused, SIZE: PolicyRefused}
_NEVER = Attributes.FIXED_TPM | Attributes.FIXED_PARENT
_STORAGE = Attributes.RESTRICTED | Attributes.DECRYPT


def _require_migratable(public: bytes) -> None:
    """Response codes do not tell: the public area does."""
    if read_public(public).attributes & _NEVER:
        raise NotMigratable("cannot duplicate the key: it has fixedTPM or fixedParent")


def _require_storage(new_parent: bytes) -> None:
    if read_public(new_parent).attributes & _STORAGE != _STORAGE:
        raise BadAttributes("cannot wrap the key for its new parent: that is no storage key")


def _require_end(new_parent: bytes) -> None:
    """A peer would hold the key as this machine does, and its owner's authorisation would let it out there."""
    attributes = read_public(new_parent).attributes
    if not attributes & Attributes.FIXED_TPM and attributes != RECOVERY_ATTRIBUTES:
        raise DestinationNotAllowed(
            "cannot duplicate the key to a peer: with the preset policy `owner` it goes to a token or an authority"
        )


def _includes_key(key: Name, new_parent: Name, approvals: tuple[MsaApproval, ...]) -> bool:
    """Whether the innermost approval names the key as well as the parent (includeObject)."""
    if not approvals:
        raise PolicyRefused("cannot duplicate the key: nobody approved this destination")
    approved = approvals[0].approved_policy
    if approved == duplication_select(new_parent, key):
        return True
    if approved == duplication_select(new_parent):
        return False
    raise PolicyRefused("cannot duplicate the key: the approval is for another destination or another key")


def _authorize(tpm: Context, session: Any, approval: MsaApproval) -> None:
    """One link of the approval chain: its signature becomes a ticket, the ticket the new policy digest."""
    if len(approval.approved_policy) != 32 or len(approval.policy_ref) > 32:
        raise PolicyRefused("cannot accept the approval: its policy is no SHA-256 digest, or its reference too long")
    digest = approval_digest(approval.approved_policy, approval.policy_ref)
    signature = read(TPMT_SIGNATURE, approval.signature)
    with doing("accept the approval", _APPROVAL):
        with tpm.loaded_public(approval.public) as key:
            ticket = tpm.esapi.verify_signature(key, digest, signature)
        tpm.esapi.policy_authorize(
            session, approval.approved_policy, bytes(name_of(approval.public)), ticket, approval.policy_ref
        )


def _open_branch(
    tpm: Context, session: Any, branch: Branch, key: Name, new_parent: Name, approvals: tuple[MsaApproval, ...]
) -> None:
    """Everything of a branch before PolicySecret(owner)."""
    if branch.kind is BranchKind.OWNER:
        with doing("say what is to be done with the key"):
            tpm.esapi.policy_command_code(session, CC_DUPLICATE)
        return
    approved = branch.kind is BranchKind.APPROVAL
    include = approved and _includes_key(key, new_parent, approvals)
    if not approved and new_parent != branch.name:
        raise PolicyRefused("cannot duplicate the key: its offline branch is for another recovery key")
    with doing("select the destination"):
        tpm.esapi.policy_duplication_select(session, bytes(key), bytes(new_parent), include_object=include)
    for approval in approvals if approved else ():
        _authorize(tpm, session, approval)


def duplicate(
    tpm: Context,
    handle: int,
    new_parent: bytes,
    policy: DuplicationPolicy,
    branch: Branch,
    approvals: tuple[MsaApproval, ...],
    owner_auth: Secret,
) -> DuplicatedKey:
    """TPM2_Duplicate with an inner wrap whose key the TPM makes."""
    if branch not in policy.branches:
        raise BadRequest("cannot duplicate the key: its policy has no such branch")
    _require_storage(new_parent)
    if branch.kind is BranchKind.OWNER:
        _require_end(new_parent)
    salted = sessions.confidential(tpm)
    with sessions.policy(tpm) as session, tpm.persistent(handle) as key:
        public = tpm.public(key)
        _require_migratable(public)
        _open_branch(tpm, session, branch, name_of(public), name_of(new_parent), approvals)
        sessions.policy_secret(tpm, session, ESYS_TR.OWNER, owner_auth, salted)
        if len(policy.branches) > 1:
            with doing("satisfy the key's policy", {VALUE: PolicyRefused}):
                tpm.esapi.policy_or(session, TPML_DIGEST(list(branch_digests(policy))))
        with tpm.loaded_public(new_parent) as parent, doing("duplicate the key"):
            inner_key, duplicated, seed = tpm.esapi.duplicate(
                key, parent, None, read(TPMT_SYM_DEF_OBJECT, AES_128_CFB_SYMMETRIC), session1=session, session2=salted
            )
    return DuplicatedKey(Secret(bytes(inner_key)), OuterWrap(bytes(duplicated.marshal()), bytes(seed.marshal())))


def rewrap(tpm: Context, handle: int, auth: Secret, key_id: Name, outer: OuterWrap, new_parent: bytes) -> OuterWrap:
    """TPM2_Rewrap from a persistent key, which takes that key's authorisation and leaves the inner wrap as it is."""
    _require_storage(new_parent)
    duplicated, seed = read(TPM2B_PRIVATE, outer.duplicate), read(TPM2B_ENCRYPTED_SECRET, outer.seed)
    session = sessions.confidential(tpm)
    with (
        tpm.persistent(handle) as old_parent,
        tpm.authorised(old_parent, auth),
        tpm.loaded_public(new_parent) as parent,
        doing("pass the blob on", {**_BLOB, **sessions.OF_THE_OBJECT}),
    ):
        passed, new_seed = tpm.esapi.rewrap(old_parent, parent, duplicated, bytes(key_id), seed, session1=session)
    return OuterWrap(bytes(passed.marshal()), bytes(new_seed.marshal()))


def import_key(
    tpm: Context, parent: int, public: bytes, outer: OuterWrap, symmetric: bytes, inner_key: Secret
) -> SealedObject:
    """TPM2_Import below a persistent parent."""
    if len(inner_key) > 32:
        raise BlobRefused("cannot import the key: this is no inner key")
    area, inner_wrap = read(TPM2B_PUBLIC, public), read(TPMT_SYM_DEF_OBJECT, symmetric)
    duplicated, seed = read(TPM2B_PRIVATE, outer.duplicate), read(TPM2B_ENCRYPTED_SECRET, outer.seed)
    session = sessions.carrying(tpm, inner_key)
    with tpm.persistent(parent) as above, doing("import the key", _BLOB):
        private = tpm.esapi.import_(
            above, TPM2B_DATA(inner_key.reveal()), area, duplicated, seed, inner_wrap, session1=session
        )
    return SealedObject(public, bytes(private.marshal()))
