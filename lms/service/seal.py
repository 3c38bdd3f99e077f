"""`seal`: a new sealed object below the DRSK, registered at once, so that it survives (DESIGN §4; PROTOCOL §4).

It has neither fixedTPM nor fixedParent and no PCR policy: a new board has other PCRs.
"""

from __future__ import annotations

from typing import Final

from lms.errors import BadRequest
from lms.model.registered import Caller, RegisteredKey
from lms.model.secret import Secret
from lms.service.register import Where, at_home, keep_entry, new_place
from lms.service.setting import Setting
from lms.wire.tpm.public import Attributes, name_of, sealed_template

MAX_SEALED: Final = 128
_TEMPLATE: Final = sealed_template(Attributes.NO_DA | Attributes.USER_WITH_AUTH)


def seal(setting: Setting, caller: Caller, where: Where, value: Secret, auth: Secret) -> RegisteredKey:
    """Seal 1 to 128 bytes under an own authorisation, which may be empty.

    Raises BadRequest, RegistryFull, StillNeeded, NotRegistered.
    """
    if not 0 < len(value) <= MAX_SEALED:
        raise BadRequest(f"cannot seal {len(value)} bytes: 1 to {MAX_SEALED}; register more as data")
    state = at_home(setting)
    place = new_place(caller, where)
    made = setting.tpm.create(state.drsk_handle, _TEMPLATE, auth=auth, data=value)
    entry = RegisteredKey(place, name_of(made.public), state.require_drsk().name, made)
    keep_entry(setting, state, entry)
    return entry
