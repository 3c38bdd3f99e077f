"""What a DRSK looks like: as we make it, or with the preset policy `owner`, as tpm_keys makes it (PROTOCOL §1, §2)."""

from __future__ import annotations

from typing import Final

from lms.model.owner import Owner
from lms.model.policies import PRESET_OWNER, DuplicationPolicy
from lms.wire.tpm.policy import ADOPTED_OWNER_POLICY, duplication_policy_digest
from lms.wire.tpm.public import DRSK_ATTRIBUTES, Attributes, PublicArea

_WITHOUT_NO_DA: Final = DRSK_ATTRIBUTES & ~Attributes.NO_DA


def is_recoverable(area: PublicArea) -> bool:
    """Whether these are exactly a DRSK's attributes; tpm_keys leaves out noDA, and only its keys may lack it."""
    return area.attributes == DRSK_ATTRIBUTES or (is_preset(area) and area.attributes == _WITHOUT_NO_DA)


def is_preset(area: PublicArea) -> bool:
    """Whether the owner authorisation alone lets the key out."""
    return area.policy == ADOPTED_OWNER_POLICY


def policy_under(area: PublicArea, owner: Owner) -> DuplicationPolicy | None:
    """The branches of a DRSK, found by recomputing its policy from what this owner has; the preset is anybody's.

    None where no policy of these gives its digest.
    """
    roots = (owner.approval_root_name,)
    for policy in (DuplicationPolicy.of(roots), DuplicationPolicy.of(roots, (owner.recovery_key_name,)), PRESET_OWNER):
        if duplication_policy_digest(policy) == area.policy:
            return policy
    return None
