"""The duplication policy of a recoverable key, as its branches (PROTOCOL §2).

Only the form is here; digests are computed in `lms.wire.tpm.policy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from lms.model.keys import Name

POLICY_REF: Final = b"localmigration:duplicate:1"
MAX_APPROVAL_BRANCHES: Final = 4
MAX_OFFLINE_BRANCHES: Final = 3


class BranchKind(Enum):
    """How a branch lets a key out."""

    APPROVAL = "approval"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Branch:
    """One way out of a key: by whom it is opened.

    `name` is the Name of the approval root (`APPROVAL`) or of the recovery key (`OFFLINE`).
    """

    kind: BranchKind
    name: Name


@dataclass(frozen=True, slots=True)
class DuplicationPolicy:
    """All branches of a key in their one legal order; build it with `of`."""

    branches: tuple[Branch, ...]

    def __post_init__(self) -> None:
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
        return tuple(b.name for b in self.branches if b.kind is BranchKind.APPROVAL)

    @property
    def offline_keys(self) -> tuple[Name, ...]:
        """Names of the recovery keys that open the key without an authority, sorted."""
        return tuple(b.name for b in self.branches if b.kind is BranchKind.OFFLINE)
