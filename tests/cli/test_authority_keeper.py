"""`lms-authority init` and `enroll`, and `approve` of an authority: three programs' runs and the files between."""

from __future__ import annotations

import stat

import pytest

from lms.wire.trust_list import read_trust_list
from tests.support.authority import ADDRESS, Place, authority
from tests.support.platform import Said, lmsctl


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "ma")


@pytest.fixture
def station(tmp_path, token):
    """Approves at another machine, where no authority lives."""
    (tmp_path / "token").write_bytes(token.document)
    (tmp_path / "password").write_bytes(token.password + b"\n")

    def approve(request, grant, shown, *more: object, config=()) -> Said:
        trust = tmp_path / "trust"
        first = () if trust.exists() else ("--new-trust-list",)
        return authority(
            *config, "approve", request, "--token", tmp_path / "token", "--token-password", tmp_path / "password",
            "--trust-list", trust, *first, "--output", grant, "--digits", shown, *more,
        )  # fmt: skip

    approve.trust_list = tmp_path / "trust"
    return approve


def assert_refused(said, exit_code, error) -> None:
    assert (said.exit_code, said.json["error"]) == (exit_code, error)
    assert said.stderr == f"lms-authority: {said.json['message']}\nlms-authority: hint: {said.json['hint']}\n"


def test_an_authority_is_enrolled_by_two_files(place, station, token, tmp_path):
    made = place.init()
    assert made.exit_code == 0
    assert str(place.state) in made.stderr
    assert (made.json["mode"], made.json["addresses"], made.json["changed"]) == ("software", [ADDRESS], True)
    done = station(place.request, tmp_path / "grant", made.json["request"])
    assert (done.exit_code, done.stderr) == (0, "")
    for fact in ("authority", "mode", "addresses", "vault", "request"):
        assert done.json[fact] == made.json[fact]
    assert done.json["combined"] is False
    taken = place.enroll(tmp_path / "grant", token)
    assert (taken.exit_code, taken.stderr) == (0, "")
    assert (taken.json["authority"], taken.json["owner"]) == (made.json["authority"], token.fingerprint)
    assert (taken.json["mode"], taken.json["trust-list"], taken.json["changed"]) == ("software", 1, True)
    (kept,) = place.owners()
    assert (kept.document, kept.trust_list) == (token.owner.document, station.trust_list.read_bytes())
    assert place.enroll(tmp_path / "grant", token).json["changed"] is False
    assert place.owners() == (kept,)


def test_only_its_user_can_read_an_authoritys_keys(place):
    place.init()
    assert stat.S_IMODE(place.state.stat().st_mode) == 0o700
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.state.iterdir()}
    assert files == {"identity.json": 0o600, "lock": 0o600, "request.xml": 0o600}


def test_asked_twice_it_is_already_so(place, tmp_path):
    first = place.init()
    identity, request = (place.state / "identity.json").read_bytes(), place.request.read_bytes()
    again = place.init()
    assert (again.exit_code, again.stderr) == (0, "")
    assert again.json == first.json | {"changed": False}
    elsewhere = place.run("init", "--output", tmp_path / "copy")
    assert elsewhere.json["request"] == first.json["request"]
    assert (place.state / "identity.json").read_bytes() == identity
    assert place.request.read_bytes() == (tmp_path / "copy").read_bytes() == request


def test_a_crash_between_keys_and_request_leaves_the_same_keys(place):
    first = place.init()
    (place.state / "request.xml").unlink()
    place.request.unlink()
    assert place.init().json == first.json | {"changed": False}


def test_a_moved_authority_keeps_its_keys_and_asks_anew(place, tmp_path):
    first = place.init()
    moved = place.run("init", "--address", "https://away.example", "--output", tmp_path / "again")
    assert moved.json["addresses"] == ["https://away.example"]
    assert (moved.json["authority"], moved.json["vault"]) == (first.json["authority"], first.json["vault"])
    assert moved.json["request"] != first.json["request"]
    assert place.run("init", "--output", tmp_path / "again").json == moved.json | {"changed": False}


def test_another_identity_is_never_made_over_this_one(place):
    wanted = "8d8ac610-566d-4ef0-9c22-186b2a5ed793"
    assert place.init("--ma-id", wanted).json["authority"] == wanted
    assert_refused(place.init("--ma-id", "00000000-0000-4000-8000-000000000000"), 2, "BadRequest")
    assert place.init("--ma-id", wanted).json["changed"] is False
    assert_refused(place.init("--ma-id", "no UUID"), 2, "BadRequest")


@pytest.mark.parametrize("address", ["http://ma.example", "https://user:word@ma.example", "ma.example"])
def test_what_is_no_address_makes_no_authority(place, address):
    assert_refused(place.run("init", "--output", place.request), 2, "BadRequest")
    said = place.run("init", "--address", address, "--output", place.request)
    assert_refused(said, 2, "BadRequest")
    assert not (place.state / "identity.json").exists()
    assert place.init().exit_code == 0


def test_a_request_is_never_written_over(place):
    place.request.write_bytes(b"kept")
    assert_refused(place.init(), 2, "FileExists")
    assert place.request.read_bytes() == b"kept"
    place.request.unlink()
    assert place.init().json["changed"] is False


def test_keys_that_belong_in_a_tpm_do_not_end_up_on_a_disk(place):
    place.configure("swtpm:path=/nowhere")
    assert_refused(place.init(), 4, "TpmUnavailable")
    assert [path.name for path in place.state.iterdir()] == ["lock"]


def test_a_grant_needs_an_authority_and_the_owners_fingerprint(place, station, token, stranger, tmp_path):
    other = Place(tmp_path / "other")
    shown = place.init().json["request"]
    assert station(place.request, tmp_path / "grant", shown).exit_code == 0
    assert_refused(other.enroll(tmp_path / "grant", token), 7, "NotInitialised")
    said = place.enroll(tmp_path / "grant", token, fingerprint=stranger.fingerprint)
    assert_refused(said, 6, "FingerprintDiffers")
    assert_refused(place.enroll(tmp_path / "grant", stranger), 6, "UntrustedSigner")
    assert place.owners() == ()
    assert place.enroll(tmp_path / "grant", token).exit_code == 0


def test_a_token_beside_an_authority_is_opened_only_when_it_is_said(place, station, token, tmp_path):
    shown, config = place.init().json["request"], ("--config", place.config)
    assert_refused(station(place.request, tmp_path / "grant", shown, config=config), 7, "SharedWithAuthority")
    assert not station.trust_list.exists()
    done = station(place.request, tmp_path / "grant", shown, "--combined", config=config)
    assert (done.exit_code, done.json["combined"]) == (0, True)
    assert place.enroll(tmp_path / "grant", token).json["combined"] is True
    (entry,) = read_trust_list(station.trust_list.read_bytes(), token.owner).authorities
    assert entry.combined is True


def test_another_machine_does_not_become_a_known_authority_by_itself(place, station, tmp_path):
    first, other = place.init(), Place(tmp_path / "other")
    assert station(place.request, tmp_path / "grant", first.json["request"]).exit_code == 0
    shown = other.init("--ma-id", first.json["authority"]).json["request"]
    assert_refused(station(other.request, tmp_path / "second", shown), 7, "TakeOver")
    assert not (tmp_path / "second").exists()
    assert station(other.request, tmp_path / "second", shown, "--replacement").exit_code == 0


def test_nothing_is_approved_that_is_no_request(place, station, token, tmp_path):
    said = station(place.owner(token), tmp_path / "grant", "AAAA-AAAA-AAAA-AAAA")
    assert_refused(said, 2, "BadRequest")
    assert "OwnerDocument" in said.json["message"]


def test_a_request_tells_whose_it_is(place):
    made = place.init().json
    said = lmsctl("inspect", place.request)
    assert said.json["signer"] == f"urn:localmigration:ma:{made['authority']}"
    assert (said.json["document"], said.json["verified"]) == ("EnrolmentRequest", False)
