"""`forget`: a destination that shall hold nothing more of this platform (DESIGN §4). Needs no TPM.

What it holds already it keeps. The next package does not name it.
"""

from __future__ import annotations

from dataclasses import replace

from lms.errors import LastDestination
from lms.model.platform import PlatformState
from lms.service.setting import Setting, provisioned


def forget(setting: Setting, identity: str, *, last: bool) -> tuple[PlatformState, bool]:
    """The state without this destination, written down; False where it is none already.

    Raises NotProvisioned, LastDestination where no other is left, unless that is said by `last`.
    """
    state = provisioned(setting)
    destinations = tuple(d for d in state.destinations if d.identity != identity)
    to_enroll = tuple(i for i in state.to_enroll if i != identity)
    if (destinations, to_enroll) == (state.destinations, state.to_enroll):
        return state, False
    if not last and not destinations and not to_enroll:
        raise LastDestination(f"cannot forget '{identity}': it is the last destination of the keys")
    was_one = destinations != state.destinations
    unarchived = state.unarchived or (was_one and state.package_id is not None)
    state = replace(state, destinations=destinations, to_enroll=to_enroll, unarchived=unarchived)
    setting.store.save(state)
    return state, True
