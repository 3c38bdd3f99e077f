"""What an authority takes at its door: documents that it keeps, of a size that it said, from who may bring them."""

from __future__ import annotations

import pytest

from lms.errors import NotAtAuthority, TooLarge, WrongDocument
from lms.model.authorities import Kind
from lms.service.keeping import Limits
from lms.service.keeping.by_hand import queued
from tests.support.asking import House
from tests.support.documents import make_platform


def test_a_document_of_more_bytes_than_it_said_is_not_read(tmp_path):
    package = (house := House(tmp_path)).package(house.enrol(make_platform()), 1)
    house.limits = Limits(max_document=len(package))
    house.begin()
    asker = house.asker(make_platform())
    assert asker.served.information().max_document == len(package)
    with pytest.raises(TooLarge):
        asker.upload(package + b"\n")
    assert house.kept(make_platform()) == ()
    assert asker.upload(package).changed
    house.vault.close()


def test_a_document_that_nobody_keeps_here_is_refused_by_its_name(house, platform):
    for document in (house.sheet(platform), platform.world.owner.document):
        with pytest.raises(WrongDocument, match=r"RecoverySheet|OwnerDocument"):
            house.asker(platform).upload(document)
    assert house.asker(platform).upload(house.package(platform, 1)).changed


def test_a_package_is_told_by_its_id_and_by_nothing_else(house, platform):
    house.asker(platform).upload(house.package(platform, 1))
    (kept,) = house.kept(platform)
    for nothing in ("the newest", str(make_platform("other").id)):
        with pytest.raises(NotAtAuthority):
            house.asker(platform).download(Kind.PACKAGE, nothing)
    assert house.asker(platform).download(Kind.PACKAGE, str(kept.package_id))


def test_a_request_of_which_no_owner_here_is_known_waits_in_nobodys_queue(shared):
    """Where one owner alone is served, everything is asked of him."""
    ours, nobodys = make_platform("ours"), make_platform("nobody's", "stranger")
    for chip in (ours, nobodys):
        shared.asker(chip).upload(shared.enrolment_request(chip))
    with shared.vault.transaction() as transaction:
        waiting = {listed.platform_id: served for served, listed in queued(transaction)}
    assert waiting[ours.id].kept.fingerprint == ours.world.owner.fingerprint
    assert waiting[nobodys.id] is None
    assert [listed.platform_id for listed in shared.station().query().requests] == [ours.id]
