"""What was registered since the newest package: found by reading that package again, not by remembering."""

from __future__ import annotations

import hashlib

from lms.errors import LmsError
from lms.model.platform import PlatformState
from lms.model.registered import Entry
from lms.service.packing import unpack
from lms.service.setting import Setting
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.anchor import read_owner


def lacking(setting: Setting, state: PlatformState) -> tuple[Entry, ...] | None:
    """The entries that the newest package does not have as they are now; None where it is not here, or is no good."""
    document, drsk = setting.store.load_package(), state.require_drsk()
    owner = read_owner(state.owner_document)
    trust = PackageTrust(owner, setting.now(), state.platform_id, known_drsks=frozenset({drsk.name}))
    try:
        package = None if document is None else accept_package(document, trust).content
    except LmsError:
        return None
    if package is None or package.header.package_id != state.package_id:
        return None
    held = {*unpack(package, drsk.name, lambda content: hashlib.sha256(content).digest(), drsk.probe).entries}
    return tuple(entry for entry in state.registry.entries if entry not in held)
