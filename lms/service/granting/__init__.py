"""What an MSA grants to platforms and Migration Authorities that ask to be enrolled (PROTOCOL §6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lms.model.owner import Owner
from lms.model.release import EnrolmentAnswer, EnrolmentOrder
from lms.model.trust import Role
from lms.service.granting.authority import grant_authority
from lms.service.granting.platform import grant_platform
from lms.wire.enrolment import enrolment_role
from lms.wire.seed import OwnerKeys

_GRANTS: Final[Mapping[Role, Callable[[EnrolmentOrder, Owner, OwnerKeys], EnrolmentAnswer]]] = {
    Role.PLATFORM: grant_platform,
    Role.MIGRATION_AUTHORITY: grant_authority,
}


def grant(order: EnrolmentOrder, owner: Owner, keys: OwnerKeys) -> EnrolmentAnswer:
    """Judge an enrolment request and grant it. Raises the errors of `grant_platform` or `grant_authority`."""
    return _GRANTS[enrolment_role(order.request)](order, owner, keys)
