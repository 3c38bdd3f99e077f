"""What goes wrong where the authority and the owner's token are: told by `lms-authority`, which has no bus."""

from __future__ import annotations

import signal

import pytest

from lms.adapters.tpm.capabilities import REWRAP
from lms.errors import BadConfiguration, Blame, DigitsDiffer, RewrapMissing
from lms.wire.enrolment import read_authority_enrolment
from tests.support.authority import Place, Program, authority
from tests.support.documents import PASSWORD, make_owner, signed_token
from tests.support.migration import Office
from tests.support.platform import Said
from tests.support.proxy import WithoutCommand
from tests.support.swtpm import SoftwareTpm
from tests.support.world import now

LISTEN = '"127.0.0.1:0"'


def assert_told(said: Said, error, message: str, *hint: str) -> None:
    """On stderr and in the object of `--json` alike."""
    told = said.json
    assert (told["error"], said.exit_code) == (error.__name__, error.blame.value)
    assert said.stderr == f"lms-authority: {told['message']}\nlms-authority: hint: {told['hint']}\n"
    assert message in told["message"]
    for word in hint:
        assert word in told["hint"]


def test_digits_of_another_request_sign_nothing(tmp_path):
    place, grant, trust = Place(tmp_path / "ma"), tmp_path / "grant", tmp_path / "trust"
    shown = place.init().json["request"]
    (tmp_path / "token").write_bytes(signed_token(make_owner()))
    (tmp_path / "password").write_bytes(PASSWORD.reveal())

    def approve(digits: str) -> Said:
        return authority(
            "approve", place.request, "--token", tmp_path / "token", "--token-password", tmp_path / "password",
            "--trust-list", trust, "--new-trust-list", "--output", grant, "--digits", digits,
        )  # fmt: skip

    other = ("A" if shown[0] != "A" else "B") + shown[1:]
    assert_told(approve(other), DigitsDiffer, "digits", "do not approve it", "find out who")
    assert (grant.exists(), trust.exists()) == (False, False)
    assert approve(shown).exit_code == 0
    assert (grant.exists(), trust.exists()) == (True, True)


@pytest.fixture
def chip(tmp_path):
    machine = SoftwareTpm(tmp_path / "tpm").start()
    yield machine
    machine.remove()


def test_roots_of_tpm_makers_that_are_none_are_named_where_they_are_configured(tmp_path, chip):
    place = Place(tmp_path / "ma")
    assert place.init().exit_code == 0
    (tmp_path / "token").write_bytes(signed_token(make_owner()))
    place.configure(chip.tcti, ek_roots='["/nowhere.pem"]', state_directory=f'"{tmp_path}/other"')
    here = f"'{place.config}', line 4, key 'authority.ek_roots': cannot read '/nowhere.pem'"
    named = place.run("init", "--address", "https://ma.example:8443", "--output", tmp_path / "made")
    assert_told(named, BadConfiguration, here, "correct the configuration")
    place.config.write_text('\n[station]\nek_roots = ["/nowhere.pem"]\n')
    said = place.run(
        "approve", place.request, "--token", tmp_path / "token", "--trust-list", tmp_path / "trust",
        "--new-trust-list", "--output", tmp_path / "grant", "--digits", "AAAA-AAAA-AAAA-AAAA",
    )  # fmt: skip
    here = f"'{place.config}', line 3, key 'station.ek_roots': cannot read '/nowhere.pem'"
    assert_told(said, BadConfiguration, here, "correct the configuration")


def test_an_authority_whose_tpm_lacks_rewrap_takes_nothing_that_it_could_not_give_back(tmp_path, chip):
    place, office, grant = Place(tmp_path / "ma", chip.tcti), Office(now=now()), tmp_path / "grant"
    assert place.init("--unverified-tpm").json["mode"] == "tpm"
    request = place.request.read_bytes()
    grant.write_bytes(office.grant(request, read_authority_enrolment(request).request_id))
    with WithoutCommand(chip.path, REWRAP) as proxy:
        place.configure(proxy.tcti, listen=LISTEN)
        assert_told(place.enroll(grant, office.token), RewrapMissing, "lacks TPM2_Rewrap", "make a new one")
        assert place.owners() == ()
    place.configure(chip.tcti, listen=LISTEN)
    assert place.enroll(grant, office.token).exit_code == 0
    with WithoutCommand(chip.path, REWRAP) as proxy:
        place.configure(proxy.tcti, listen=LISTEN)
        code, _, log = Program(tmp_path, place.config).ended()
        assert (code, "lacks TPM2_Rewrap" in log) == (Blame.TPM.value, True), log
    (tmp_path / "notify").unlink()
    place.configure(chip.tcti, listen=LISTEN)
    served = Program(tmp_path, place.config)
    assert served.port()
    assert served.ended(signal.SIGTERM)[0] == 0
