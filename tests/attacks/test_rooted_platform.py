"""Root on an enrolled machine is the attacker's: it has the session and the signing key, and wants the copies gone.

It may add packages and mark them (PROTOCOL §7, DESIGN §3). It cannot take away what was there before it came. The
positive control is always the same act as the honest machine does it. What is counted and weighed (quotas) is tested
in software alone: no vault looks at that.
"""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise

import pytest

from lms.errors import (
    BlobRefused,
    LastPackage,
    NameMismatch,
    NotAtAuthority,
    NotAuthorised,
    PackageConflict,
    PackageStale,
    SequenceTooHigh,
    SignatureInvalid,
    UntrustedSigner,
    WrongDestination,
    WrongRole,
)
from lms.model.authorities import Kind
from lms.model.packages import ItemUsage
from lms.model.tpm import OuterWrap
from lms.service.keeping import Limits
from lms.wire.package_v1 import read_package
from lms.wire.tpm.wrap import wrap_outer
from tests.support.asking import House, certified
from tests.support.documents import make_package, make_platform, migrating_key

NEIGHBOUR = make_platform("neighbour")


@pytest.fixture
def house(tmp_path, chip_in_both_modes):
    made = House(tmp_path, chip=chip_in_both_modes)
    yield made
    made.vault.close()


@pytest.fixture
def platform(house):
    return house.enrol(make_platform())


def archive(house, platform, sequence):
    return house.asker(platform).upload(house.package(platform, sequence))


def history(house, platform, count):
    """An archive a day."""
    for sequence in range(1, count + 1):
        archive(house, platform, sequence)
        house.later(days=1)


def rewritten(house, platform, sequence=2, signer=None, **changes):
    """A package by the rooted machine: its parts as it likes, its signature good."""
    whole = read_package(house.package(platform, sequence)).content
    return platform.signed(replace(whole, **changes), signer or certified(platform, platform))


def with_blob(house, platform, outer, sequence=2):
    """A package whose blob for the authority is this one."""
    (key,) = read_package(house.package(platform, sequence)).content.migrating_keys
    keys = (replace(key, blobs=(replace(key.blobs[0], outer=outer),)),)
    return rewritten(house, platform, sequence, migrating_keys=keys)


def junk(house, platform, sequence):
    """A package that opens at the authority, and holds nothing."""
    return with_blob(house, platform, wrap_outer(house.identity.vault, platform.drsk.name, os.urandom(200)), sequence)


# --- deleting ---


def test_the_last_package_is_not_marked(house, platform):
    history(house, platform, 3)
    asker = house.asker(platform)
    newest, *others = house.kept(platform)
    for package in others:
        assert asker.delete(str(package.package_id)).changed
    with pytest.raises(LastPackage):
        asker.delete(str(newest.package_id))


def test_a_mark_takes_nothing_for_as_long_as_the_retention(house, platform):
    history(house, platform, 3)
    asker = house.asker(platform)
    for package in house.kept(platform)[1:]:
        asker.delete(str(package.package_id))
    house.later(days=89)
    archive(house, platform, 4)
    assert house.sequences(platform) == [1, 2, 3, 4]
    for package in house.kept(platform):
        assert house.asker(platform).download(Kind.PACKAGE, str(package.package_id)) != b""
    house.later(days=1)
    archive(house, platform, 5)
    assert house.sequences(platform) == [1, 3, 4, 5]  # the second is gone, the oldest stays


def test_a_mark_is_not_renewed(house, platform):
    history(house, platform, 3)
    marked = house.kept(platform)[1]
    receipts = [house.asker(platform).delete(str(marked.package_id)) for _ in range(2)]
    assert [r.changed for r in receipts] == [True, False]
    before = house.kept(platform)[1].marked
    house.later(days=5)
    house.asker(platform).delete(str(marked.package_id))
    assert house.kept(platform)[1].marked == before


def test_the_oldest_package_outlives_junk_whatever_is_marked_and_however_long_it_waits(house, platform):
    """The authority is blind: junk looks good to it. What was there first is never taken by the platform."""
    history(house, platform, 3)
    first = house.kept(platform)[-1]
    archive_of_first = house.asker(platform).download(Kind.PACKAGE, str(first.package_id))
    asker = house.asker(platform)
    asker.upload(junk(house, platform, 4))
    for package in house.kept(platform)[1:]:
        asker.delete(str(package.package_id))
    for sequence in range(5, 9):
        house.later(days=100)
        house.asker(platform).upload(junk(house, platform, sequence))
        for package in house.kept(platform)[1:]:
            house.asker(platform).delete(str(package.package_id))
    assert house.sequences(platform)[0] == 1
    assert house.asker(platform).download(Kind.PACKAGE, str(first.package_id)) == archive_of_first


def test_the_highest_sequence_is_not_forgotten_by_marking_it(house, platform):
    history(house, platform, 3)
    house.asker(platform).delete(str(house.kept(platform)[0].package_id))
    house.later(days=200)
    with pytest.raises(PackageStale):
        archive(house, platform, 3)
    archive(house, platform, 4)


def test_anothers_package_is_not_there_to_be_deleted(house, platform):
    house.enrol(NEIGHBOUR)
    history(house, platform, 2)
    history(house, NEIGHBOUR, 2)
    theirs = house.kept(NEIGHBOUR)[0]
    with pytest.raises(NotAtAuthority):
        house.asker(platform).delete(str(theirs.package_id))
    with pytest.raises(NotAtAuthority):
        house.asker(platform).download(Kind.PACKAGE, str(theirs.package_id))
    assert house.asker(NEIGHBOUR).delete(str(theirs.package_id)).changed


# --- flooding ---


@pytest.mark.parametrize("unit", ["count", "bytes"])
def test_a_flood_thins_itself_out_and_what_was_there_before_it_stays(tmp_path, unit):
    size = len(House(tmp_path, name="scale").package(make_platform(), 1))
    limits = Limits(packages=12) if unit == "count" else Limits(quota=12 * size + size // 2)
    house = House(tmp_path, limits=limits)
    platform = house.enrol(make_platform())
    history(house, platform, 8)
    for sequence in range(9, 30):
        house.later(seconds=1)
        archive(house, platform, sequence)
        assert len(house.kept(platform)) <= 12
        assert house.kept(platform)[0].sequence == sequence
    left = house.sequences(platform)
    assert left[:8] == list(range(1, 9))
    assert left[-1] == 29
    house.vault.close()


def test_a_flood_as_slow_as_the_archives_before_it_leaves_them_their_share(tmp_path):
    house = House(tmp_path, limits=Limits(packages=6))
    platform = house.enrol(make_platform())
    history(house, platform, 5)
    for sequence in range(6, 30):
        archive(house, platform, sequence)
        house.later(days=1)
    left = house.sequences(platform)
    assert (left[0], left[-1]) == (1, 29)
    assert max(after - before for before, after in pairwise(left)) <= 8  # spread over all the time
    house.vault.close()


def test_big_packages_push_out_themselves_not_small_ones(tmp_path):
    size = len(House(tmp_path, name="scale").package(make_platform(), 1))
    house = House(tmp_path, limits=Limits(quota=30 * size))
    platform = house.enrol(make_platform())
    history(house, platform, 8)
    for sequence in range(9, 20):
        whole = read_package(house.package(platform, sequence)).content
        (key,) = whole.migrating_keys
        grown = replace(key, data=(platform.item(key.key_id, ItemUsage.DATA, "big", bytes(9 * size)),))
        parts = {"migrating_keys": (grown,), "content_keys": make_package(platform).content_keys}
        house.asker(platform).upload(rewritten(house, platform, sequence, **parts))
        house.later(days=3)
    assert house.sequences(platform)[:8] == list(range(1, 9))
    assert house.sequences(platform)[-1] == 19
    house.vault.close()


# --- numbers ---


@pytest.mark.parametrize(
    ("days", "sequence", "refusal"),
    [
        (0, 1005, None),
        (0, 1006, SequenceTooHigh),
        (1, 2005, None),
        (1, 2006, SequenceTooHigh),
        (0, 2**31, SequenceTooHigh),
        (0, 5, PackageStale),
        (0, 4, PackageStale),
        (0, 1, PackageStale),
        (0, 6, None),
    ],
)
def test_a_sequence_goes_up_and_not_out_of_reach(house, platform, days, sequence, refusal):
    archive(house, platform, 5)
    house.later(days=days)
    if refusal is None:
        assert archive(house, platform, sequence).changed
        return
    with pytest.raises(refusal):
        archive(house, platform, sequence)
    assert house.sequences(platform) == [5]


def test_the_same_bytes_are_no_change_and_other_bytes_under_their_number_are_refused(house, platform):
    document = house.package(platform, 5)
    asker = house.asker(platform)
    assert [asker.upload(document).changed for _ in range(2)] == [True, False]
    package_id = read_package(document).content.header.package_id
    with pytest.raises(PackageStale):
        asker.upload(house.package(platform, 5, package_id=package_id))
    with pytest.raises(PackageConflict):
        asker.upload(house.package(platform, 6, package_id=package_id))
    assert asker.download(Kind.PACKAGE, str(package_id)) == document


# --- what is in them ---


def other_key(house, platform):
    """A DRSK of its own making, below the same policy."""
    return replace(platform, label="unknown key").drsk


def test_a_blob_that_the_vault_does_not_open_is_refused(house, platform):
    name, vault = platform.drsk.name, house.identity.vault
    good = wrap_outer(vault, name, bytes(200))
    for outer in (
        wrap_outer(vault, NEIGHBOUR.drsk.name, bytes(200)),  # for another key
        wrap_outer(NEIGHBOUR.srk.public, name, bytes(200)),  # below another parent
        OuterWrap(good.duplicate[:-1] + bytes([good.duplicate[-1] ^ 1]), good.seed),
    ):
        with pytest.raises(BlobRefused):
            house.asker(platform).upload(with_blob(house, platform, outer))
    house.asker(platform).upload(with_blob(house, platform, good))


def test_a_package_for_another_authority_is_refused(house, platform, tmp_path):
    other = House(tmp_path, name="elsewhere")
    with pytest.raises(WrongDestination):
        house.asker(platform).upload(other.package(platform, 2))
    other.vault.close()


def test_another_platforms_package_is_refused(house, platform):
    house.enrol(NEIGHBOUR)
    with pytest.raises(WrongRole):
        house.asker(platform).upload(house.package(NEIGHBOUR, 1))
    header = read_package(house.package(NEIGHBOUR, 1)).content.header
    with pytest.raises(WrongRole):  # signed by the rooted machine in the other's name
        house.asker(platform).upload(rewritten(house, platform, header=header))
    assert house.asker(NEIGHBOUR).upload(house.package(NEIGHBOUR, 1)).changed


def test_a_key_that_the_trust_list_does_not_know_is_refused(house, platform):
    unknown = replace(platform, label="unknown")
    (key,) = read_package(house.package(platform, 2)).content.migrating_keys
    smuggled = replace(migrating_key(unknown), blobs=key.blobs, certification=None, passwords=())
    smuggled = replace(
        smuggled,
        blobs=(replace(key.blobs[0], outer=wrap_outer(house.identity.vault, unknown.drsk.name, bytes(200))),),
    )
    with pytest.raises(NameMismatch):
        house.asker(platform).upload(rewritten(house, platform, migrating_keys=(smuggled,)))
    with pytest.raises(NameMismatch):  # beside the good one neither
        house.asker(platform).upload(rewritten(house, platform, migrating_keys=(key, smuggled)))
    house.asker(platform).upload(rewritten(house, platform, migrating_keys=(key,)))


def test_a_package_under_a_self_issued_certificate_is_refused(house, platform):
    with pytest.raises(UntrustedSigner):
        house.asker(platform).upload(rewritten(house, platform, signer=platform.self_issued))


def test_an_altered_package_is_refused(house, platform):
    document = house.package(platform, 2)
    with pytest.raises(SignatureInvalid):
        house.asker(platform).upload(document.replace(b"host.example", b"hosT.example"))
    house.asker(platform).upload(document)


def test_a_package_from_below_another_srk_is_refused(house, platform):
    with pytest.raises(NameMismatch):
        house.asker(platform).upload(house.package(platform, 2, chip=NEIGHBOUR))


# --- once it is found out ---


def test_a_platform_that_was_withdrawn_does_nothing_any_more(house, platform):
    archive(house, platform, 1)
    asker = house.asker(platform)
    assert len(asker.query().packages) == 1
    house.withdraw(platform.identity)
    newest = str(house.kept(platform)[0].package_id)
    for act in (
        lambda: asker.upload(house.package(platform, 2)),
        lambda: asker.download(Kind.PACKAGE, newest),
        lambda: asker.download(Kind.TRUST_LIST, ""),
        lambda: asker.delete(newest),
    ):
        with pytest.raises(NotAuthorised):
            act()
    assert asker.query().packages == ()
    assert house.sequences(platform) == [1]


def test_a_tpm_that_was_taken_from_the_list_does_nothing_any_more(house, platform):
    archive(house, platform, 1)
    asker = house.asker(platform)
    house.enrol(platform, NEIGHBOUR)  # on another chip only
    with pytest.raises(NotAuthorised):
        asker.upload(house.package(platform, 2))
    assert house.asker(NEIGHBOUR, platform.id).upload(house.package(platform, 2, chip=NEIGHBOUR)).changed
