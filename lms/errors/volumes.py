"""An encrypted volume is not as it has to be."""

from __future__ import annotations

from lms.errors.base import Blame, LmsError


class NotLuks2(LmsError):
    blame = Blame.CALLER
    hint = (
        "name a LUKS2 device, or the file that holds its header where that is detached; LUKS1 becomes LUKS2 with "
        "cryptsetup convert"
    )


class HeaderDamaged(LmsError):
    blame = Blame.STATE
    hint = (
        "bring the header back (cryptsetup luksHeaderRestore): the kept one comes from `lmsctl retrieve`, the one from "
        "before a change that was cut lies below `applications_directory`"
    )


class CryptsetupFailed(LmsError):
    blame = Blame.STATE
    hint = "see what cryptsetup says; run as root, and try again"


class VolumeReencrypting(LmsError):
    blame = Blame.STATE
    retry = True
    hint = "wait until cryptsetup reencrypt is through with it"


class PassphraseRefused(LmsError):
    blame = Blame.AUTHORISATION
    hint = "give a passphrase, key file or recovery key that opens this volume without a TPM"


class OnlyTpmOpens(LmsError):
    blame = Blame.STATE
    hint = "add a passphrase or recovery key first (cryptsetup luksAddKey): it opens the volume when the TPM does not"


class SlotsFull(LmsError):
    blame = Blame.STATE
    hint = "remove a key slot or token that is no longer used: cryptsetup luksKillSlot, cryptsetup token remove"


class VolumeNotEnrolled(LmsError):
    blame = Blame.STATE
    hint = "`lmsctl luks list` says what opens it; `lmsctl luks enroll` lets the recoverable key open it"


class EnrolledOtherwise(LmsError):
    blame = Blame.STATE
    hint = "give the same PCRs, and a PIN as it has one; or `lmsctl luks remove` it first"


class AnotherVolume(LmsError):
    blame = Blame.STATE
    hint = (
        "give one of the two another UUID (cryptsetup luksUUID); where this one was reencrypted or made anew, remove "
        "the records of its UUID below `applications_directory`"
    )


class BindingUnproven(LmsError):
    blame = Blame.STATE
    hint = (
        "say what has to open it: `--pcrs NUMBERS`, `--with-pin` or both, or `--without-binding`; who can write to the "
        "volume may have altered its header"
    )


class TokenUseless(LmsError):
    blame = Blame.STATE
    hint = "make it anew: `lmsctl luks reseal`"
