"""`luks enroll`: the recoverable key opens a volume at boot, beside what opens it already."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lms.apps.acts import Acts, Answer
from lms.apps.luks.changing import Change
from lms.apps.luks.checking import require_use
from lms.apps.luks.listing import described
from lms.apps.luks.ours import Home
from lms.apps.luks.token import Binding
from lms.errors import EnrolledOtherwise
from lms.model.secret import Secret


def enroll(
    acts: Acts, path: Path, directory: Path, passphrase: Callable[[], Secret], binding: Binding, pin: Secret
) -> Answer:
    """Seal a fresh passphrase, add its slot and token, and open the volume by them.

    Enrolled in the same way already, it is proven, and nothing changes but the header that packages carry. Raises
    EnrolledOtherwise, TokenUseless, PassphraseRefused, OnlyTpmOpens, SlotsFull, Busy, and what stops an act.
    """
    home = Home.of(acts)
    with Change.of(acts, path, directory) as change:
        for found in change.ours():
            if found.token.binding != binding:
                raise EnrolledOtherwise(f"cannot enroll '{path}': it is enrolled already, with other PCRs or a PIN")
            require_use(change, found, home, lambda: pin)
            change.know(found)
            row = described(found.slot, found.token, home)
            return {"uuid": change.uuid, **row, "changed": change.keep(found)}
        slot, token = change.add(change.person(passphrase), binding, pin)
        return {"uuid": change.uuid, **described(slot, token, home), "changed": True}
