"""Policy digests without a TPM (Library Part 3, "Enhanced Authorization (EA) Commands"; PROTOCOL §2).

Every assertion takes the digest before it and gives the digest after it; SHA-256 only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from lms.model.keys import SHA256, Name
from lms.model.policies import POLICY_REF, Branch, BranchKind, DuplicationPolicy
from lms.wire.tpm.digests import digest
from lms.wire.tpm.marshal import Writer

CC_DUPLICATE: Final = 0x0000014B
_CC_POLICY_SECRET: Final = 0x00000151
_CC_POLICY_AUTHORIZE: Final = 0x0000016A
_CC_POLICY_AUTH_VALUE: Final = 0x0000016B
_CC_POLICY_COMMAND_CODE: Final = 0x0000016C
_CC_POLICY_OR: Final = 0x00000171
_CC_POLICY_PCR: Final = 0x0000017F
_CC_POLICY_DUPLICATION_SELECT: Final = 0x00000188

_PCR_SELECT_SIZE: Final = 3
OWNER_NAME: Final = bytes.fromhex("40000001")
EMPTY: Final = bytes(32)


def _extend(before: bytes, code: int, *parts: bytes) -> bytes:
    return digest(SHA256, before, code.to_bytes(4, "big"), *parts)


def _update(before: bytes, code: int, name: bytes, ref: bytes) -> bytes:
    # PolicyUpdate(): the reference is hashed in a second step, even where it is empty
    return digest(SHA256, _extend(before, code, name), ref)


def command_code(code: int, before: bytes = EMPTY) -> bytes:
    """After TPM2_PolicyCommandCode."""
    return _extend(before, _CC_POLICY_COMMAND_CODE, code.to_bytes(4, "big"))


def auth_value(before: bytes = EMPTY) -> bytes:
    """After TPM2_PolicyAuthValue."""
    return _extend(before, _CC_POLICY_AUTH_VALUE)


def pcrs(values: Mapping[int, bytes], before: bytes = EMPTY) -> bytes:
    """After TPM2_PolicyPCR of these PCRs 0 to 23 of the SHA-256 bank, which have these values."""
    selected = sum(1 << number for number in values).to_bytes(_PCR_SELECT_SIZE, "little")
    selection = Writer().u32(1).u16(SHA256).u8(len(selected)).raw(selected)
    together = digest(SHA256, *(values[number] for number in sorted(values)))
    return _extend(before, _CC_POLICY_PCR, bytes(selection), together)


def secret_owner(before: bytes = EMPTY) -> bytes:
    """After TPM2_PolicySecret of TPM_RH_OWNER with an empty policyRef."""
    return _update(before, _CC_POLICY_SECRET, OWNER_NAME, b"")


def duplication_select(new_parent: Name, key: Name | None = None, before: bytes = EMPTY) -> bytes:
    """After TPM2_PolicyDuplicationSelect; with `key`, includeObject is YES."""
    include = b"" if key is None else bytes(key)
    return _extend(before, _CC_POLICY_DUPLICATION_SELECT, include, new_parent, b"\0" if key is None else b"\1")


def authorize(key: Name, ref: bytes = POLICY_REF) -> bytes:
    """After TPM2_PolicyAuthorize by `key`: whatever was asserted before is replaced."""
    return _update(EMPTY, _CC_POLICY_AUTHORIZE, key, ref)


def policy_or(digests: Sequence[bytes]) -> bytes:
    """After TPM2_PolicyOR of 2 to 8 digests; ValueError for another number (a TPM refuses it)."""
    if not 2 <= len(digests) <= 8:
        raise ValueError("cannot build PolicyOR: it takes 2 to 8 digests")
    return _extend(EMPTY, _CC_POLICY_OR, *digests)


def branch_digest(branch: Branch) -> bytes:
    """The digest of one branch of a duplication policy."""
    if branch.name is None:
        return ADOPTED_OWNER_POLICY
    if branch.kind is BranchKind.APPROVAL:
        return secret_owner(authorize(branch.name, POLICY_REF))
    return secret_owner(duplication_select(branch.name))


def branch_digests(policy: DuplicationPolicy) -> tuple[bytes, ...]:
    """The digests that TPM2_PolicyOR takes, in order; one branch has no PolicyOR."""
    return tuple(branch_digest(branch) for branch in policy.branches)


def duplication_policy_digest(policy: DuplicationPolicy) -> bytes:
    """authPolicy of a DRSK or CMK, or of an adopted key."""
    digests = branch_digests(policy)
    return digests[0] if len(digests) == 1 else policy_or(digests)


def approval_digest(approved_policy: bytes, ref: bytes = POLICY_REF) -> bytes:
    """aHash: what an approval root signs (Library Part 3, "TPM2_PolicyAuthorize")."""
    return digest(SHA256, approved_policy, ref)


OWNER_AUTHORISED: Final = secret_owner()
"""PolicySecret(owner) alone: content keys and kept inner keys."""

MK_POLICY: Final = secret_owner(auth_value(command_code(CC_DUPLICATE)))
"""authPolicy of an MK."""

ADOPTED_OWNER_POLICY: Final = secret_owner(command_code(CC_DUPLICATE))
"""The preset `owner` of tpm_keys, which is adopted but never given to a new key."""
