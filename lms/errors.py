"""The one table of errors: whose fault, whether to try again, what to do next.

Every error that leaves a room of this project is a class of this module. The class name is the error's
name on every floor; its attributes give the exit code of ``lmsctl`` and the words of ``hint:``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import ClassVar, Final

AUTHORITY_PROGRAM: Final = "lms-authority"


class Blame(Enum):
    """Who has to act before the same request can succeed; the value is the exit code of `lmsctl`."""

    US = 1
    CALLER = 2
    AUTHORISATION = 3
    TPM = 4
    AUTHORITY = 5
    DOCUMENT = 6
    STATE = 7


class LmsError(Exception):
    """Base of all errors: `str(error)` says what could not be done, `hint` what to do next.

    `hints`: what to do next at another program, where its words are not those of `lmsctl`.
    """

    blame: ClassVar[Blame] = Blame.US
    retry: ClassVar[bool] = False
    hint: ClassVar[str] = "this is a defect in the service, please report it with the journal of lmsd"
    hints: ClassVar[Mapping[str, str]] = {}

    def hint_at(self, program: str) -> str:
        """What to do next, in the words of the program that shows it."""
        return self.hints.get(program, self.hint)

    @property
    def exit_code(self) -> int:
        """Exit code of `lmsctl` for this error."""
        return self.blame.value


# The caller


class BadRequest(LmsError):
    blame = Blame.CALLER
    hint = "see `--help` of this command"


class NoSuchJob(LmsError):
    blame = Blame.CALLER
    hint = "a finished job is forgotten after a day; ask for the jobs that there are"


class JobWaits(LmsError):
    blame = Blame.CALLER
    hint = "`lmsctl jobs` shows what jobs wait for; `lmsctl supply` gives it, `lmsctl cancel` ends the job"


class JobCanceled(LmsError):
    blame = Blame.CALLER
    hint = "somebody canceled it; give the same command again, it goes on where it stopped"


class TooManyJobs(LmsError):
    blame = Blame.CALLER
    retry = True
    hint = "wait for your jobs to finish, supply what they wait for, or cancel them"


class BadConfiguration(LmsError):
    blame = Blame.CALLER
    hint = "correct the configuration where it is named"


class FileProblem(LmsError):
    blame = Blame.CALLER
    hint = "check the path, its permissions and the space left on its volume"


class FileExists(FileProblem):
    hint = "nothing is ever overwritten: name another file, or remove this one first"


# Authorisation


class WrongPassword(LmsError):
    blame = Blame.AUTHORISATION
    hint = "the password does not open this token, or its file was altered; try again or use another copy"


class OwnerAuthFailed(LmsError):
    blame = Blame.AUTHORISATION
    hint = "give the TPM's owner authorisation; if it is lost, only clearing the TPM in the firmware resets it"


class AuthFailed(LmsError):
    blame = Blame.AUTHORISATION
    hint = "give the password of this entry or key; many wrong ones in a row may lock the TPM for a while"


class NotAuthorized(LmsError):
    blame = Blame.AUTHORISATION
    hint = "ask as root, or let polkit ask for an administrator's password; your own jobs and items need neither"


class EndorsementAuthFailed(AuthFailed):
    hint = "give the TPM's endorsement authorisation; if it is lost, only clearing the TPM in the firmware resets it"


# The TPM


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


class BlobRefused(LmsError):
    blame = Blame.TPM
    hint = "the blob was altered or belongs to another parent; use another copy of the package"


class ForeignKey(LmsError):
    blame = Blame.TPM
    hint = "the key at this handle is not the one that this platform recorded; find out who placed it there"


# Documents


class DocumentError(LmsError):
    """Base of everything that makes a document unacceptable."""

    blame = Blame.DOCUMENT
    hint = "use another copy; this file was altered, truncated or is not what its name says"


class TooLarge(DocumentError):
    hint = "a genuine document of this kind is never so large: check that it is the right file"


class MalformedXml(DocumentError):
    pass


class DoctypeForbidden(DocumentError):
    pass


class NotCanonical(DocumentError):
    hint = "the file was reformatted (an editor, a mail program); use the original bytes"


class SchemaViolation(DocumentError):
    pass


class WrongDocument(DocumentError):
    hint = "give the kind of document that the command asks for"


class SignatureInvalid(DocumentError):
    hint = "the document was altered after it was signed; use another copy"


class UntrustedSigner(DocumentError):
    hint = "the signer does not belong to the owner document in use; check whose file this is"


class WrongRole(DocumentError):
    hint = "the signer may not sign this, or speaks for another platform or authority: check whose file this is"


class SignerWithdrawn(DocumentError):
    hint = "the signer was withdrawn by the trust list; ask the Migration Selection Authority"


class UnsupportedVersion(DocumentError):
    hint = "a newer version of this software made the document; update first"


class PackageExpired(DocumentError):
    hint = "ask the source for a fresh package"


class PackageStale(DocumentError):
    hint = "a newer package is known; restore that one, or accept this with `--accept-stale SEQUENCE`"


class WrongDestination(DocumentError):
    hint = "the package holds nothing for this destination: use another package, or restore at another destination"


class MalformedStructure(DocumentError):
    hint = "a TPM structure in the document is damaged; use another copy"


class NameMismatch(DocumentError):
    hint = "a key is not the one that it says: a stranger put the document together, use another copy"


class BadAttributes(DocumentError):
    hint = "a key has attributes that its role forbids: use another copy, and find out who made this one"


class PolicyMismatch(DocumentError):
    hint = "a key's policy is not the one that the document states: use another copy, and find out who made this one"


class ApprovalInvalid(DocumentError):
    hint = (
        "the approval is for another key or destination, or by another owner: ask for one that names this destination"
    )


class CertificationInvalid(DocumentError):
    hint = "the evidence of the key's birth does not fit the key: use another copy, and find out who made this one"


class InnerKeyMismatch(DocumentError):
    hint = "the inner key was made for another platform, chip or key: ask for an approval of this machine's own request"


class ContentMismatch(DocumentError):
    hint = "what was decrypted belongs to another element: a stranger put the document together, use another copy"


class RequestInvalid(DocumentError):
    hint = "the request was altered on its way, or put together from several; ask the machine for a new one"


class DigitsDiffer(DocumentError):
    hint = "this is another request than the machine shows: do not approve it, find out who exchanged it"


class GrantMismatch(DocumentError):
    hint = "this grant answers another request; make a new request on this machine and have that one approved"


class TrustListConflict(DocumentError):
    hint = "two trust lists claim the same number; the first stays, ask the Migration Selection Authority"


class ApprovalExpired(DocumentError):
    hint = "the approval is not valid now: check the clock, or ask for a new approval"


class SequenceTooHigh(DocumentError):
    hint = "the platform counted further than it could have since its last package: find out who made this one"


class OwnerMismatch(DocumentError):
    hint = "compare the fingerprint of the owner document with the one that was written down"


class SheetMismatch(DocumentError):
    hint = "this is another platform's recovery sheet: give that of this machine, or none"


class SheetStale(DocumentError):
    hint = "a newer recovery sheet of this platform is known here: use that one"


# The Migration Authority


class AuthorityUnreachable(LmsError):
    blame = Blame.AUTHORITY
    retry = True
    hint = "check the network and the address of the Migration Authority; nothing was lost, try again later"


class AuthorityUntrusted(LmsError):
    blame = Blame.AUTHORITY
    hint = "who answers there is not the authority that the owner approved: find out who it is before you go on"


class AuthorityUnknown(LmsError):
    blame = Blame.STATE
    hint = "`lmsctl authorities` shows those that the owner approved; take a newer trust list with `enroll msa --grant`"
    hints: ClassVar[Mapping[str, str]] = {
        AUTHORITY_PROGRAM: "approve its enrolment first, or name the newest trust list with `--trust-list`"
    }


class NoAuthority(LmsError):
    blame = Blame.STATE
    hint = "restore with your token instead: `lmsctl restore --token FILE`"


class AuthorityFailed(LmsError):
    blame = Blame.AUTHORITY
    hint = "the authority's answer cannot be used; its operator finds the cause in its journal"


class AuthorityBusy(LmsError):
    blame = Blame.AUTHORITY
    retry = True
    hint = "the authority has too much to do; try again later"


class NotAuthenticated(LmsError):
    blame = Blame.AUTHORITY
    hint = (
        "try again; if it stays so, check the address: somebody may stand there who passes on the questions of another "
        "authority, or the TPM does not hold its keys"
    )


class SessionExpired(LmsError):
    blame = Blame.AUTHORITY
    retry = True
    hint = "the session at the authority ended: try again"


class NotAuthorised(LmsError):
    blame = Blame.AUTHORITY
    hint = "the authority knows no approval for this TPM: enroll with the Migration Selection Authority, or restore"
    hints: ClassVar[Mapping[str, str]] = {
        AUTHORITY_PROGRAM: "this station is unknown there, or withdrawn: begin again with `lms-authority station init`"
    }


class Retired(NotAuthorised):
    """An authority knows this TPM no more; `authority` is its ID, where that is at hand."""

    hint = "another TPM took this platform over, a new board's or a clone's, or the owner took this one back: ask which"

    def __init__(self, text: str, authority: str = "") -> None:
        super().__init__(text)
        self.authority = authority


class NotAtAuthority(LmsError):
    blame = Blame.AUTHORITY
    hint = "the authority holds no such document for this platform: check with `lmsctl authorities` who should have it"
    hints: ClassVar[Mapping[str, str]] = {
        AUTHORITY_PROGRAM: "`lms-authority pending` lists what waits; compare it with the machine, digit by digit"
    }


class QuotaExceeded(LmsError):
    blame = Blame.AUTHORITY
    hint = "the authority takes no more of this; wait until open requests are answered, or ask its operator"


class AboutRequest(LmsError):
    """What became of a request; `request_id` says of which, where the one who asked may know."""

    blame = Blame.AUTHORITY
    hint = "ask the owner what became of the request"

    def __init__(self, text: str, request_id: bytes | None = None) -> None:
        super().__init__(text)
        self.request_id = request_id


class ApprovalPending(AboutRequest):
    retry = True
    hint = "have the owner compare these digits and approve; then give the same command again"


class Denied(AboutRequest):
    hint = "the owner denied the request; ask why, then begin again"
    hints: ClassVar[Mapping[str, str]] = {
        AUTHORITY_PROGRAM: "a denial stands: let the machine ask again, it makes a new request with other digits"
    }


class AlreadyReleased(LmsError):
    blame = Blame.AUTHORITY
    hint = "the keys went to another TPM before: ask the owner to approve this one again, which ends that release"


class LastPackage(LmsError):
    blame = Blame.AUTHORITY
    hint = "archive a newer package first: the last good one is never deleted on a platform's word alone"


class PackageConflict(LmsError):
    blame = Blame.AUTHORITY
    hint = "an authority never overwrites: archive again, which makes a new package"


class VaultFailed(LmsError):
    blame = Blame.AUTHORITY
    hint = "the authority's database failed and nothing was kept: check its disk, its log and its rights"


class VaultTooNew(LmsError):
    blame = Blame.AUTHORITY
    hint = "a newer version of this software made the vault; update the authority first, nothing was changed"


# State


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
        AUTHORITY_PROGRAM: "name the TPM maker's CA certificates (`--ek-root`, `ek_roots`), or answer with `--vouch`"
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
    hint = "the key's policy has no branch for it: provision with `--offline-token` to let a token open it alone"


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


class LastDestination(LmsError):
    blame = Blame.STATE
    hint = "without a destination the keys end with this TPM: enroll another one first, or say `--last`"


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


class ClockUnset(LmsError):
    blame = Blame.STATE
    hint = "set the clock; it is earlier than something this platform already saw"


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
    hint = "something else works on this state directory: wait until it is done, or stop it"


# The bus


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
