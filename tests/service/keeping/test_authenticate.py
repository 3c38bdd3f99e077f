"""A session is had by whoever has the EK and the SRK that it is for, and by nobody else (PROTOCOL §7)."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from lms.errors import BadAttributes, LmsError, NotAuthenticated, SessionExpired
from lms.model.authorities import Peer
from lms.model.secret import Secret
from lms.service.keeping.sessions import LIFETIME_S, Sessions
from lms.wire.authenticate import proof
from lms.wire.tpm.public import SIGNING_ATTRIBUTES, SRK_ATTRIBUTES, Attributes
from tests.support.asking import ADDRESS, answer_of, hello_of
from tests.support.documents import make_platform, software_key, uuid

CHIP, OTHER = make_platform("chip"), make_platform("other chip")
NONCE = b"client nonce of thirty-two bytes"


class Conversation:
    """Both calls, with every part of the proof to be changed."""

    def __init__(self, house, chip=CHIP) -> None:
        self.house, self.chip = house, chip
        self.served = house.keeper.at(Peer(ADDRESS, None))
        self.challenge = self.served.challenge(hello_of(chip, chip.id, NONCE))
        self.parts = {
            "secret": answer_of(chip, self.challenge.credential),
            "ma_id": house.identity.ma_id,
            "leaf": house.leaf,
            "client_nonce": NONCE,
            "server_nonce": self.challenge.server_nonce,
            "platform_id": chip.id,
            "ek_name": chip.ek.name,
            "srk_name": chip.srk.name,
        }

    def session(self, **changes):
        return self.served.session(self.challenge.server_nonce, proof(**(self.parts | changes)))


def test_whoever_opens_the_credential_has_a_session(house):
    session = Conversation(house).session()
    assert len(session.token) == 32
    assert session.lifetime_s == 15 * 60
    assert house.keeper.at(Peer("198.51.100.1", None)).query(session.token).packages == ()


@pytest.mark.parametrize(
    "change",
    [
        {"secret": Secret(bytes(32))},
        {"ma_id": uuid("another authority")},
        {"leaf": b"another certificate"},
        {"client_nonce": bytes(32)},
        {"server_nonce": bytes(32)},
        {"platform_id": uuid("another platform")},
        {"ek_name": OTHER.ek.name},
        {"srk_name": OTHER.srk.name},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_proof_is_over_every_part_of_the_conversation(house, change):
    with pytest.raises(NotAuthenticated):
        Conversation(house).session(**change)
    Conversation(house).session()


def test_a_challenge_is_answered_once(house):
    answered = Conversation(house)
    answered.session()
    with pytest.raises(NotAuthenticated):
        answered.session()


def test_a_wrong_answer_uses_a_challenge_up(house):
    guessed = Conversation(house)
    with pytest.raises(NotAuthenticated):
        guessed.session(secret=Secret(bytes(32)))
    with pytest.raises(NotAuthenticated):
        guessed.session()


def test_a_proof_fits_its_own_challenge_only(house):
    first, second = Conversation(house), Conversation(house)
    with pytest.raises(NotAuthenticated):
        first.served.session(first.challenge.server_nonce, proof(**second.parts))
    second.session()


def test_a_challenge_ends_after_a_minute(house):
    late, in_time = Conversation(house), Conversation(house)
    house.seconds = 59.9
    in_time.session()
    house.seconds = 60.0
    with pytest.raises(NotAuthenticated):
        late.session()


def test_a_session_ends_after_a_quarter_of_an_hour_however_much_it_is_used(house):
    asker = house.asker(CHIP)
    for seconds in (1.0, LIFETIME_S - 0.1):
        house.seconds = seconds
        asker.query()
    house.seconds = float(LIFETIME_S)
    with pytest.raises(SessionExpired):
        asker.query()


def test_no_session_outlives_its_process(house):
    asker = house.asker(CHIP)
    house.begin()
    with pytest.raises(SessionExpired):
        replace(asker, served=house.keeper.at(Peer(ADDRESS, None))).query()


@pytest.mark.parametrize("token", [secrets.token_bytes(32), b"\0", b"x" * 1000], ids=["random", "short", "long"])
def test_a_made_up_token_is_no_session(house, token):
    with pytest.raises(SessionExpired):
        replace(house.asker(CHIP), token=token).query()


@pytest.mark.parametrize(
    ("part", "attributes"),
    [
        ("ek", SIGNING_ATTRIBUTES),
        ("ek", SRK_ATTRIBUTES & ~Attributes.FIXED_TPM),
        ("srk", SRK_ATTRIBUTES & ~Attributes.FIXED_TPM),
        ("srk", SRK_ATTRIBUTES & ~Attributes.FIXED_PARENT),
        ("srk", SIGNING_ATTRIBUTES),
    ],
)
def test_what_is_no_ek_and_no_srk_gets_no_challenge(house, part, attributes):
    hello = hello_of(CHIP, CHIP.id, NONCE)
    served = house.keeper.at(Peer(ADDRESS, None))
    with pytest.raises(BadAttributes):
        served.challenge(replace(hello, **{part: software_key("odd", attributes).public}))
    served.challenge(hello)


@pytest.mark.parametrize("change", [{"ek": b"\0\4odd."}, {"srk": b""}, {"client_nonce": bytes(31)}])
def test_what_cannot_be_read_is_refused_in_our_words(house, change):
    with pytest.raises(LmsError):
        house.keeper.at(Peer(ADDRESS, None)).challenge(replace(hello_of(CHIP, CHIP.id, NONCE), **change))


# --- floods ---

MOST = 10_000


def open_challenges(sessions, count, address, hello):
    for _ in range(count):
        sessions.challenge(hello, address)


@pytest.fixture
def sessions(house):
    """The sessions alone."""
    return Sessions(house.identity.ma_id, lambda: house.leaf, lambda: house.seconds)


@pytest.mark.slow
def test_a_flood_of_challenges_pushes_its_own_out(sessions):
    flooding = hello_of(CHIP, CHIP.id, NONCE)
    challenge = sessions.challenge(hello_of(OTHER, OTHER.id, NONCE), "198.51.100.1")
    first = sessions.challenge(flooding, ADDRESS)
    open_challenges(sessions, MOST + 5, ADDRESS, flooding)
    sessions.session(challenge.server_nonce, answer(sessions, OTHER, challenge))
    with pytest.raises(NotAuthenticated):
        sessions.session(first.server_nonce, answer(sessions, CHIP, first))


def answer(sessions, chip, challenge):
    opened = answer_of(chip, challenge.credential)
    leaf, ma_id = sessions._leaf(), sessions._ma_id
    return proof(opened, ma_id, leaf, NONCE, challenge.server_nonce, chip.id, chip.ek.name, chip.srk.name)
