"""Who a uid is: the machine's user database (DESIGN §4)."""

from __future__ import annotations

import os
import pwd

from lms.model.registered import ROOT, Caller


def caller_of(uid: int) -> Caller:
    """The user with this uid; the service's own is root here, as on a private bus. Unknown ones have their number."""
    if uid in (0, os.geteuid()):
        return ROOT
    try:
        return Caller(uid, pwd.getpwuid(uid).pw_name)
    except KeyError:
        return Caller.nameless(uid)
