"""Trust lists and stations: the owner's newest word counts from the next call on (PROTOCOL §5, §7)."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from sqlalchemy import event

from lms.errors import (
    NotAuthorised,
    OwnerMismatch,
    SignerWithdrawn,
    TrustListConflict,
    UntrustedSigner,
    WrongRole,
)
from lms.model.authorities import Kind, Peer
from lms.model.trust import Identity, Pair, Role, TrustedPlatform, Withdrawal
from lms.service.keeping import access
from lms.wire.certificates import self_issue
from lms.wire.document import read_document
from lms.wire.exchange_v1 import ENROLMENT_GRANT, RESTORE_APPROVAL, TRUST_LIST
from lms.wire.signature import sign
from tests.support.asking import Asker, id_of, pair_of
from tests.support.documents import make_owner, make_platform, private_key, uuid
from tests.support.exchange import examples
from tests.support.keeping import STATION, STATION_KEY, station_certificate
from tests.support.tls import ATTESTATION, tls_certificate

STRANGER, NEIGHBOUR = make_platform("stranger"), make_platform("neighbour")


def number(house) -> int:
    """Of the list that the authority goes by."""
    return house.station().query().trust_list_number


# --- trust lists ---


@pytest.mark.parametrize("bringer", ["stranger", "platform", "station"])
def test_a_newer_list_is_taken_whoever_brings_it(house, platform, bringer):
    askers = {"stranger": house.asker(STRANGER), "platform": house.asker(platform), "station": house.station()}
    newer = house.signed(house.next_list())
    before = number(house)
    assert askers[bringer].upload(newer).changed
    assert number(house) == before + 1
    assert house.asker(platform).download(Kind.TRUST_LIST, "") == newer


def test_an_older_list_and_the_same_again_change_nothing(house, platform):
    older, known = house.signed_list(), house.signed(house.next_list())
    house.station().upload(known)
    for document in (known, older):
        assert not house.station().upload(document).changed
        assert house.station().download(Kind.TRUST_LIST, "") == known


def test_other_bytes_under_a_known_number_are_refused_and_the_first_stay(house, platform):
    known = house.signed_list()
    for other in (house.signed(house.list_of()), house.signed(replace(house.list_of(), platforms=()))):
        with pytest.raises(TrustListConflict):
            house.station().upload(other)
    assert house.station().download(Kind.TRUST_LIST, "") == known


def test_a_list_that_takes_a_withdrawal_back_is_refused(house, platform):
    house.withdraw(platform.identity)
    known = house.signed_list()
    with pytest.raises(TrustListConflict):
        house.station().upload(house.signed(house.next_list(withdrawn=())))
    assert house.station().download(Kind.TRUST_LIST, "") == known


@pytest.mark.parametrize(
    ("signer", "refusal"),
    [
        (lambda world: make_owner("stranger").signer, UntrustedSigner),
        (lambda world: world.signer_of(Role.STATION, "station"), WrongRole),
        (lambda world: world.signer_of(Role.PLATFORM, "platform"), WrongRole),
        (lambda world: world.signer_of(Role.MIGRATION_AUTHORITY, "ma"), WrongRole),
        (lambda world: world.signer_of(Role.SIGNER, "signer"), None),
    ],
    ids=["stranger", "station", "platform", "authority", "signer"],
)
def test_a_list_is_the_owners_or_a_signers(house, platform, signer, refusal):
    document = sign(TRUST_LIST.write(house.next_list()), signer(platform.world))
    if refusal is None:
        assert house.station().upload(document).changed
        return
    with pytest.raises(refusal):
        house.station().upload(document)
    assert house.station().download(Kind.TRUST_LIST, "") == house.signed_list()


def test_a_withdrawn_signer_signs_no_newer_list(house, platform):
    signer = platform.world.signer_of(Role.SIGNER, "signer")
    house.withdraw(Identity(Role.SIGNER, uuid("signer")))
    with pytest.raises(SignerWithdrawn):
        house.station().upload(sign(TRUST_LIST.write(house.next_list()), signer))


def test_a_list_for_another_owner_is_refused(house, platform):
    other = replace(house.next_list(), owner=make_owner("stranger").owner.fingerprint)
    with pytest.raises(OwnerMismatch):
        house.station().upload(house.signed(other))


def test_of_two_owners_each_has_a_list_of_his_own(shared):
    first, second = shared.owners
    newer = shared.signed(shared.next_list(second), second)
    assert shared.station(first).upload(newer).changed  # whoever brings it
    assert shared.station(second).download(Kind.TRUST_LIST, "") == newer
    assert shared.station(first).download(Kind.TRUST_LIST, "") == shared.signed_list(first)


def test_a_list_that_withdraws_a_platform_ends_its_sessions_at_the_next_call(house, platform):
    asker = house.asker(platform)
    asker.upload(house.package(platform, 1))
    withdrawal = Withdrawal(platform.identity, house.now)
    asker.upload(house.signed(house.next_list(withdrawn=(withdrawal,))))  # even by itself
    with pytest.raises(NotAuthorised):
        asker.upload(house.package(platform, 2))
    assert asker.query().packages == ()


def test_a_session_that_was_opened_before_the_approval_is_good_after_it(house):
    asker = house.asker(NEIGHBOUR)
    with pytest.raises(NotAuthorised):
        asker.upload(house.package(NEIGHBOUR, 1))
    house.enrol(NEIGHBOUR)
    assert asker.upload(house.package(NEIGHBOUR, 1)).changed


def test_a_pair_is_both_of_its_keys(house, platform):
    """Neither this EK beside another SRK, nor the other way round, is the platform's TPM."""
    entry = TrustedPlatform(
        platform.id,
        (
            Pair(STRANGER.ek.name, platform.srk.name),
            Pair(platform.ek.name, STRANGER.srk.name),
        ),
        (platform.drsk.name,),
    )
    house.keep(platform.world, house.next_list(platforms=(entry,)))
    for chip in (platform, STRANGER):
        with pytest.raises(NotAuthorised):
            house.asker(chip, platform.id).download(Kind.TRUST_LIST, "")
    both = replace(entry, pairs=(*entry.pairs, pair_of(platform)))
    house.keep(platform.world, house.next_list(platforms=(both,)))
    assert house.asker(platform).download(Kind.TRUST_LIST, "")


# --- stations ---


def with_certificate(house, certificate) -> Asker:
    return Asker(house.keeper.at(Peer("192.0.2.9", certificate)), b"")


def identities(role: Role) -> Identity:
    return Identity(role, STATION.uuid)


@pytest.mark.parametrize("role", [Role.PLATFORM, Role.MIGRATION_AUTHORITY, Role.SIGNER, Role.RESET])
def test_no_other_role_is_a_stations(house, role):
    with pytest.raises(NotAuthorised):
        with_certificate(house, station_certificate(identity=identities(role))).query()
    assert house.station().query().trust_list_number == 1


@pytest.mark.parametrize("certificate", ["stranger's", "self-issued", "two roles", "no role", "attestation"])
def test_only_the_owners_ca_makes_a_station_and_of_one_role(house, certificate):
    world = make_owner()
    der = {
        "stranger's": lambda: station_certificate(make_owner("stranger")),
        "self-issued": lambda: self_issue(STATION, STATION_KEY, house.now),
        "two roles": lambda: tls_certificate(world, STATION, identities(Role.PLATFORM), key=STATION_KEY),
        "no role": lambda: tls_certificate(world, key=STATION_KEY),
        "attestation": lambda: tls_certificate(world, STATION, key=STATION_KEY, usages=(ATTESTATION,)),
    }[certificate]()
    with pytest.raises((NotAuthorised, WrongRole)):
        with_certificate(house, der).query()


def test_a_withdrawn_station_is_one_no_more(house):
    station = house.station()
    station.query()
    house.withdraw(STATION)
    with pytest.raises(NotAuthorised):
        station.query()
    another = Identity(Role.STATION, uuid("another station"))
    assert with_certificate(house, tls_certificate(make_owner(), another, key=private_key("other"))).query()


def test_a_station_sees_its_owners_queue_only(shared):
    mine, theirs = shared.enrol(make_platform()), shared.enrol(make_platform("theirs", "neighbour"))
    for platform in (mine, theirs):
        shared.asker(STRANGER, platform.id).upload(shared.restore_request(platform, STRANGER, platform.id.bytes))
        shared.asker(NEIGHBOUR, platform.id).upload(shared.restore_request(platform, NEIGHBOUR, platform.id.bytes))
    # Each chip's second request took the place of its first.
    assert shared.station(mine.world).query().requests == ()
    assert len(shared.station(theirs.world).query().requests) == 2
    request = shared.restore_request(mine, STRANGER)
    shared.asker(STRANGER, mine.id).upload(request)
    (listed,) = shared.station(mine.world).query().requests
    assert listed.request_id.hex().upper() == id_of(request)


def test_a_certificate_beside_a_session_makes_no_station_of_it(house, platform):
    served = house.keeper.at(Peer("192.0.2.9", station_certificate()))
    asker = Asker(served, house.asker(STRANGER).token)
    with pytest.raises(NotAuthorised):
        asker.download(Kind.RESTORE_REQUEST, "00" * 32)


# --- what it costs ---


@pytest.mark.slow
def test_a_list_of_ten_thousand_platforms_is_read_once_and_not_at_every_call(house, platform):
    known = house.list_of()
    many = tuple(
        TrustedPlatform(uuid(f"platform {n}"), (pair_of(STRANGER),), (platform.drsk.name,)) for n in range(10_000)
    )
    house.keep(platform.world, replace(known, number=known.number + 1, platforms=(*many, *known.platforms)))
    asker, station = house.asker(platform), house.station()
    asker.query()
    before = access.read_trust_list.cache_info().misses
    for _ in range(20):
        asker.query()
        station.query()
        asker.download(Kind.TRUST_LIST, "")
    for sequence in range(1, 4):
        asker.upload(house.package(platform, sequence))
    assert access.read_trust_list.cache_info().misses == before
    house.station().upload(house.signed(house.next_list()))
    asker.query()
    assert access.read_trust_list.cache_info().misses == before + 1


WORDS = {"TrustList": TRUST_LIST, "EnrolmentGrant": ENROLMENT_GRANT, "RestoreApproval": RESTORE_APPROVAL}


def granted(house) -> bytes:
    """A grant with a list that the authority does not know yet."""
    _, grant, signer = examples()["enrolment-grant"]
    return sign(ENROLMENT_GRANT.write(replace(grant, trust_list=house.signed(house.next_list()))), signer)


@pytest.mark.parametrize("kind", WORDS)
def test_the_store_is_not_held_while_a_forged_word_of_the_owner_is_read(house, platform, kind):
    """Anybody may bring one of many megabytes, and whoever holds the store holds up all others."""
    request = house.restore_request(platform, STRANGER)
    house.asker(platform).upload(house.package(platform, 1))
    house.asker(STRANGER, platform.id).upload(request)
    genuine = {
        "TrustList": lambda: house.signed(house.next_list()),
        "EnrolmentGrant": lambda: granted(house),
        "RestoreApproval": lambda: house.approval(platform, request),
    }[kind]()
    value, _ = WORDS[kind].read(genuine)
    forged = sign(WORDS[kind].write(value), make_owner("stranger").signer)
    asker, engine = house.asker(STRANGER), house.vault._engine
    within, read = [0], []
    event.listen(engine, "begin", lambda *_: within.append(1))
    for end in ("commit", "rollback"):
        event.listen(engine, end, lambda *_: within.append(0))

    def look(frame, what, _argument):
        if what == "call" and frame.f_code is read_document.__code__ and frame.f_locals["document"] == forged:
            read.append(within[-1])

    sys.setprofile(look)
    try:
        with pytest.raises(UntrustedSigner):
            asker.upload(forged)
    finally:
        sys.setprofile(None)
    assert read == [0]
    assert asker.upload(genuine).id is not None
