"""Why a machine needs a restore: found by looking at its TPM, changing nothing (DESIGN §3)."""

from __future__ import annotations

from enum import Enum
from typing import Final

from lms.model.platform import PlatformState
from lms.service.setting import Setting
from lms.wire.tpm.public import name_of


class Reason(Enum):
    """Why a restore is needed, as found by looking; INTACT where it is not."""

    INTACT = "intact"
    DRSK_ABSENT = "drsk-absent"
    FOREIGN_KEY = "foreign-key"
    OTHER_TPM = "other-tpm"
    CLEARED_TPM = "cleared-tpm"
    NO_STATE = "no-state"


WORDS: Final = {
    Reason.INTACT: "the recoverable key is in its place",
    Reason.DRSK_ABSENT: "the recoverable key is gone from its handle",
    Reason.FOREIGN_KEY: "another key lives at the handle of the recoverable key",
    Reason.OTHER_TPM: "this machine has another TPM than the one it was provisioned with: "
    "it has a new board, or its disk is a clone of another machine's",
    Reason.CLEARED_TPM: "the TPM was cleared",
    Reason.NO_STATE: "this machine does not know which platform it is",
}


def diagnose(setting: Setting, state: PlatformState | None) -> Reason:
    """Why this machine needs a restore, by looking at the TPM; changes nothing."""
    if state is None:
        return Reason.NO_STATE
    found = setting.tpm.read_public(state.drsk_handle)
    srk = setting.tpm.read_public(state.srk_handle)
    # Where another SRK is, the key was put back without this state, by a rescue system: nothing else here works.
    stranger = srk is not None and name_of(srk) != state.srk_name
    if found is not None and name_of(found) == state.require_drsk().name and not stranger:
        return Reason.INTACT
    if state.ek_name not in {name_of(ek.public) for ek in setting.tpm.endorsement_keys()}:
        return Reason.OTHER_TPM
    if found is not None and name_of(found) != state.require_drsk().name:
        return Reason.FOREIGN_KEY
    return Reason.CLEARED_TPM if srk is None or stranger else Reason.DRSK_ABSENT
