"""`lmsctl token`, `inspect` and `verify`: what needs no TPM."""

from __future__ import annotations

import pytest

from lms.wire.package_v1 import read_package
from tests.support.platform import lmsctl


@pytest.fixture
def files(tmp_path, token, package):
    """Documents of one owner."""
    contents = {
        "token": token.document,
        "owner": token.owner.document,
        "package": package,
        "altered": package.replace(b"testhost", b"bosthost"),
        "stray": b"<Stray></Stray>",
        "password": b"correct horse battery\n",
        "empty": b"\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in contents}


def assert_refused(said, exit_code, error) -> None:
    """An error in all its forms."""
    assert (said.exit_code, said.json["error"]) == (exit_code, error)
    assert said.stderr == f"lmsctl: {said.json['message']}\nlmsctl: hint: {said.json['hint']}\n"


def test_a_weak_password_of_a_token_is_told(tmp_path):
    path, password = tmp_path / "new.xml", tmp_path / "password"
    password.write_bytes(b"secret\n")
    made = lmsctl("token", "create", path, "--token-password", password)
    assert (made.exit_code, path.exists()) == (0, True)
    assert "lmsctl: the password is weak: it has at most 28 bits, and 80 are needed\n" in made.stderr
    assert "secret" not in made.stderr


def test_a_token_is_made_once_and_never_overwritten(tmp_path, files):
    path = tmp_path / "new.xml"
    assert_refused(lmsctl("token", "create", path, "--token-password", files["empty"]), 2, "BadRequest")
    assert_refused(lmsctl("token", "create", path), 2, "BadRequest")
    assert not path.exists()
    made = lmsctl("token", "create", path, "--token-password", files["password"])
    assert made.exit_code == 0
    assert "weak" not in made.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    document = path.read_bytes()
    assert b"correct horse" not in document
    assert_refused(lmsctl("token", "create", path, "--token-password", files["password"]), 2, "FileExists")
    assert path.read_bytes() == document
    assert lmsctl("token", "show", path).json["fingerprint"] == made.json["fingerprint"]


def test_show_and_public(tmp_path, token, files):
    shown = lmsctl("token", "show", files["token"]).json
    assert (shown["fingerprint"], shown["token"]) == (token.fingerprint, token.owner.token_id)
    assert "256 MiB" in shown["password"]
    order = ("token", "public", files["token"], "--output", tmp_path / "public.xml")
    assert lmsctl(*order).json["fingerprint"] == token.fingerprint
    assert (tmp_path / "public.xml").read_bytes() == token.owner.document
    assert_refused(lmsctl(*order), 2, "FileExists")
    assert_refused(lmsctl("token", "show", files["owner"]), 6, "WrongDocument")


@pytest.mark.parametrize(
    ("kind", "root"),
    [("token", "EmergencyRecoveryToken"), ("owner", "OwnerDocument"), ("package", "MigrationPackage")],
)
def test_inspect_believes_nothing(files, kind, root):
    said = lmsctl("inspect", files[kind])
    assert (said.exit_code, said.json["document"]) == (0, root)
    assert not said.json.get("verified")


def test_inspect_refuses_what_is_not_ours(files, tmp_path):
    assert lmsctl("inspect", files["stray"]).exit_code in (2, 6)
    assert_refused(lmsctl("inspect", tmp_path / "absent"), 2, "FileProblem")


def test_verify(token, stranger, files, package):
    key = read_package(package).content.migrating_keys[0].key_id.digits
    order = ("--owner", files["owner"], "--fingerprint", token.fingerprint, "--confirm-key", key)
    good = lmsctl("verify", files["package"], *order)
    assert (good.exit_code, good.json["verified"], good.json["signer-approved"]) == (0, True, False)
    assert_refused(lmsctl("verify", files["altered"], *order), 6, "SignatureInvalid")
    order = ("--owner", files["owner"], "--fingerprint", stranger.fingerprint, "--confirm-key", key)
    assert_refused(lmsctl("verify", files["package"], *order), 6, "FingerprintDiffers")
    assert token.fingerprint not in lmsctl("verify", files["package"], *order).stderr, "nobody copies it from there"
    order = (*order[:2], "--fingerprint", token.fingerprint)
    unconfirmed = lmsctl("verify", files["package"], *order)
    assert_refused(unconfirmed, 6, "UntrustedSigner")
    assert "--confirm-key" in unconfirmed.json["hint"]
    wrong = lmsctl("verify", files["package"], *order, "--confirm-key", "AAAA-AAAA-AAAA-AAAA")
    assert_refused(wrong, 6, "FingerprintDiffers")
    assert key not in wrong.stderr


def test_people_get_lines(files, token):
    said = lmsctl("token", "show", files["token"], as_json=False)
    assert f"fingerprint:    {token.fingerprint}\n" in said.stdout
    assert lmsctl("no-such-verb").exit_code == 2
