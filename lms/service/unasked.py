"""What `lmsd` does unasked where it finds no keys (DESIGN §3).

Into the TPM that they were in they go back at once; for another one it asks the authorities, and the owner decides. A
foreign key in their place is left alone, and a new TPM of a machine that no authority knows has nobody to ask.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from lms.errors import Denied, LmsError
from lms.model.jobs import JobState
from lms.model.packages import DestinationKind
from lms.service.diagnosis import Reason
from lms.service.jobs import JobRunner

_LOG: Final = logging.getLogger(__name__)
_RESTORE: Final = "restore"
_ABSENT: Final = frozenset({Reason.DRSK_ABSENT.value, Reason.CLEARED_TPM.value, Reason.OTHER_TPM.value})


def ask_authorities(runner: JobRunner, uid: int) -> None:
    """Begin a restore for this user where keys are gone; not beside another one, nor again after the owner's no."""
    try:
        status = runner.ask("status", {}, {}, uid)
        if _is_due(runner, status):
            number = runner.submit(_RESTORE, {"unattended": True}, {}, uid)
            _LOG.info("%s: job %d restores", status["explanation"], number)
    except LmsError as error:
        _LOG.warning("cannot find out whether keys are to be restored: %s", error)


def _is_due(runner: JobRunner, status: dict[str, Any]) -> bool:
    kinds = {destination["kind"] for destination in status.get("destinations", ())}
    held = DestinationKind.MIGRATION_AUTHORITY.value in kinds or bool(status.get("to-enroll"))
    if status.get("reason") not in _ABSENT or not (held or status["reason"] == Reason.DRSK_ABSENT.value):
        return False
    restores = [job for job in runner.jobs() if job.verb == _RESTORE]
    return not any(job.state is not JobState.FINISHED or job.error == Denied.__name__ for job in restores)
