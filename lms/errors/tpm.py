"""The TPM refused, or is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lms.errors.base import AUTHORITY_PROGRAM, Blame, LmsError


class TpmUnavailable(LmsError):
    blame = Blame.TPM
    retry = True
    hint = "check that the TPM is enabled in the firmware and that `tcti` in the configuration names it"


class TpmLockedOut(LmsError):
    blame = Blame.TPM
    retry = True
    hint = "wait until it forgets the wrong guesses, or end it by its lock-out authorisation: tpm2_dictionarylockout -c"


class TpmBusy(LmsError):
    blame = Blame.TPM
    retry = True
    hint = "other programs use all slots of the TPM; try again shortly"


class TpmFailed(LmsError):
    blame = Blame.TPM
    hint = "the TPM refused a command that should succeed; see the journal for its response code"


class NvFull(LmsError):
    blame = Blame.TPM
    hint = "remove persistent keys or NV indices that are no longer used, then try again"


class RewrapMissing(LmsError):
    blame = Blame.TPM
    hint = (
        "give the authority the TPM that it was made with, as it was then; else make a new one, and enroll its "
        "platforms there: their other destinations have their keys meanwhile"
    )


class HandleOccupied(LmsError):
    blame = Blame.TPM
    hint = (
        "is it this owner's: `lmsctl restore` or `lmsctl provision --adopt`; another's: configure a free handle, "
        "or let it go by its Name with `lmsctl restore --replace-foreign NAME`"
    )
    hints: ClassVar[Mapping[str, str]] = {
        AUTHORITY_PROGRAM: "another key lives at this handle; take it away, or give the authority another TPM"
    }


class KeyNotFound(LmsError):
    blame = Blame.TPM
    hint = "no key lives at this handle; provision this platform or restore its keys"


class NotMigratable(LmsError):
    blame = Blame.TPM
    hint = "the key is fixed to its TPM and can never leave it: make a new one without fixedTPM and fixedParent"


class PolicyRefused(LmsError):
    blame = Blame.TPM
    hint = "the key's policy does not allow this destination; the Migration Selection Authority has to approve it"


class PcrsMissing(LmsError):
    blame = Blame.TPM
    hint = "enable the SHA-256 bank in the firmware's settings of the TPM: check that `tcti` names the right one"


class PcrsDiffer(LmsError):
    blame = Blame.TPM
    hint = "firmware, its settings or the boot changed: set them back, or make it anew with the values of now"


class BlobRefused(LmsError):
    blame = Blame.TPM
    hint = "the blob was altered or belongs to another parent; use another copy of the package"


class ForeignKey(LmsError):
    blame = Blame.TPM
    hint = "the key at this handle is not the one that this platform recorded; find out who placed it there"
