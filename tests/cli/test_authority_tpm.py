"""`lms-authority` with a vault in a TPM: `init`, `approve`, `enroll`, and a TPM that is not the one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest

from lms.adapters.store import AuthorityDirectory
from lms.adapters.tpm import TpmDevice
from lms.adapters.tpm.capabilities import REWRAP
from lms.model.keys import SRK_HANDLE, VAULT_HANDLE, Algorithm
from lms.model.trust import Mode
from lms.wire.enrolment import read_authority_enrolment
from lms.wire.tpm.public import name_of
from lms.wire.trust_list import read_trust_list
from tests.support.authority import Place, authority
from tests.support.platform import OWNER_AUTH, Platform
from tests.support.proxy import WithoutCommand
from tests.support.swtpm import SoftwareTpm

UNVERIFIED = "--unverified-tpm"


@pytest.fixture
def chips(tmp_path):
    """Makes started TPMs that end with the test."""
    made = []

    def make(manufactured_by=None) -> SoftwareTpm:
        chip = SoftwareTpm(tmp_path / f"tpm{len(made)}")
        made.append(chip)
        if manufactured_by is not None:
            chip.manufacture(manufactured_by)
        return chip.start()

    yield make
    for chip in made:
        chip.remove()


@pytest.fixture
def chip(chips):
    return chips()


@pytest.fixture
def place(tmp_path, chip):
    return Place(tmp_path / "ma", chip.tcti)


@pytest.fixture
def auth(tmp_path):
    """The owner authorisation as a file."""
    path = tmp_path / "owner-auth"
    path.write_bytes(OWNER_AUTH.reveal() + b"\n")
    return path


def approve(place, token, shown, grant, *more, config=()):
    """The approver at another machine."""
    (place.directory / "token").write_bytes(token.document)
    (place.directory / "password").write_bytes(token.password)
    return authority(
        *config, "approve", place.request, "--token", place.directory / "token",
        "--token-password", place.directory / "password", "--trust-list", place.directory / "trust",
        "--new-trust-list", "--digits", shown, "--output", grant, *more,
    )  # fmt: skip


def assert_refused(said, exit_code, error):
    assert (said.exit_code, said.json["error"]) == (exit_code, error)


def public_at(chip, handle=VAULT_HANDLE):
    with TpmDevice(chip.tcti) as tpm:
        return tpm.read_public(handle)


def evict(chip, owner_auth, handle=VAULT_HANDLE):
    with TpmDevice(chip.tcti) as tpm:
        tpm.trust_salt(name_of(tpm.endorsement_keys()[0].public))
        tpm.evict(handle, owner_auth)


def test_an_authority_with_a_tpm_is_enrolled_by_two_files(place, chip, auth, token, tmp_path):
    made = place.init(UNVERIFIED, "--owner-auth", auth)
    assert (made.exit_code, made.json["mode"], made.json["changed"]) == (0, "tpm", True)
    assert "in this TPM alone" in made.stderr
    asked = read_authority_enrolment(place.request.read_bytes())
    assert asked.authority.mode is Mode.TPM
    assert public_at(chip) == asked.authority.vault
    assert made.json["vault"] == asked.vault_name.digits
    assert_refused(approve(place, token, made.json["request"], tmp_path / "grant"), 7, "EkUntrusted")
    done = approve(place, token, made.json["request"], tmp_path / "grant", "--vouch")
    assert (done.exit_code, done.json["mode"], done.json["ek"]) == (0, "tpm", asked.ek_name.digits)
    taken = place.enroll(tmp_path / "grant", token)
    assert (taken.exit_code, taken.json["mode"], taken.json["changed"]) == (0, "tpm", True)
    (entry,) = read_trust_list((place.directory / "trust").read_bytes(), token.owner).authorities
    assert (entry.mode, entry.vault) == (Mode.TPM, asked.authority.vault)
    assert place.enroll(tmp_path / "grant", token).json["changed"] is False


def test_a_token_beside_the_tpm_of_an_authority_is_opened_only_when_it_is_said(place, chips, chip, token, tmp_path):
    """Another user of the machine, or another configuration, does not make it another machine."""
    shown = place.init(UNVERIFIED).json["request"]
    config = tmp_path / "station.toml"

    def beside(tcti, *more):
        config.write_text(f'tcti = "{tcti}"\n[authority]\nstate_directory = "{tmp_path}/elsewhere"\n')
        return approve(place, token, shown, tmp_path / "grant", "--vouch", *more, config=("--config", config))

    assert_refused(beside(chip.tcti), 7, "SharedWithAuthority")
    assert beside(chips().tcti).json["combined"] is False
    (tmp_path / "grant").unlink()
    (place.directory / "trust").unlink()
    assert beside(chip.tcti, "--combined").json["combined"] is True


def test_a_makers_root_stands_for_its_tpm(chips, token, tmp_path):
    maker = tmp_path / "maker"
    chip = chips(manufactured_by=maker)
    roots = [maker / "issuercert.pem", maker / "swtpm-localca-rootca-cert.pem"]
    place = Place(tmp_path / "ma", chip.tcti)
    assert_refused(place.init(), 7, "EkUntrusted")
    place.configure(chip.tcti, ek_roots="[" + ", ".join(f'"{r}"' for r in roots) + "]")
    made = place.init()
    assert (made.exit_code, made.json["mode"]) == (0, "tpm")
    named = [word for root in roots for word in ("--ek-root", root)]
    assert approve(place, token, made.json["request"], tmp_path / "grant", *named).exit_code == 0
    assert place.enroll(tmp_path / "grant", token).exit_code == 0


def test_the_disk_alone_takes_no_grant(place, chips, token, tmp_path):
    shown = place.init(UNVERIFIED).json["request"]
    assert approve(place, token, shown, tmp_path / "grant", "--vouch").exit_code == 0
    right, other = place.config.read_text(), chips()
    place.configure(other.tcti)
    assert_refused(place.enroll(tmp_path / "grant", token), 7, "NotInitialised")
    assert_refused(place.init(), 7, "VaultLost")
    place.configure(None)
    assert_refused(place.enroll(tmp_path / "grant", token), 2, "BadConfiguration")
    assert_refused(place.init(), 2, "BadConfiguration")
    assert public_at(other) is None
    place.config.write_text(right)
    assert place.enroll(tmp_path / "grant", token).exit_code == 0


def test_no_private_key_of_the_vault_lies_on_the_disk(place):
    place.init(UNVERIFIED)
    identity = AuthorityDirectory(place.state).load()
    assert identity.vault_key is None
    assert identity.chip.vault_auth


def test_the_owner_authorisation_is_needed_once(place, chip, auth, tmp_path):
    assert place.init(UNVERIFIED, "--owner-auth", auth).exit_code == 0
    again = place.init()
    assert (again.exit_code, again.json["changed"], again.stderr) == (0, False, "")
    evict(chip, OWNER_AUTH)
    assert_refused(place.init(), 3, "OwnerAuthFailed")
    assert public_at(chip) is None
    back = place.init("--owner-auth", auth)
    assert (back.exit_code, back.json["changed"]) == (0, True)
    assert back.json["vault"] == again.json["vault"]
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"wrong")
    evict(chip, OWNER_AUTH)
    assert_refused(place.init("--owner-auth", wrong), 3, "OwnerAuthFailed")


def typed(place, secret: bytes, *words) -> tuple[int, bytes]:
    """Run `lms-authority` at a terminal and type the owner authorisation; exit code, and what was on the screen."""
    command = [sys.executable, "-m", "lms.authority.main", "--config", str(place.config), *map(str, words)]
    screen, typing = b"", [secret + b"\n"]
    person, terminal = pty.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
    with subprocess.Popen(command, start_new_session=True, **streams) as program:
        os.close(terminal)
        with suppress(OSError):  # EIO: it ended
            while part := os.read(person, 4096):
                screen += part
                if typing and b"owner authorisation: " in screen:
                    os.write(person, typing.pop())
        os.close(person)
    return program.returncode, screen


def test_the_owner_authorisation_is_asked_for_at_a_terminal(place, chip, auth):
    assert place.init(UNVERIFIED, "--owner-auth", auth).exit_code == 0
    evict(chip, OWNER_AUTH)
    code, screen = typed(place, b"wrong", "init", "--output", place.request)
    assert (code, OWNER_AUTH.reveal() in screen) == (3, False)
    assert public_at(chip) is None
    code, screen = typed(place, OWNER_AUTH.reveal(), "init", "--output", place.request)
    assert (code, OWNER_AUTH.reveal() in screen) == (0, False)
    assert public_at(chip) is not None


def test_a_grant_is_opened_with_the_endorsement_authorisation(place, chip, token, tmp_path):
    shown = place.init(UNVERIFIED).json["request"]
    assert approve(place, token, shown, tmp_path / "grant", "--vouch").exit_code == 0
    secret = tmp_path / "endorsement-auth"
    secret.write_bytes(b"of the endorsement hierarchy")
    change = ["tpm2_changeauth", "-T", chip.tcti, "-c", "endorsement", f"file:{secret}"]
    subprocess.run(change, check=True, capture_output=True)
    assert_refused(place.enroll(tmp_path / "grant", token), 3, "EndorsementAuthFailed")
    assert place.enroll(tmp_path / "grant", token, **{"endorsement-auth": secret}).exit_code == 0


def test_a_tpm_that_anybody_may_own_is_remarked_on(place):
    assert "no owner authorisation" in place.init(UNVERIFIED).stderr


def test_a_foreign_key_at_its_handle_stays(place, chip, tmp_path):
    other = Place(tmp_path / "other", chip.tcti)
    assert other.init(UNVERIFIED).exit_code == 0
    before = public_at(chip)
    assert_refused(place.init(UNVERIFIED), 4, "HandleOccupied")
    assert not (place.state / "identity.json").exists()
    assert public_at(chip) == before


def test_a_cleared_tpm_has_lost_the_vault_and_says_so(place, chip):
    made = place.init(UNVERIFIED).json
    subprocess.run(["tpm2_clear", "-T", chip.tcti, "-c", "p"], check=True, capture_output=True)
    assert_refused(place.init(), 7, "VaultLost")
    assert public_at(chip) is None
    assert AuthorityDirectory(place.state).load().ma_id.hex == made["authority"].replace("-", "")


def test_a_tpm_without_rewrap_gets_an_authority_in_software_and_it_is_said(place, chip):
    with WithoutCommand(chip.path, REWRAP) as proxy:
        place.configure(proxy.tcti)
        made = place.init(UNVERIFIED)
    assert (made.exit_code, made.json["mode"]) == (0, "software")
    assert "lacks TPM2_Rewrap" in made.stderr
    assert f"its keys lie in '{place.state}'" in made.stderr
    assert read_authority_enrolment(place.request.read_bytes()).authority.mode is Mode.SOFTWARE
    assert public_at(chip) is None
    place.configure(chip.tcti)
    assert place.init().json["mode"] == "software"  # what was granted once does not change by itself


def test_a_platform_and_an_authority_share_a_tpm_and_no_key(tmp_path, token, auth):
    with Platform(tmp_path / "machine") as platform:
        platform.provision(token)
        state, tcti = platform.state, platform.machine.tcti
        platform.let_go()
        place = Place(tmp_path / "ma", tcti)
        assert place.init(UNVERIFIED, "--owner-auth", auth).exit_code == 0
        vault = AuthorityDirectory(place.state).load().vault
        assert name_of(vault) != state.srk_name
        assert name_of(platform.tpm.read_public(SRK_HANDLE)) == state.srk_name
        assert platform.tpm.read_public(VAULT_HANDLE) == vault


def test_a_moved_authority_keeps_its_vault(place, tmp_path):
    first = place.init(UNVERIFIED).json
    moved = place.run("init", "--address", "https://away.example", "--output", tmp_path / "again")
    assert moved.json["vault"] == first["vault"]
    assert moved.json["request"] != first["request"]
    read_authority_enrolment((tmp_path / "again").read_bytes())


def test_an_srk_of_the_other_algorithm_stays_where_it_is(tmp_path, token, auth):
    with Platform(tmp_path / "machine") as platform:
        platform.provision(token, algorithm=Algorithm.RSA_2048)
        platform.let_go()
        place = Place(tmp_path / "ma", platform.machine.tcti)
        assert_refused(place.init(UNVERIFIED, "--owner-auth", auth), 4, "HandleOccupied")
        place.config.write_text('algorithm = "rsa-2048"\n' + place.config.read_text())
        made = place.init(UNVERIFIED, "--owner-auth", auth)
        assert (made.exit_code, made.json["mode"]) == (0, "tpm")
