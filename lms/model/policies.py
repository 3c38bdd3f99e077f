"""The duplication policy of a recoverable key, as its branches (PROTOCOL §2).

Only the form is here; digests are computed in `lms.wire.tpm.policy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from lms.model.keys import KeyType, Name

POLICY_REF: Final = b"localmigration:duplicate:1"
MAX_APPROVAL_BRANCHES: Final = 4
MAX_OFFLINE_BRANCHES: Final = 3


class BranchKind(Enum):
    """How a branch lets a key out."""

    APPROVAL = "approval"
    OFFLINE = "offline"
    OWNER = "owner"


@dataclass(frozen=True, slots=True)
class Branch:
    """One way out of a key: by whom it is opened.

    `name` is the Name of the approval root (`APPROVAL`) or of the recovery key (`OFFLINE`). `OWNER` has none: it is
    the preset of that name, where the owner authorisation alone takes the key anywhere.
    """

    kind: BranchKind
    name: Name | None = None

    def __post_init__(self) -> None:
        if (self.name is None) != (self.kind is BranchKind.OWNER):
            raise ValueError("cannot build a branch: all but the preset `owner` have a Name")


@dataclass(frozen=True, slots=True)
class DuplicationPolicy:
    """All branches of a key in their one legal order; build it with `of`.

    `PRESET_OWNER` is the one without an approval branch: no key is made with it, those that have it are adopted.
    """

    branches: tuple[Branch, ...]

    def __post_init__(self) -> None:
        if self.owner_alone:
            return
        approval, offline = self.approval_roots, self.offline_keys
        if not 1 <= len(approval) <= MAX_APPROVAL_BRANCHES or len(offline) > MAX_OFFLINE_BRANCHES:
            raise ValueError("cannot build a policy: 1 to 4 approval and at most 3 offline branches")
        expected = tuple(Branch(BranchKind.APPROVAL, n) for n in sorted(set(approval))) + tuple(
            Branch(BranchKind.OFFLINE, n) for n in sorted(set(offline))
        )
        if self.branches != expected:
            raise ValueError("cannot build a policy: its branches are not sorted or not distinct")

    @classmethod
    def of(cls, approval_roots: tuple[Name, ...], offline_keys: tuple[Name, ...] = ()) -> DuplicationPolicy:
        """The policy with these branches, sorted as PROTOCOL §2 asks."""
        return cls(
            tuple(Branch(BranchKind.APPROVAL, n) for n in sorted(approval_roots))
            + tuple(Branch(BranchKind.OFFLINE, n) for n in sorted(offline_keys))
        )

    @property
    def approval_roots(self) -> tuple[Name, ...]:
        """Names of the approval roots, sorted."""
        return self._names(BranchKind.APPROVAL)

    @property
    def offline_keys(self) -> tuple[Name, ...]:
        """Names of the recovery keys that open the key without an authority, sorted."""
        return self._names(BranchKind.OFFLINE)

    @property
    def owner_alone(self) -> bool:
        """Whether it is the preset `owner`: weaker, because the owner authorisation alone takes the key anywhere."""
        return self.branches == (Branch(BranchKind.OWNER),)

    @property
    def key_type(self) -> KeyType:
        """What a key with this policy is: a CMK has an approval branch."""
        return KeyType.MK if self.owner_alone else KeyType.CMK

    def way(self, branch: Branch) -> Branch:
        """The branch that lets the key out where `branch` would: the preset has but one."""
        return self.branches[0] if self.owner_alone else branch

    def _names(self, kind: BranchKind) -> tuple[Name, ...]:
        return tuple(b.name for b in self.branches if b.kind is kind and b.name is not None)


PRESET_OWNER: Final = DuplicationPolicy((Branch(BranchKind.OWNER),))
"""That of tpm_keys: PolicyCommandCode(Duplicate), PolicySecret(owner)."""
