"""`luks reseal`: tokens that open no more are made anew, with the values of now; what still opens stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lms.apps.acts import Acts, Answer
from lms.apps.luks.changing import Change
from lms.apps.luks.checking import required, useless
from lms.apps.luks.listing import described
from lms.apps.luks.ours import Home
from lms.model.secret import Secret


def reseal(
    acts: Acts, path: Path, directory: Path, passphrase: Callable[[], Secret], pin: Callable[[], Secret]
) -> Answer:
    """A new slot and token in the place of those that open no more, and why they did not.

    Raises VolumeNotEnrolled, PassphraseRefused, OnlyTpmOpens, and what `check` raises beside TokenUseless.
    """
    home = Home.of(acts)
    with Change.of(acts, path, directory) as change:
        reasons = {found: useless(change, found, home, pin) for found in required(change, home)}
        stale = {found: reason for found, reason in reasons.items() if reason is not None}
        if not stale:
            found = next(iter(reasons))
            row = described(found.slot, found.token, home)
            return {"uuid": change.uuid, **row, "changed": change.keep_header()}
        person = change.person(passphrase)
        binding = next(iter(stale)).token.binding
        own = pin() if binding.pin else Secret(b"")
        slot, token = change.add(person, binding, own, tuple(found.slot for found in stale))
        told = {"changed": True, "reason": "; ".join(dict.fromkeys(stale.values()))}
        return {"uuid": change.uuid, **described(slot, token, home), **told}
