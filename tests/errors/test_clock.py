"""A clock before the release of a program, on a machine without state and where an authority or a station is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lms.errors import ClockUnset
from lms.names import OWNER, RELEASED
from lms.names import OWNER_AUTH as AUTH
from tests.support import newer
from tests.support.asynchronous import in_loop
from tests.support.authority import Place, Program
from tests.support.daemon import Daemon, client
from tests.support.faces import Order, Refusal, by_bus, by_lmsctl, done
from tests.support.platform import NOW, OWNER_AUTH, Said
from tests.support.world import now

BUILT = f"{newer.RELEASED:%Y-%m-%d}"
NEWER = newer.__name__


def assert_told(refusal: Refusal) -> None:
    assert refusal.error == ClockUnset.__name__
    assert refusal.message.startswith("cannot trust the clock: it says ")
    assert refusal.message.endswith(f", but this software was released on {BUILT}")
    assert "set the clock" in refusal.hint


def test_no_program_was_released_after_the_clocks_of_its_tests():
    assert RELEASED <= NOW <= now()


@in_loop
async def test_a_machine_without_state_is_told_on_both_faces_and_stays_without(bus, platform, daemons, token, tmp_path):
    config = platform.write_config(bus=f'"{bus.address}"')
    options = {"fingerprint": token.fingerprint, "unverified-tpm": True}
    order = Order("provision", options, {OWNER: token.owner.document, AUTH: OWNER_AUTH.reveal()})
    daemon = Daemon(config, NEWER)
    try:
        daemon.start(MODULE="lms.daemon").until("READY=1")
        code, said = await by_lmsctl(config, order, tmp_path)
        async with client(bus.address) as us:
            heard = await by_bus(us, order)
    finally:
        daemon.remove()
    for refusal in (said, heard):
        assert_told(refusal)
    assert code == ClockUnset.blame.value
    assert platform.store.load() is None
    assert not platform.tpm.owner_auth_is_set()
    daemons(platform)
    async with client(bus.address) as us:
        assert (await done(us, order))["state"] == "created"


def run_newer(*words: object) -> Said:
    """`lms-authority` of a release that is yet to come."""
    command = [sys.executable, "-m", NEWER, "--json", *map(str, words)]
    environment = os.environ | {"MODULE": "lms.authority.main"}
    ran = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL, env=environment)
    return Said(ran.returncode, ran.stdout.decode(), ran.stderr.decode())


@pytest.mark.parametrize(
    "words",
    [
        ("init", "--address", "https://ma.example:8443", "--output", "made"),
        ("enroll", "--grant", "grant", "--owner", "owner", "--fingerprint", "AAAA"),
        ("approve", "request", "--token", "token"),
        ("withdraw", "ma:00000000-0000-0000-0000-000000000000", "--token", "token"),
        ("station", "init", "--output", "made"),
    ],
    ids=lambda words: " ".join(words[: 1 + (words[0] == "station")]),
)
def test_an_authority_and_a_station_do_nothing_before_the_release(tmp_path, words):
    place = Place(tmp_path / "ma")
    said = run_newer("--config", place.config, *words)
    assert_told(Refusal(**said.json))
    assert said.exit_code == ClockUnset.blame.value
    assert not place.state.exists()


def test_an_authority_does_not_begin_to_serve_before_the_release(tmp_path):
    place = Place(tmp_path / "ma")
    assert place.init().exit_code == 0
    code, _, log = Program(tmp_path, place.config, NEWER, MODULE="lms.authority.main").ended()
    assert (code, BUILT in log) == (ClockUnset.blame.value, True), log
