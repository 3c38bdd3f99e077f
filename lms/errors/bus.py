"""The bus, and who is on it."""

from __future__ import annotations

from lms.errors.base import Blame, LmsError


class BusUnavailable(LmsError):
    blame = Blame.STATE
    retry = True
    hint = "check that the bus which `bus` in the configuration names is running, and that you may use it"


class BusAbsent(BusUnavailable):
    """Nobody listens there at all: no service of ours can be on it either."""


class ServiceAbsent(LmsError):
    blame = Blame.STATE
    hint = "start lmsd; without it each act is done at once by `lmsctl` itself, and there are no jobs"


class ServiceGone(LmsError):
    blame = Blame.STATE
    retry = True
    hint = "an unfinished job goes on when lmsd is back: `lmsctl jobs` shows it; lmsd's journal says why it ended"


class BusNameTaken(LmsError):
    blame = Blame.STATE
    hint = "another lmsd serves this bus: stop it, or give this one another `bus`"


class BusRefused(LmsError):
    blame = Blame.STATE
    hint = "check that lmsd is running on this bus, and that its version is the one of this program"


class NoAnswer(LmsError):
    blame = Blame.STATE
    retry = True
    hint = "the service is busy or hangs: see its journal"
