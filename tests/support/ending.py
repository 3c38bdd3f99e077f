"""What an act left behind, in words that are the same for every run that ended well (see `tests.support.world`)."""

from __future__ import annotations

import hashlib
from typing import Any

from lms.adapters.store import JobFile
from lms.model.jobs import JobState
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE
from lms.model.trust import Pair, TrustList
from lms.service.diagnosis import diagnose
from lms.service.enroll import trust_list_of
from lms.wire.package_v1 import read_package
from tests.support.platform import PRECIOUS
from tests.support.world import Rows, World


def end_of(world: World) -> dict[str, Any]:
    """State, TPM, packages and the authority's rows. Numbers that a killed run spent are compared, not told."""
    return _state(world) | _keys(world) | _packages(world) | _rows(_rows_of(world))


def _rows_of(world: World) -> Rows:
    return world.house.rows(world.platform, world.office.world.owner.fingerprint)


def _state(world: World) -> dict[str, Any]:
    state, store = world.platform.state, world.platform.store
    listed = trust_list_of(state)
    kept = {file.name for file in (world.platform.state_directory / "items").glob("*")}
    return {
        "health": state.health,
        "algorithm and handles": (state.algorithm, state.srk_handle, state.drsk_handle),
        "destinations": [(d.kind, d.identity, d.parent, d.held == state.archived) for d in state.destinations],
        "all numbers that were spent are archived": state.sequence == state.archived,
        "unarchived": state.unarchived,
        "to enroll": state.to_enroll,
        "enrolled": state.enrolment is not None,
        "request on its way": (state.request_nonce is not None, store.load_pending() is not None),
        "trust list": None if listed is None else (listed.number, _tpms(world, listed)),
        "trust list that waits for an archive": state.confirmed_list is not None,
        "entries": sorted(str(entry.place) for entry in state.registry.entries),
        "ciphertexts that nobody names": kept - {digest.hex() for digest in state.registry.digests},
        "unfinished jobs": [r for r in _journal(world) if r.job.state is not JobState.FINISHED],
    }


def _tpms(world: World, listed: TrustList) -> list[bool]:
    """Of each TPM of the platform that the owner approved whether it is this one."""
    state = world.platform.state
    platform = listed.platform(state.platform_id)
    return [] if platform is None else [p == Pair(state.ek_name, state.srk_name) for p in platform.pairs]


def _journal(world: World):
    return JobFile(world.platform.state_directory).load().records


def _keys(world: World) -> dict[str, Any]:
    platform = world.platform
    state = platform.state
    drsk = state.require_drsk()
    platform.tpm.trust_salt(state.srk_name)
    found = {
        "diagnosis": diagnose(platform.setting, state),
        "SRK in its place": platform.key_at(SRK_HANDLE) == state.srk_name,
        "DRSK in its place": platform.key_at(DRSK_HANDLE) == drsk.name,
        "policy": len(drsk.policy.offline_keys),
        "birth evidence": drsk.birth is not None,
        "works": platform.unseal(platform.seal()) == PRECIOUS,
    }
    if world.child is not None:  # the keys are older than the act
        found |= {"DRSK": drsk.name, "platform": state.platform_id}
        found["the consumer's child opens"] = platform.unseal(world.child) == PRECIOUS
    return found


def _packages(world: World) -> dict[str, Any]:
    """The newest package is the same wherever it is kept, and no two have one number."""
    state, newest = world.platform.state, world.platform.store.load_package()
    if newest is None:
        return {"newest package": None}
    content = read_package(newest).content
    numbers = [read_package(path.read_bytes()).content.header.sequence for path in world.platform.packages]
    rows = _rows_of(world).packages
    digest = hashlib.sha256(newest).digest()
    return {
        "newest package": (content.header.package_id == state.package_id, content.header.sequence == state.archived),
        "in the archive": world.platform.packages[-1].read_bytes() == newest,
        "at the authority": bool(rows) and rows[0].digest == digest and rows[0].sequence == state.archived,
        "outside the root": newest in [f.read_bytes() for f in (world.platform.directory / "boot").glob("*")],
        "numbers twice": sorted(numbers) != sorted(set(numbers)),
        "keys in it": [(key.key_id, [b.destination for b in key.blobs]) for key in content.migrating_keys],
        "items in it": len(content.content_keys),
    }


def _rows(rows: Rows) -> dict[str, Any]:
    return {
        "requests": sorted((r.kind.value, r.state.value) for r in rows.requests),
        "releases": sorted((r.ended, r.confirmed, r.stolen, len(r.retires)) for r in rows.releases),
        "marked": [p for p in rows.packages if p.marked is not None],
    }
