"""What a platform asks the holder of a token, and what it gets: keys wrapped to its own new chip (PROTOCOL §8)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from lms.model.keys import Name
from lms.model.tpm import Credential, OuterWrap
from lms.model.trust import Identity, Pair


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """`ek`, `srk` and `signing_key` are TPM2B_PUBLIC of the new TPM.

    `platform_id` and `trust_list` are what the platform knows, `confirmed` the DRSK Names that an unapproved
    package is taken for, `now` the platform's time. `enrolment` is what the TPM asks of the MSA beside its keys; with
    `succeeds` it takes the place of the platform's other TPMs.
    """

    package: bytes
    platform_id: UUID
    ek: bytes
    srk: bytes
    signing_key: bytes
    now: datetime
    trust_list: bytes | None
    confirmed: frozenset[Name]
    highest_sequence: int | None
    accepted_stale: int | None
    enrolment: EnrolmentOrder | None = None
    succeeds: bool = False


@dataclass(frozen=True, slots=True)
class EnrolmentOrder:
    """What an approver wants granted: the request, the digits that its machine shows, and what is known so far.

    `ek_roots` are the TPM makers' CA certificates (DER); with `vouch` the approver answers for the EK instead,
    with `replacement` for another TPM of a platform, or other keys of an authority, that is known; with `stolen` the
    platform's other TPMs are retired at once. `combined` tells that the approver shares a machine with an authority.
    """

    request: bytes
    digits: str
    ek_roots: tuple[bytes, ...]
    vouch: bool
    trust_list: bytes | None
    now: datetime
    replacement: bool = False
    combined: bool = False
    stolen: bool = False


@dataclass(frozen=True, slots=True)
class EnrolmentAnswer:
    """The signed grant for the machine, and what the approver keeps: trust list and recovery sheet, signed."""

    grant: bytes
    trust_list: bytes
    sheet: bytes | None = None


@dataclass(frozen=True, slots=True)
class RestorationOrder:
    """What an approver wants restored: the request, an authority's annex to it, the digits that the machine shows.

    `sheet` is the last one issued for the platform, `supersedes` the RequestIDs approved for it before, both from
    the approver's register. `ek_roots` and `vouch` as in `EnrolmentOrder`; `accepted_stale` is a Sequence below
    the sheet's that the approver accepts by number; with `stolen` the platform's other TPMs are retired at once.
    """

    request: bytes
    annex: bytes | None
    digits: str
    ek_roots: tuple[bytes, ...]
    vouch: bool
    trust_list: bytes
    sheet: bytes
    supersedes: tuple[bytes, ...]
    now: datetime
    not_after: datetime
    stolen: bool = False
    accepted_stale: int | None = None


@dataclass(frozen=True, slots=True)
class RestorationAnswer:
    """The signed approval for machine and authority, and what the approver keeps, signed."""

    approval: bytes
    trust_list: bytes
    sheet: bytes


@dataclass(frozen=True, slots=True)
class WithdrawalOrder:
    """What an owner takes back: all that `identity` says, or one `pair` of a platform; `trust_list` is the newest."""

    identity: Identity
    pair: Pair | None
    trust_list: bytes
    now: datetime


@dataclass(frozen=True, slots=True)
class WithdrawalAnswer:
    """The trust list from now on, signed; the one of the order where it says so already."""

    trust_list: bytes


@dataclass(frozen=True, slots=True)
class ReleasedKey:
    """One key wrapped for the new SRK; only the EK named in the request opens its inner key."""

    key_id: Name
    outer: OuterWrap
    inner_key: Credential


@dataclass(frozen=True, slots=True)
class Succession:
    """What makes a TPM known to the authorities, signed: the grant, whose trust list names it beside those before it.

    `confirmed` is the list after that one, where it takes their place: it names this TPM alone, and counts once it
    has archived (PROTOCOL §6).
    """

    grant: bytes
    confirmed: bytes | None


@dataclass(frozen=True, slots=True)
class Release:
    """The keys of a package, and a certificate (DER) for the new signing key; the succession that was ordered."""

    keys: tuple[ReleasedKey, ...]
    certificate: bytes
    succession: Succession | None = None
