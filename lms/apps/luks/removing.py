"""`luks remove`: our tokens and slots leave a volume that a person can open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lms.apps.acts import Acts, Answer
from lms.apps.luks.changing import Change
from lms.model.secret import Secret


def remove(acts: Acts, path: Path, directory: Path, passphrase: Callable[[], Secret]) -> Answer:
    """Take away what we added, after a passphrase of a person has opened the volume; none there is already so.

    Raises OnlyTpmOpens, PassphraseRefused, Busy.
    """
    with Change.of(acts, path, directory) as change:
        slots = tuple(sorted({found.slot for found in change.ours()}))
        if slots:
            change.person(passphrase)
            change.drop(slots)
        return {"uuid": change.uuid, "removed": list(slots), "changed": bool(slots)}
