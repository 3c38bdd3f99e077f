"""`luks reseal`: tokens that open no more are made anew, with the values of now; what still opens stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lms.apps.acts import Acts, Answer
from lms.apps.luks.changing import Change
from lms.apps.luks.checking import OTHERWISE, required, useless
from lms.apps.luks.listing import described
from lms.apps.luks.ours import Found, Home
from lms.apps.luks.token import Binding
from lms.errors import BindingUnproven, EnrolledOtherwise
from lms.model.secret import Secret


def reseal(
    acts: Acts,
    path: Path,
    directory: Path,
    passphrase: Callable[[], Secret],
    pin: Callable[[], Secret],
    said: Binding | None = None,
) -> Answer:
    """A new slot and token in the place of those that open no more, and why they did not.

    They are bound as the volume was enrolled, or as it is `said`. Raises VolumeNotEnrolled, BindingUnproven,
    EnrolledOtherwise, PassphraseRefused, OnlyTpmOpens, and what `check` raises beside TokenUseless.
    """
    home = Home.of(acts)
    with Change.of(acts, path, directory) as change:
        reasons = {found: useless(change, found, home, pin) for found in required(change)}
        stale = {found: reason for found, reason in reasons.items() if reason is not None}
        if not stale:
            found = next(iter(reasons))
            if said is not None and said != found.token.binding:
                raise EnrolledOtherwise(f"cannot reseal '{path}': it opens, with other PCRs or a PIN")
            row = described(found.slot, found.token, home)
            return {"uuid": change.uuid, **row, "changed": change.keep(found)}
        binding = _enrolled(change, tuple(stale)) if said is None else said
        person = change.person(passphrase)
        own = pin() if binding.pin else Secret(b"")
        slot, token = change.add(person, binding, own, tuple(sorted({found.slot for found in stale})))
        told = {"changed": True, "reason": "; ".join(dict.fromkeys(stale.values()))}
        return {"uuid": change.uuid, **described(slot, token, home), **told}


def _enrolled(change: Change, stale: tuple[Found, ...]) -> Binding:
    """What the volume was enrolled with: who can write to its header can take PIN and PCRs away in that alone."""
    binding = change.records.known().binding
    if binding is None:
        raise BindingUnproven(f"cannot reseal '{change.volume.path}': what it was bound to stands in its header alone")
    if any(found.token.binding != binding for found in stale):
        raise BindingUnproven(f"cannot reseal '{change.volume.path}': {OTHERWISE}")
    return binding
