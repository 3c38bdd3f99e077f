"""Something has to be so first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lms.errors.base import AUTHORITY_PROGRAM, Blame, LmsError


class UnconfirmedPackage(LmsError):
    blame = Blame.STATE
    hint = "compare platform, date and key with the recovery sheet, then say `--confirm-key` with these digits"


class NotProvisioned(LmsError):
    blame = Blame.STATE
    hint = "run `lmsctl provision` first"


class PlatformUnknown(NotProvisioned):
    hint = "say which it is: `lmsctl restore` with `--sheet FILE`, or with `--token FILE --package FILE`"


class EkUntrusted(LmsError):
    blame = Blame.STATE
    hint = "add its maker's CA certificates to `ek_roots`; one that has none is taken as it is with `--unverified-tpm`"
    hints: ClassVar[Mapping[str, str]] = {
        AUTHORITY_PROGRAM: "name the CA certificates of the TPM's maker in `ek_roots`, or take it as it is: "
        "`lms-authority init --unverified-tpm`, `lms-authority approve --vouch`"
    }


class NotInitialised(LmsError):
    blame = Blame.STATE
    hint = "run `lms-authority init`; for a station `lms-authority station init`, then `lms-authority station enroll`"


class NobodyServed(LmsError):
    blame = Blame.STATE
    hint = "have an owner approve the request of `lms-authority init`, then take the grant with `lms-authority enroll`"


class VaultLost(LmsError):
    blame = Blame.STATE
    hint = "its TPM was cleared or replaced: this authority's packages open no more; make a new one for the platforms"


class SharedWithAuthority(LmsError):
    blame = Blame.STATE
    hint = "keep the token on a station of its own, or say `lms-authority approve --combined`, which every grant tells"


class FingerprintUnconfirmed(LmsError):
    blame = Blame.STATE
    hint = "compare it with what the owner wrote down, then give it with `--fingerprint`"


class DestinationNotAllowed(LmsError):
    blame = Blame.STATE
    hint = (
        "the key's policy does not let it go there: enroll another destination; for a token, provision a key with "
        "`--offline-token`, which it opens alone"
    )


class NothingEnrolled(LmsError):
    blame = Blame.STATE
    hint = "run `lmsctl enroll` first: an archive without a destination could never be restored"


class RegisterStale(LmsError):
    blame = Blame.STATE
    hint = "give the newest trust list: from an old one, a number would be given out twice"


class NotEnrolled(LmsError):
    blame = Blame.STATE
    hint = "the trust list does not know it: approve its enrolment first, or give the newest trust list"


class TakeOver(LmsError):
    blame = Blame.STATE
    hint = "find out if it has a new board or is a clone; `lms-authority approve --replacement` approves its new keys"


class RestoreFirst(LmsError):
    blame = Blame.STATE
    hint = "bring the keys back first: `lmsctl restore`, with `--token FILE` or through your authorities"


class TokenAbsent(LmsError):
    blame = Blame.STATE
    hint = "`lmsctl restore` when the machine is up; or begin again with the medium of `recovery_token` plugged in"


class Unanswered(LmsError):
    blame = Blame.AUTHORISATION
    hint = "`lmsctl restore --token FILE` when the machine is up, or begin again and give the password"


class LastDestination(LmsError):
    blame = Blame.STATE
    hint = "without a destination the keys end with this TPM: enroll another one first, or say `--last`"


class StillProtecting(LmsError):
    blame = Blame.STATE
    hint = "unregister what is needed no more, and bring to an end what was begun; or say `lmsctl purge --lose`"


class PurgeUnconfirmed(LmsError):
    blame = Blame.STATE
    hint = "run `lmsctl purge`, look at what it lists, then give its digits with `--confirm`"


class StateDamaged(LmsError):
    blame = Blame.STATE
    hint = "bring the file back from a backup; or move it away, and `lmsctl restore` makes it anew from a package"


class AlreadyProvisioned(LmsError):
    blame = Blame.STATE
    hint = "this platform is provisioned otherwise: give what was given then, as `lmsctl status` shows it"


class CloneOrReplacement(LmsError):
    blame = Blame.STATE
    hint = "has it a new board, `lmsctl restore`; is its disk a clone of another's, `lmsctl provision --new-platform`"


class NotAClone(LmsError):
    blame = Blame.STATE
    hint = "this machine is the recorded platform: leave `--new-platform` out; are its keys gone, `lmsctl restore`"


class NotAdoptable(LmsError):
    blame = Blame.STATE
    hint = "only this owner's recoverable key is adopted; take the other away, or configure a free `drsk_handle`"


class WeakerKey(LmsError):
    blame = Blame.STATE
    hint = (
        "take it with `lmsctl provision --adopt --weaker`, or make a new key at a free `drsk_handle`: the owner "
        "authorisation of any TPM that holds this one takes it out in the clear, for ever"
    )


class ClockUnset(LmsError):
    blame = Blame.STATE
    hint = "set the clock: it is earlier than this software, or than something that this machine already saw"


class NotRegistered(LmsError):
    blame = Blame.STATE
    hint = "`lmsctl keys` lists what you registered"


class StillNeeded(LmsError):
    blame = Blame.STATE
    hint = "unregister what hangs below this key first"


class RegistryFull(LmsError):
    blame = Blame.STATE
    hint = "unregister something: a package has at most 64 MiB, and one user at most 64 entries and 2 MiB of it"


class CiphertextLost(LmsError):
    blame = Blame.STATE
    hint = "unregister this item, or register it again; an older package may still hold it"


class ProgramNotStarted(LmsError):
    blame = Blame.STATE
    retry = True
    hint = "memory, processes or descriptors ran out: end other programs and try again, or install this one again"


class Busy(LmsError):
    blame = Blame.STATE
    retry = True
    hint = (
        "wait until that is done; where it is lmsd, leave `--no-daemon` out, or stop it before (systemctl stop "
        "lms.service): it works on its state as long as it runs"
    )
    hints: ClassVar[Mapping[str, str]] = {
        AUTHORITY_PROGRAM: "wait until that is done; where it is the authority that serves, stop it before "
        "(systemctl stop lms-authority.service)"
    }
