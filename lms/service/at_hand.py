"""The packages that a machine finds by itself: in its state, outside its root, in its archives (DESIGN §4).

A machine that lost its state knows no Sequence. What lies here with a higher one is somebody's claim, but nobody
restores an older package beside it unknowingly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from uuid import UUID

from lms.errors import BadRequest, LmsError
from lms.model.packages import Header, sequence_ceiling
from lms.model.recovery import KeptPackage
from lms.service.setting import Setting
from lms.wire.package_v1 import read_package


def package_at_hand(setting: Setting, platform_id: UUID | None) -> bytes | None:
    """The state's package; on a machine without one the newest of this platform. None where there is none.

    Without a PlatformID it is that of the copy outside the root, else the only one in the archives. Raises BadRequest
    where these hold several platforms' packages, FileProblem.
    """
    package = setting.store.load_package()
    if package is not None:
        return package
    copied, header = _copied(setting)
    if platform_id is None and header is not None:
        platform_id = header.source.platform_id
    kept = [one for one in _archived(setting) if platform_id in (None, one.platform_id)]
    if len({one.platform_id for one in kept}) > 1:
        raise BadRequest(
            "cannot choose a package: the archives hold those of several platforms;"
            " name one with --package, or the platform with --sheet"
        )
    newest = max(kept, key=lambda one: one.sequence, default=None)
    if newest is None or newest.sequence <= _sequence_of(header, newest.platform_id):
        return copied
    return newest.load()


def highest_at_hand(setting: Setting, header: Header) -> int | None:
    """The highest Sequence that a package of the platform of this one has here, by its file's name; None without any.

    A number that it cannot have reached since then is nobody's.
    """
    platform_id = header.source.platform_id
    ceiling = sequence_ceiling(header.sequence, header.created, setting.now())
    _, copied = _copied(setting)
    found = [one.sequence for one in _archived(setting) if one.platform_id == platform_id]
    return max((n for n in (*found, _sequence_of(copied, platform_id)) if 0 < n <= ceiling), default=None)


def _archived(setting: Setting) -> Iterator[KeptPackage]:
    for place in setting.archives:
        with suppress(LmsError):  # what cannot be looked at keeps the others from nothing
            yield from place.newest()


def _copied(setting: Setting) -> tuple[bytes | None, Header | None]:
    """The copy outside the root, and its header where that can be read."""
    copied = None if setting.recovery is None else setting.recovery.package()
    with suppress(LmsError):
        return copied, None if copied is None else read_package(copied).content.header
    return copied, None


def _sequence_of(header: Header | None, platform_id: UUID) -> int:
    """0 for no package, and for another platform's."""
    return header.sequence if header is not None and header.source.platform_id == platform_id else 0
