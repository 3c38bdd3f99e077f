"""The probe: a sealed object below the DRSK whose content everybody can compute.

A restored key that unseals it is not only named like the old one, it works like it (PROTOCOL §6, end of
acceptance). It holds no secret.
"""

from __future__ import annotations

import hashlib
from typing import Final

from lms.errors import BlobRefused
from lms.model.keys import Name
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.ports import Tpm
from lms.service.setting import NO_SECRET
from lms.wire.tpm.public import Attributes, sealed_template

APPLICATION: Final = "localmigration"
LABEL: Final = "probe"
_TEMPLATE: Final = sealed_template(Attributes.NO_DA | Attributes.USER_WITH_AUTH)


def _expected(drsk: Name) -> Secret:
    return Secret(hashlib.sha256(b"localmigration:probe:1" + drsk).digest())


def make_probe(tpm: Tpm, drsk_handle: int, drsk: Name) -> SealedObject:
    """A probe below the DRSK at its handle."""
    return tpm.create(drsk_handle, _TEMPLATE, auth=NO_SECRET, data=_expected(drsk))


def prove(tpm: Tpm, parent: int, key: SealedObject, name: Name, probe: SealedObject | None) -> None:
    """Load `key` below `parent`, compare its Name, and open the probe with it. Raises BlobRefused."""
    found, content = tpm.loaded_name(parent, key, probe)
    if found != name:
        raise BlobRefused(f"cannot accept the imported key: its Name is {found.digits}, not {name.digits}")
    if probe is not None and content != _expected(name):
        raise BlobRefused("cannot accept the imported key: the probe below it does not open as it should")
