"""`withdraw`: the owner takes an identity, or one TPM of a platform, back (PROTOCOL §5, §6).

Shown first, confirmed by a person, signed in `lms.opener`; the register has the next trust list before anybody else.
A station hands it to the owner's authorities, also to one that is withdrawn: its machines hear it there. Without a
station it is carried. What a machine or an authority was not told yet, it does not know.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from lms.assembly import utc_now
from lms.authority.desk import Answer, configuration_of, register_of, token_of, with_token
from lms.authority.keys import check_apart
from lms.authority.queue import enrolled_station, opened_queues
from lms.authority.register import Register
from lms.errors import BadRequest, NotEnrolled
from lms.model.keys import same_digits
from lms.model.release import WithdrawalAnswer, WithdrawalOrder
from lms.model.trust import Identity, Pair, Role, TrustedPlatform, TrustList
from lms.terminal import read_line, say, show
from lms.wire.anchor import read_owned_token
from lms.wire.record import read_record
from lms.wire.trust_list import read_trust_list

_YES: Final = "yes"
_SPELLING: Final = "say platform:UUID, ma:UUID, station:UUID or signer:UUID"
_CARRIED: Final = "to the authorities (`lms-authority take`) and the machines (`lmsctl enroll msa --grant`)"


@dataclass(frozen=True, slots=True)
class _Kind:
    """What withdrawing means where a role is concerned, and whom the register knows in it."""

    means: str
    known: Callable[[Register, TrustList], frozenset[UUID]]


_KINDS: Final[Mapping[Role, _Kind]] = {
    Role.PLATFORM: _Kind(
        "authorities give it nothing and take nothing from it, and it is neither restored there nor enrolled again "
        "under this ID; the token still opens packages from before",
        lambda register, listed: frozenset(p.platform_id for p in listed.platforms),
    ),
    Role.MIGRATION_AUTHORITY: _Kind(
        "no machine archives there or restores from there any more: what lies nowhere else is lost; "
        "enroll its machines at another one",
        lambda register, listed: frozenset(a.ma_id for a in listed.authorities),
    ),
    Role.STATION: _Kind(
        "it sees and denies nothing in the queues any more",
        lambda register, listed: register.stations(),
    ),
    Role.SIGNER: _Kind(
        "nothing that it signs from now on is believed",
        lambda register, listed: frozenset(),
    ),
}
_ONE_TPM: Final = "this TPM of the platform gets nothing more at the authorities, unless it is approved anew"


def withdraw(arguments: argparse.Namespace) -> Answer:
    """Show what would be taken back, ask, and take it back; already so, the list is handed over once more."""
    if not arguments.combined:
        check_apart(configuration_of(arguments))
    register = register_of(arguments)
    _, owner = read_owned_token(token_of(arguments))
    known = read_trust_list(register.trust_list(), owner)
    identity = _identity(arguments.identity, register, known)
    pair = None if arguments.pair is None else _pair(arguments.pair, identity, known)
    facts = _facts(identity, pair, register, known)
    if pair is not None or known.withdrawn_since(identity) is None:
        _confirm(arguments, facts)
    if enrolled_station(arguments) is None:
        changed = _signed(arguments, register, identity, pair)[1]
        say("lms-authority", f"bring '{register.path}' {_CARRIED}")
        return facts | {"trust-list": str(register.path), "changed": changed}
    return facts | _handed_over(arguments, register, identity, pair)


def _signed(
    arguments: argparse.Namespace, register: Register, identity: Identity, pair: Pair | None
) -> tuple[bytes, bool]:
    """The newest trust list, which is in the register by now, and whether it is another one than before."""
    with register.locked():
        before = register.trust_list()
        order = WithdrawalOrder(identity, pair, before, utc_now())
        answer = read_record(WithdrawalAnswer, with_token(arguments, "withdraw", order))
        register.keep(answer.trust_list)
    return answer.trust_list, answer.trust_list != before


def _handed_over(arguments: argparse.Namespace, register: Register, identity: Identity, pair: Pair | None) -> Answer:
    # Opened before: the authority that is withdrawn is asked, too, and so is each by a station that withdraws itself.
    with opened_queues(arguments) as queues:
        queues.check_register(queues.lines)
        queues.refusals.clear()
        trust_list, changed = _signed(arguments, register, identity, pair)
        taken = queues.where_possible(queues.lines, lambda line: line.upload(trust_list))
        if len(taken) < len(queues.lines):
            say("lms-authority", f"bring '{register.path}' by hand {_CARRIED}")
        return {
            "trust-list": str(register.path),
            "changed": changed,
            "taken-by": [str(line.ma_id) for line, _ in taken],
            "unreached": queues.shown(),
        }


def _identity(text: str, register: Register, known: TrustList) -> Identity:
    """Whom somebody means: `ROLE:UUID`, or a UUID that the register knows in one role. Raises BadRequest."""
    role_text, colon, uuid_text = text.rpartition(":")
    try:
        found = UUID(uuid_text)
        roles = (
            [Role(role_text)] if colon else [r for r, kind in _KINDS.items() if found in kind.known(register, known)]
        )
    except ValueError:
        raise BadRequest(f"cannot read '{text}': {_SPELLING}") from None
    if len(roles) != 1 or roles[0] not in _KINDS:
        raise BadRequest(f"cannot tell what '{text}' is: {_SPELLING}")
    return Identity(roles[0], found)


def _pair(said: str, identity: Identity, known: TrustList) -> Pair:
    """The TPM that somebody means by the digits of its EK or its SRK. Raises NotEnrolled, BadRequest."""
    platform = _platform(identity, known)
    if platform is None:
        raise NotEnrolled("cannot withdraw a TPM: the trust list knows no such platform")
    found = [p for p in platform.pairs if any(same_digits(said, n.digest) for n in (p.ek_name, p.srk_name))]
    if not found:
        raise NotEnrolled(f"cannot withdraw TPM '{said}': the platform has {', '.join(map(_tpm, platform.pairs))}")
    if len(found) > 1:
        raise BadRequest(f"cannot choose a TPM by its EK: give the SRK's digits of {', '.join(map(_tpm, found))}")
    return found[0]


def _platform(identity: Identity, known: TrustList) -> TrustedPlatform | None:
    return known.platform(identity.uuid) if identity.role is Role.PLATFORM and identity.uuid is not None else None


def _tpm(pair: Pair) -> str:
    return f"EK {pair.ek_name.digits} SRK {pair.srk_name.digits}"


def _facts(identity: Identity, pair: Pair | None, register: Register, known: TrustList) -> Answer:
    """What it means, and whom it concerns; `known` is false of what the register never heard of."""
    kind, since = _KINDS[identity.role], known.withdrawn_since(identity)
    platform = _platform(identity, known)
    facts: Answer = {
        "withdraw": identity.urn.removeprefix("urn:localmigration:"),
        "known": identity.uuid in kind.known(register, known),
        "since": None if since is None else since.isoformat(),
        "means": kind.means if pair is None else _ONE_TPM,
    }
    if platform is not None:
        concerned = platform.pairs if pair is None else (pair,)
        facts |= {"tpms": [_tpm(p) for p in concerned], "keys": [name.digits for name in platform.drsk_names]}
    if identity.role is Role.MIGRATION_AUTHORITY:
        facts |= {
            "addresses": [address for a in known.authorities if a.role_identity == identity for address in a.addresses],
            "machines": len(known.platforms),
            "left": [str(a.ma_id) for a in known.standing_authorities if a.role_identity != identity],
        }
    return facts


def _confirm(arguments: argparse.Namespace, facts: Answer) -> None:
    """Raises BadRequest where nobody says that it shall be."""
    if sys.stdin.isatty():
        show(facts, as_json=False, out=sys.stderr)
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise BadRequest("cannot withdraw without being told that it is meant: this is no terminal, give --yes")
    if read_line(f"type '{_YES}' to withdraw it; nothing takes that back").lower() != _YES:
        raise BadRequest("cannot withdraw: it was not confirmed")
