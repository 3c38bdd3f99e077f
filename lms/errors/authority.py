"""A Migration Authority, or the way to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lms.errors.base import AUTHORITY_PROGRAM, Blame, LmsError


class AuthorityUnreachable(LmsError):
    blame = Blame.AUTHORITY
    retry = True
    hint = "check the network and the address of the Migration Authority; nothing was lost, try again later"


class AuthoritySlow(AuthorityUnreachable):
    hint = "the Migration Authority, or the line to it, takes too long; nothing was lost, try again later"


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
