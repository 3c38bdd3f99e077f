"""Whether packages carry the header of a volume as it is now: looked at from outside, by who changes nothing of it."""

from __future__ import annotations

from pathlib import Path

from lms.apps.acts import Acts
from lms.apps.luks.changing import Change
from lms.apps.luks.records import Records
from lms.apps.luks.volume import Volume
from lms.files import is_directory


def header_is_kept(acts: Acts, path: Path, directory: Path) -> bool | None:
    """Compare the header with the digest of the one that was registered last; None where this machine registered none.

    Raises NotLuks2, Busy, StateDamaged and what stops cryptsetup.
    """
    with Volume.opened(path) as volume:
        uuid = volume.uuid()
    if not is_directory(directory / "luks" / uuid):
        return None
    with Records.of(directory, uuid) as (records, _):
        known, begun = records.known().header, records.plan() is not None
    if begun or not known:
        return False if begun else None  # who goes on with what was begun is a verb of `luks`, not who looks
    with Change.of(acts, path, directory) as change:
        return change.header_is_kept()
