"""What a token gives a new TPM in one opening: its keys, and what the authorities have to see of it (PROTOCOL §7, §8).

The succession is an enrolment, judged as every other; what it adds is the trust list after it. The platform shows
the first list with its next package, and the second one when an authority has that: it retires the TPMs before.
"""

from __future__ import annotations

from dataclasses import replace

from lms.model.owner import Owner
from lms.model.release import EnrolmentOrder, Release, ReleaseRequest, Succession
from lms.service.granting import grant
from lms.service.selection import release
from lms.wire.seed import OwnerKeys


def release_and_grant(request: ReleaseRequest, owner: Owner, keys: OwnerKeys) -> Release:
    """Release the keys, and grant the succession that is asked for with them. Raises the errors of both."""
    released = release(request, owner, keys)
    if request.enrolment is None:
        return released
    granted = grant(request.enrolment, owner, keys)
    confirmed = _alone(request.enrolment, granted.trust_list, owner, keys) if request.succeeds else None
    return replace(released, succession=Succession(granted.grant, confirmed))


def _alone(order: EnrolmentOrder, trust_list: bytes, owner: Owner, keys: OwnerKeys) -> bytes | None:
    """The trust list after this one, without the platform's other TPMs; None where it names none of them."""
    alone = grant(replace(order, trust_list=trust_list, stolen=True), owner, keys).trust_list
    return None if alone == trust_list else alone
