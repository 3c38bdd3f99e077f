"""The act `purge`. Without `confirm` it shows what is left, and takes nothing away."""

from __future__ import annotations

from dataclasses import asdict

from lms.names import OWNER_AUTH
from lms.service.acts.call import Answer, Call
from lms.service.purge import Purging, confirmation, found_remains, losses, purge
from lms.service.setting import Setting


def purge_platform(call: Call, setting: Setting) -> Answer:
    """What is left of a platform here, what would be lost with it, and the digits that say it shall go."""
    begun = tuple((call.text("begun") or "").splitlines())
    order = Purging(archives=call.flag("archives"), evict=call.flag("evict"), begun=begun)
    confirmed = call.text("confirm")
    state = setting.store.load()
    answer = {
        "platform": None if state is None else str(state.platform_id),
        "confirm": confirmation(state, order),
        "lost": losses(state, order),
        "remains": [asdict(one) for one in found_remains(setting, state, order)],
    }
    if confirmed is not None:
        purge(setting, order, confirmed, call.secret(OWNER_AUTH), lose=call.flag("lose"))
    return answer
