"""A restore as the approver sees it: the register of an owner, requests, annexes and orders, all in software.

A new TPM is the chip of a `Platform` with another label; `restore_of` asks with its keys for the old one's.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

from lms.model.exchange import Entry, RequestBase, RestoreAnnex, RestoreRequest, VerifiedRestoreRequest
from lms.model.keys import digits
from lms.model.owner import RecoverySheet, SheetAuthority
from lms.model.release import RestorationOrder
from lms.model.trust import Pair, Role, TrustedPlatform, TrustList
from lms.wire.certificates import self_issue
from lms.wire.exchange_v1 import RESTORE_ANNEX, RESTORE_REQUEST, TRUST_LIST
from lms.wire.restoration import read_restore_request, restore_id
from lms.wire.signature import sign
from lms.wire.token_v1 import write_sheet
from tests.support.documents import NOW, Platform, SoftwareSigner, make_owner, make_package, make_platform, uuid, vault
from tests.support.exchange import NONCE, attested, trust_list

AUTHORITY = uuid("ma")
NOT_AFTER = NOW + timedelta(days=7)


def register(*platforms: Platform, **changes) -> TrustList:
    """A trust list with these platforms on the chips that they were enrolled with."""
    entries = tuple(TrustedPlatform(p.id, (Pair(p.ek.name, p.srk.name),), (p.drsk.name,)) for p in platforms)
    return replace(trust_list(), platforms=entries, vouched_eks=(), **changes)


def signed_list(value: TrustList) -> bytes:
    return sign(TRUST_LIST.write(value), make_owner().signer)


def signed_sheet(platform: Platform, sequence: int = 0, signer: SoftwareSigner | None = None) -> bytes:
    """The last sheet that was issued for a platform."""
    authority = SheetAuthority(AUTHORITY, "ma.example:8443", vault().name)
    owner = platform.world.owner
    value = RecoverySheet(platform.id, owner.document, platform.policy, (authority,), platform.drsk.public, sequence)
    return sign(write_sheet(value), signer or platform.world.signer)


def entry_of(platform: Platform, destination: str = str(AUTHORITY)) -> Entry:
    """The platform's DRSK at the MA, as its package carries it."""
    (key,) = make_package(platform).migrating_keys
    return Entry(key.key_id, destination, key.blobs[0].inner_keys)


def restore_of(platform: Platform, chip: Platform, *, at_hand: bool = True) -> RestoreRequest:
    """The platform asks for its keys on another chip; `at_hand`: it has a copy of its package."""
    signing_key = chip.signing_key.private.public_key()
    request_id = restore_id(platform.id, NONCE, chip.ek.name, chip.srk.name, chip.ak.name, signing_key)
    base = RequestBase(request_id, NONCE, chip.ek.public, (), 3)
    keys = (platform.id, chip.ak.public, attested(chip.srk, chip.ak), attested(chip.signing_key, chip.ak))
    held = (make_package(platform).header.package_id, 7, (entry_of(platform),)) if at_hand else (None, None, ())
    return RestoreRequest(base, *keys, *held)


def requester(platform: Platform, chip: Platform) -> SoftwareSigner:
    """The chip's signing key, speaking for the platform on its own word."""
    key = chip.signing_key.private
    return SoftwareSigner(key, (self_issue(platform.identity, key, NOW),))


def signed_request(platform: Platform, chip: Platform, *, at_hand: bool = True, **changes) -> bytes:
    request = replace(restore_of(platform, chip, at_hand=at_hand), **changes)
    return sign(RESTORE_REQUEST.write(request), requester(platform, chip))


def annex_to(request: bytes, platform: Platform, **changes) -> RestoreAnnex:
    """What the MA answers to a request: it holds the platform's package."""
    asked = read_restore_request(request)
    package = platform.signed(make_package(platform))
    annex = RestoreAnnex(
        request_id=asked.request_id,
        request_digest=hashlib.sha256(request).digest(),
        package_id=make_package(platform).header.package_id,
        sequence=7,
        stored=NOW,
        digest=hashlib.sha256(package).digest(),
        earlier_releases=(),
        entries=(entry_of(platform),),
    )
    return replace(annex, **changes)


def signed_annex(annex: RestoreAnnex, signer: SoftwareSigner | None = None) -> bytes:
    return sign(RESTORE_ANNEX.write(annex), signer or make_owner().signer_of(Role.MIGRATION_AUTHORITY, "ma"))


def order_for(request: bytes, platform: Platform, **changes) -> RestorationOrder:
    """What an approver orders who reads the digits at the machine and answers for its TPM."""
    asked: VerifiedRestoreRequest = read_restore_request(request)
    order = RestorationOrder(
        request=request,
        annex=None,
        digits=digits(asked.request_id),
        ek_roots=(),
        vouch=True,
        trust_list=signed_list(register(platform, make_platform("other"))),
        sheet=signed_sheet(platform),
        supersedes=(),
        now=NOW,
        not_after=NOT_AFTER,
    )
    return replace(order, **changes)
