"""The acts of the service, by their verbs (DESIGN §4): what `lms.boot` and the jobs of `lmsd` run.

An act takes a Call and a Setting, does what one use case ensures, and answers with plain values (JSON).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lms.service.acts.call import Answer, Call
from lms.service.acts.documents import inspect, verify
from lms.service.acts.entries import (
    keys,
    read_pcrs,
    register,
    retrieve_entry,
    seal_secret,
    unregister_entry,
    unseal_secret,
)
from lms.service.acts.facts import authorities, handles, packages, status
from lms.service.acts.platform import enroll, forget_destination, make_archive, provision_platform
from lms.service.acts.purging import purge_platform
from lms.service.acts.restore import restore
from lms.service.setting import Setting

Act = Callable[[Call, Setting], Answer]

ACTS: Final[Mapping[str, Act]] = {
    "status": status,
    "inspect": inspect,
    "verify": verify,
    "provision": provision_platform,
    "enroll": enroll,
    "forget": forget_destination,
    "archive": make_archive,
    "restore": restore,
    "register": register,
    "unregister": unregister_entry,
    "retrieve": retrieve_entry,
    "seal": seal_secret,
    "unseal": unseal_secret,
    "keys": keys,
    "pcrs": read_pcrs,
    "handles": handles,
    "packages": packages,
    "authorities": authorities,
}

ALONE: Final[Mapping[str, Act]] = {"purge": purge_platform}
"""Acts on a machine where no `lmsd` runs: one that took its own state away would have nothing to stand on."""

__all__ = ["ACTS", "ALONE", "Act", "Answer", "Call"]
