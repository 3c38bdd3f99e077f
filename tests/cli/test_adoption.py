"""`lmsctl provision --adopt --weaker`: a machine of tpm_keys, and what everybody is shown of its key."""

from __future__ import annotations

import pytest

from tests.support.authority import authority
from tests.support.platform import OWNER_AUTH, PRECIOUS, lmsctl
from tests.support.tpm_keys import TpmKeys

WEAKER = "the owner authorisation alone takes the key out of its TPM, in the clear"


@pytest.fixture
def files(tmp_path, token):
    """What its administrator and its owner have."""
    contents = {
        "owner": token.owner.document,
        "auth": OWNER_AUTH.reveal(),
        "token": token.document,
        "password": token.password,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in (*contents, "request", "grant", "trust")}


@pytest.fixture
def machine(platform, tmp_path):
    """A machine of tpm_keys."""
    kept = TpmKeys(platform.machine.tcti, tmp_path / "tpm_keys")
    kept.provision()
    kept.seal(PRECIOUS.reveal())
    return platform


def adopt(files, token, config, *more):
    order = ("provision", "--owner", files["owner"], "--fingerprint", token.fingerprint, "--owner-auth", files["auth"])
    return lmsctl(*order, "--unverified-tpm", "--adopt", *more, config=config)


def test_it_is_taken_when_everything_is_said(machine, files, token):
    rsa, apart = {"algorithm": '"rsa-2048"'}, {"srk_handle": "0x81000006"}
    wrong = (
        ({}, ("--weaker",), "NotAdoptable", 7),
        (rsa, ("--weaker",), "HandleOccupied", 4),
        (rsa | apart, (), "WeakerKey", 7),
    )
    for settings, words, error, code in wrong:
        said = adopt(files, token, machine.write_config(**settings), *words)
        assert (said.exit_code, said.json["error"]) == (code, error)
        assert said.json["hint"]
        assert machine.store.load() is None
    assert "--weaker" in said.json["hint"]
    done = adopt(files, token, machine.write_config(**rsa, **apart), "--weaker")
    assert (done.exit_code, done.json["changed"], done.json["weaker"]) == (0, True, WEAKER)
    assert (done.json["birth-evidence"], done.json["one-party"]) == (False, "owner-auth")


def test_everybody_is_shown_that_it_is_weaker(machine, files, token):
    config = machine.write_config(algorithm='"rsa-2048"', srk_handle="0x81000006")
    assert adopt(files, token, config, "--weaker").exit_code == 0
    for verb in ("status", "keys"):
        said = lmsctl(verb, config=config)
        assert (said.json["weaker"], said.json["birth-evidence"]) == (WEAKER, False)
        assert WEAKER in lmsctl(verb, config=config, as_json=False).stdout
    shown = lmsctl("enroll", "msa", "--request-to", files["request"], config=config).json["request"]
    asked = lmsctl("inspect", files["request"]).json
    assert (asked["weaker"], asked["birth-evidence"]) == (WEAKER, False)
    done = authority(
        "approve", files["request"], "--token", files["token"], "--token-password", files["password"], "--vouch",
        "--trust-list", files["trust"], "--new-trust-list", "--output", files["grant"], "--digits", shown,
    )  # fmt: skip
    assert (done.exit_code, done.json["weaker"], done.json["birth-evidence"]) == (0, WEAKER, False)
    assert lmsctl("enroll", "msa", "--grant", files["grant"], config=config).exit_code == 0


def test_a_key_of_ours_is_shown_as_no_such_thing(provisioned):
    config = provisioned.write_config()
    provisioned.let_go()
    said = lmsctl("status", config=config).json
    assert (said["birth-evidence"], said["one-party"]) == (True, "token")
    assert "weaker" not in said
    assert "weaker" not in lmsctl("keys", config=config).json
