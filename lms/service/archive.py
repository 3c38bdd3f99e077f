"""`archive`: everything to keep, as one signed Migration Package, at every place that keeps it (PROTOCOL §6, §8).

Needs no owner authorisation: the blobs were made when their destinations were enrolled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from uuid import UUID, uuid4

from lms.errors import LmsError, NotAuthorised, NothingEnrolled, Retired
from lms.model.packages import (
    SYSTEM,
    Certification,
    ChildKey,
    Destination,
    DestinationKind,
    Flow,
    Header,
    MigratingKey,
    MigrationBlob,
    MigrationPackage,
    Source,
)
from lms.model.platform import EnrolledDestination, PlatformState, RecoverableKey
from lms.model.recovery import RecoveryFacts
from lms.model.secret import Secret
from lms.ports import PackageArchive, RecoveryPlace
from lms.service import probe
from lms.service.enroll import standing, trust_list_of, trusted_authority, withdrawn_authorities
from lms.service.line import Line, deposit, line_of, shown_sequence
from lms.service.packing import pack
from lms.service.setting import NO_SECRET, Setting, provisioned
from lms.service.signing import signer_of
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.anchor import read_owner
from lms.wire.package_v1 import write_package
from lms.wire.signature import sign
from lms.wire.tpm.public import name_of
from lms.wire.trust_list import read_trust_list

_LABEL = "DRSK"


def archive(setting: Setting, endorsement_auth: Secret = NO_SECRET) -> PlatformState:
    """Make the next package and keep it everywhere; the state names it once a place has it.

    The package is accepted as a restorer would before anybody gets it. A place that cannot be reached keeps the
    others from nothing: its error is raised at the end, and the state stays `stale`. Raises NotProvisioned,
    NothingEnrolled, Retired, and the errors of the places that keep packages.
    """
    state = provisioned(setting)
    _require_destination(state)
    setting.step("making a package")
    refusals: list[LmsError] = []
    state, lines = _lines(setting, state, endorsement_auth, refusals)
    _require_destination(state)  # an authority may have brought the list that withdraws the last one
    state, package_id, document = _next_package(setting, state)
    setting.store.save_package(document)
    places = [partial(_deposit, line, identity, package_id, document) for identity, line in lines.items()]
    places += [partial(_keep, place, package_id, document) for place in setting.archives]
    if setting.recovery is not None:
        places.append(partial(_publish, setting.recovery, package_id, document))
    kept = not places and not refusals
    for put in places:
        setting.step("keeping the package")
        try:
            state, kept = put(state), True
        except LmsError as error:
            refusals.append(error)
            state = _without(state, error)
    if kept:
        state = replace(
            state,
            archived=state.sequence,
            package_id=package_id,
            archived_at=state.time_floor,
            unarchived=bool(refusals),
        )
    state, confirmed = _confirmed(state, lines)
    setting.store.save(state)
    if confirmed is not None:
        _show(confirmed, lines, refusals)
    if refusals:
        others = f"; {len(refusals) - 1} more places refused" if len(refusals) > 1 else ""
        raise type(refusals[0])(f"cannot archive everywhere: {refusals[0]}{others}")
    return state


def _confirmed(state: PlatformState, lines: Mapping[str, Line]) -> tuple[PlatformState, bytes | None]:
    """Where an authority has this package, the trust list without the TPMs before this one counts (PROTOCOL §6).

    With that list, which the authorities have to see then; a later one that came meanwhile stands, because what it
    says of them is the owner's newer word.
    """
    held = any(d.identity in lines and d.held == state.sequence for d in state.destinations)
    if state.confirmed_list is None or not held:
        return state, None
    document, known = state.confirmed_list, trust_list_of(state)
    state = replace(state, confirmed_list=None)
    if known is not None and read_trust_list(document, read_owner(state.owner_document)).number <= known.number:
        return state, None
    return replace(state, trust_list=document), document


def _show(trust_list: bytes, lines: Mapping[str, Line], refusals: list[LmsError]) -> None:
    """Have the authorities see a trust list now; one that does not sees it in its next session."""
    for line in lines.values():
        try:
            line.upload(trust_list)
        except LmsError as error:
            refusals.append(error)


def _require_destination(state: PlatformState) -> None:
    if not state.destinations:
        raise NothingEnrolled("cannot archive: no destination is enrolled")
    if not standing(state).destinations:
        raise NothingEnrolled("cannot archive: the owner withdrew every authority that is enrolled")


def is_archived(setting: Setting, state: PlatformState) -> bool:
    """Whether every place has the newest package, and nothing changed since: another one would tell nothing new.

    Authorities are taken at their word: they are not asked.
    """
    counted, package_id = standing(state), state.package_id
    if package_id is None or counted.unarchived or counted.retired_at or counted.confirmed_list is not None:
        return False
    authorities = [d for d in counted.destinations if d.kind is DestinationKind.MIGRATION_AUTHORITY]
    return (
        all(d.held == state.archived for d in authorities)
        and all(place.find(state.platform_id, state.archived, package_id) for place in setting.archives)
        and (setting.recovery is None or not setting.recovery.is_behind(_facts(state, package_id)))
    )


def places_of(setting: Setting, state: PlatformState) -> list[str]:
    """Where the newest package lies, in words for a person; nowhere before the first."""
    if state.package_id is None:
        return []
    held = [d.identity for d in standing(state).destinations if d.held == state.archived]
    places = [f"authority {identity}" for identity in held]
    found = [place.find(state.platform_id, state.archived, state.package_id) for place in setting.archives]
    if setting.recovery is not None:
        found.append(setting.recovery.find())
    return places + [path for path in found if path is not None]


def _lines(
    setting: Setting, state: PlatformState, endorsement_auth: Secret, refusals: list[LmsError]
) -> tuple[PlatformState, dict[str, Line]]:
    """A line to each authority that is enrolled, by its ID; the state goes on above the Sequences that they know.

    None to a withdrawn one, and it is no refusal: nothing is missing where nothing counts.
    """
    lines: dict[str, Line] = {}
    owner = read_owner(state.owner_document)
    for destination in state.destinations:
        withdrawn = destination.identity in withdrawn_authorities(state)
        if destination.kind is DestinationKind.MIGRATION_AUTHORITY and not withdrawn:
            try:
                authority = trusted_authority(trust_list_of(state), UUID(destination.identity))
                state, line = line_of(setting, state, authority, endorsement_auth)
                # It may be ahead of a disk that was brought back from a copy.
                trust = PackageTrust(owner, setting.now(), state.platform_id, trust_list=trust_list_of(state))
                state = replace(state, sequence=shown_sequence(line, state.sequence, trust))
                lines[destination.identity] = line
            except LmsError as error:
                refusals.append(error)
    # Who brought the list that withdraws it gets nothing more, either.
    return state, {i: line for i, line in lines.items() if i not in withdrawn_authorities(state)}


def _next_package(setting: Setting, state: PlatformState) -> tuple[PlatformState, UUID, bytes]:
    """The next package, signed and accepted."""
    now, package_id = setting.now(), uuid4()
    # The number is spent before the package exists: no two packages ever share one.
    state = replace(state, sequence=state.sequence + 1, time_floor=now)
    setting.store.save(state)
    package = build_package(standing(state), setting.host_name, now, package_id, setting.store.load_ciphertext)
    document = sign(write_package(package), signer_of(setting.tpm, state))
    trust = PackageTrust(
        owner=read_owner(state.owner_document),
        now=now,
        platform_id=state.platform_id,
        highest_sequence=state.sequence,
        known_drsks=frozenset({state.require_drsk().name}),
    )
    accept_package(document, trust)
    return state, package_id, document


def _deposit(line: Line, identity: str, package_id: UUID, document: bytes, state: PlatformState) -> PlatformState:
    try:
        deposit(line, package_id, document)
    except NotAuthorised as error:
        if any(d.identity == identity and d.held for d in state.destinations):
            raise Retired(f"cannot archive at authority {identity}: it knows this TPM no more", identity) from error
        raise
    return _held(state, identity)


def _keep(place: PackageArchive, package_id: UUID, document: bytes, state: PlatformState) -> PlatformState:
    place.keep(state.platform_id, state.sequence, package_id, document)
    return state


def _publish(recovery: RecoveryPlace, package_id: UUID, document: bytes, state: PlatformState) -> PlatformState:
    sheet = None if state.enrolment is None else state.enrolment.sheet
    recovery.publish(_facts(state, package_id), document, sheet)
    return state


def _facts(state: PlatformState, package_id: UUID) -> RecoveryFacts:
    return RecoveryFacts(state.drsk_handle, state.require_drsk().name, package_id)


def _held(state: PlatformState, identity: str) -> PlatformState:
    destinations = tuple(replace(d, held=state.sequence) if d.identity == identity else d for d in state.destinations)
    return replace(state, destinations=destinations, retired_at=tuple(i for i in state.retired_at if i != identity))


def _without(state: PlatformState, error: LmsError) -> PlatformState:
    """The state that knows where this TPM was retired."""
    if not isinstance(error, Retired) or error.authority in ("", *state.retired_at):
        return state
    return replace(state, retired_at=(*state.retired_at, error.authority))


def build_package(
    state: PlatformState, host_name: str, now: datetime, package_id: UUID, ciphertext: Callable[[bytes], bytes]
) -> MigrationPackage:
    """The package that a state gives at a time; `ciphertext` gives that of an item by its digest."""
    drsk = state.require_drsk()
    packed = pack(state.registry, drsk.name, ciphertext)
    refs = {d.identity: f"d{number}" for number, d in enumerate(state.destinations)}
    header = Header(
        package_id=package_id,
        flow=Flow.ARCHIVE,
        created=now,
        expires=None,
        sequence=state.sequence,
        supersedes=None,
        source=Source(state.platform_id, (state.ek_name,), state.ak_name, state.srk_name, host_name),
        destinations=tuple(
            Destination(refs[d.identity], d.kind, d.identity, name_of(d.parent)) for d in state.destinations
        ),
    )
    key = MigratingKey(
        key_id=drsk.name,
        type=drsk.policy.key_type,
        label=_LABEL,
        public=drsk.key.public,
        policy=drsk.policy,
        certification=_certification(drsk),
        blobs=tuple(_blob(d, refs[d.identity]) for d in state.destinations),
        passwords=packed.items.passwords,
        data=packed.items.data,
    )
    return MigrationPackage(header, packed.content_keys, (key,), (*_probe_of(state), *packed.child_keys))


def _certification(drsk: RecoverableKey) -> Certification | None:
    """Birth evidence, where others can check it: without its AK's certificate it stays in the state."""
    birth = drsk.birth
    if birth is None or birth.certificate is None:
        return None
    return Certification(birth.attestation, birth.creation_data, birth.certificate)


def _blob(destination: EnrolledDestination, ref: str) -> MigrationBlob:
    return MigrationBlob(ref, destination.outer, destination.symmetric, destination.inner_keys, destination.approvals)


def _probe_of(state: PlatformState) -> tuple[ChildKey, ...]:
    drsk = state.require_drsk()
    if drsk.probe is None:
        return ()
    sealed = drsk.probe
    return (
        ChildKey(
            name_of(sealed.public), drsk.name, SYSTEM, probe.APPLICATION, probe.LABEL, sealed.public, sealed.private
        ),
    )
