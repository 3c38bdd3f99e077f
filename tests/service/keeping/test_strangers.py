"""Whoever has a TPM may leave one request and fetch its answer, and learns nothing else (PROTOCOL §7)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lms.errors import ApprovalPending, Denied, LmsError, NotAtAuthority, NotAuthorised, QuotaExceeded
from lms.model.authorities import Kind, RequestState
from lms.model.keys import digits
from lms.service.keeping import Limits
from lms.service.keeping.access import served_by_policy
from lms.wire.enrolment import read_platform_enrolment
from tests.support.asking import House, id_of, pair_of
from tests.support.documents import make_platform, uuid

STRANGER, NOBODYS = make_platform("stranger"), make_platform("nobody's")


def outcome(act, *arguments):
    """What an asker gets to know: the answer, or kind and text of the refusal."""
    try:
        return act(*arguments)
    except LmsError as error:
        return type(error), str(error)


ACTS = {
    "query": lambda asker, house, platform: asker.query(),
    "package": lambda asker, house, platform: asker.download(Kind.PACKAGE, str(uuid("some package"))),
    "its own package": lambda asker, house, platform: asker.download(
        Kind.PACKAGE, str(next((p.package_id for p in house.kept(platform)), uuid("none")))
    ),
    "released": lambda asker, house, platform: asker.download(Kind.RELEASED_PACKAGE, "00" * 32),
    "grant": lambda asker, house, platform: asker.download(Kind.ENROLMENT_GRANT, "00" * 32),
    "restore request": lambda asker, house, platform: asker.download(Kind.RESTORE_REQUEST, "00" * 32),
    "enrolment request": lambda asker, house, platform: asker.download(Kind.ENROLMENT_REQUEST, "00" * 32),
    "annex": lambda asker, house, platform: asker.download(Kind.RESTORE_ANNEX, "00" * 32),
    "trust list": lambda asker, house, platform: asker.download(Kind.TRUST_LIST, ""),
    "delete": lambda asker, house, platform: asker.delete(str(uuid("some package"))),
    "upload": lambda asker, house, platform: asker.upload(house.package(platform, 8, STRANGER)),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_platform_that_exists_looks_like_one_that_does_not(house, platform, act):
    house.asker(platform).upload(house.package(platform, 1))
    said = [outcome(ACTS[act], house.asker(STRANGER, claimed.id), house, claimed) for claimed in (platform, NOBODYS)]
    assert said[0] == said[1]
    # The platform itself hears something else wherever there is anything to hear.
    if act in ("query", "package", "its own package", "trust list", "delete"):
        assert outcome(ACTS[act], house.asker(platform), house, platform) != said[0]


def test_requests_for_both_are_taken_alike_and_wait_alike(house, platform):
    for claimed in (platform, NOBODYS):
        asker = house.asker(STRANGER, claimed.id)
        request = house.restore_request(claimed, STRANGER)
        receipt = asker.upload(request)
        assert (receipt.id, receipt.changed) == (id_of(request), True)
        (listed,) = asker.query().requests
        assert (listed.request_id, listed.state) == (bytes.fromhex(receipt.id), RequestState.PENDING)
        with pytest.raises(ApprovalPending, match=r"^cannot release yet: request [0-9A-F]{64} waits$"):
            asker.download(Kind.RELEASED_PACKAGE, receipt.id)


def test_the_same_request_again_is_no_change(house):
    asker, request = house.asker(STRANGER), house.enrolment_request(STRANGER)
    assert [asker.upload(request).changed for _ in range(2)] == [True, False]


@pytest.mark.parametrize("second_for", ["the same", "another"])
def test_the_second_request_replaces_the_first_whoever_it_is_for(house, platform, second_for):
    claimed = platform if second_for == "the same" else NOBODYS
    first, second = house.restore_request(platform, STRANGER), house.restore_request(claimed, STRANGER, bytes(16))
    house.asker(STRANGER, platform.id).upload(first)
    asker = house.asker(STRANGER, claimed.id)
    asker.upload(second)
    assert [r.request_id.hex().upper() for r in asker.query().requests] == [id_of(second)]
    with pytest.raises(NotAtAuthority):
        asker.download(Kind.RELEASED_PACKAGE, id_of(first))


def test_the_second_request_replaces_the_first_in_another_owners_queue(shared):
    """Else whether it does would tell a stranger that two platforms have one owner."""
    mine = shared.enrol(make_platform())
    theirs = shared.enrol(make_platform("theirs", "neighbour"))
    for number, claimed in enumerate((mine, theirs, NOBODYS)):
        asker = shared.asker(STRANGER, claimed.id)
        asker.upload(shared.restore_request(claimed, STRANGER, bytes([number]) * 16))
        assert len(asker.query().requests) == 1


def test_the_policy_of_a_key_tells_whose_it_is_and_that_of_an_adopted_one_nothing(shared):
    mine, theirs = make_platform(), make_platform("theirs", "neighbour")
    with shared.vault.transaction() as transaction:
        for claimed in (mine, theirs):
            assert served_by_policy(transaction, claimed.drsk.public).owner == claimed.world.owner
            assert served_by_policy(transaction, claimed.adopted.public) is None


@pytest.mark.parametrize("kind", ["restore", "enrolment"])
def test_a_request_is_taken_from_its_own_tpm_only(house, platform, kind):
    request = house.restore_request(platform, STRANGER) if kind == "restore" else house.enrolment_request(STRANGER)
    for asker in (
        house.asker(NOBODYS, platform.id),
        house.asker(STRANGER, uuid("somebody else")),
        house.station(),
    ):
        with pytest.raises(NotAuthorised):
            asker.upload(request)
    house.asker(STRANGER, platform.id if kind == "restore" else STRANGER.id).upload(request)


def test_another_tpms_request_looks_like_none(house, platform):
    request = house.restore_request(platform, STRANGER)
    house.asker(STRANGER, platform.id).upload(request)
    other = house.asker(NOBODYS, platform.id)
    said = [outcome(other.download, Kind.RELEASED_PACKAGE, id) for id in (id_of(request), "00" * 32)]
    assert said[0] == said[1]
    assert said[0][0] is NotAtAuthority
    assert other.query().requests == ()


def test_a_denied_request_says_so_to_its_sender_alone(house, platform):
    request = house.restore_request(platform, STRANGER)
    asker = house.asker(STRANGER, platform.id)
    asker.upload(request)
    house.station().delete(id_of(request))
    with pytest.raises(Denied) as caught:
        asker.download(Kind.RELEASED_PACKAGE, id_of(request))
    assert caught.value.request_id == bytes.fromhex(id_of(request))
    assert digits(caught.value.request_id) in str(caught.value)
    with pytest.raises(NotAtAuthority):
        house.asker(NOBODYS, platform.id).download(Kind.RELEASED_PACKAGE, id_of(request))


# --- quotas ---


def chips(count, label="flood"):
    return [make_platform(f"{label} {number}") for number in range(count)]


@pytest.fixture
def narrow(tmp_path, chip_in_both_modes):
    """An authority with room for few requests."""
    made = House(tmp_path, limits=Limits(requests_per_address=3, requests=7), chip=chip_in_both_modes)
    yield made
    made.vault.close()


def leave(house, chip, address="192.0.2.66"):
    return house.asker(chip, address=address).upload(house.enrolment_request(chip))


def waits(house, chip) -> bool:
    return bool(house.asker(chip).query().requests)


def test_an_address_has_a_quota(narrow):
    *some, last = chips(4)
    for chip in some:
        leave(narrow, chip)
    with pytest.raises(QuotaExceeded):
        leave(narrow, last)
    leave(narrow, last, "192.0.2.67")
    assert all(waits(narrow, chip) for chip in (*some, last))


def test_what_was_answered_counts_no_more(narrow):
    *some, last = chips(4)
    for chip in some:
        leave(narrow, chip)
    request_id = read_platform_enrolment(narrow.enrolment_request(some[0])).request_id
    narrow.station().delete(request_id.hex().upper())
    leave(narrow, last)


def test_a_full_queue_keeps_nobody_out_and_takes_from_whoever_crowds_it(narrow):
    alone = make_platform("alone")
    leave(narrow, alone, "198.51.100.1")
    flood = chips(6)
    for number, chip in enumerate(flood):
        leave(narrow, chip, f"192.0.2.{number // 3}")
        narrow.later(seconds=1)
    newcomer = make_platform("newcomer")
    leave(narrow, newcomer, "198.51.100.2")
    assert waits(narrow, alone)
    assert waits(narrow, newcomer)
    assert [waits(narrow, chip) for chip in flood] == [False, True, True, True, True, True]


@pytest.mark.parametrize(("days", "left"), [(29, True), (31, False)])
def test_old_requests_are_forgotten(house, days, left):
    old, new = chips(2)
    leave(house, old)
    house.later(days=days)
    leave(house, new)
    assert waits(house, old) is left
    assert waits(house, new)


@pytest.mark.parametrize(("days", "left"), [(31, True), (364, True), (366, False)])
def test_a_denial_is_remembered_for_a_year(house, platform, days, left):
    request = house.restore_request(platform, STRANGER)
    house.asker(STRANGER, platform.id).upload(request)
    house.station().delete(id_of(request))
    house.now += timedelta(days=days)
    leave(house, NOBODYS)
    assert waits(house, STRANGER) is left


def test_a_chip_that_knows_an_approved_pair_by_name_is_a_stranger(house, platform):
    """The pair is proven by a credential: the Names alone are public."""
    assert pair_of(platform) in house.list_of().platforms[0].pairs
    with pytest.raises(NotAuthorised):
        house.asker(STRANGER, platform.id).download(Kind.TRUST_LIST, "")
    assert house.asker(platform).download(Kind.TRUST_LIST, "") != b""
