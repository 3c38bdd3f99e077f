"""The caller has to act, or to prove who he is."""

from __future__ import annotations

from lms.errors.base import Blame, LmsError


class BadRequest(LmsError):
    blame = Blame.CALLER
    hint = "see `--help` of this command"


class NoSuchJob(LmsError):
    blame = Blame.CALLER
    hint = "a finished job is forgotten after a day; ask for the jobs that there are"


class RequestAmbiguous(LmsError):
    blame = Blame.CALLER
    hint = "give more of its digits, or its ID: `lms-authority pending --json` lists both"


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


class RegisterAbsent(FileProblem):
    hint = (
        "give the newest trust list: `--trust-list`, or `trust_list` in the table [station]; where this owner never "
        "approved anything, begin it with `lms-authority approve --new-trust-list`"
    )


class WrongPassword(LmsError):
    blame = Blame.AUTHORISATION
    hint = "the password does not open this token, or its file was altered; try again or use another copy"


class OwnerAuthFailed(LmsError):
    blame = Blame.AUTHORISATION
    hint = "give the TPM's owner authorisation, `--owner-auth`; only clearing the TPM in the firmware resets a lost one"


class AuthFailed(LmsError):
    blame = Blame.AUTHORISATION
    hint = "give the password of this entry or key; many wrong ones in a row may lock the TPM for a while"


class NotAuthorized(LmsError):
    blame = Blame.AUTHORISATION
    hint = "ask as root, or let polkit ask for an administrator's password; your own jobs and items need neither"


class EndorsementAuthFailed(AuthFailed):
    hint = (
        "give the TPM's endorsement authorisation, `--endorsement-auth`; only clearing the TPM in the firmware resets "
        "a lost one"
    )
