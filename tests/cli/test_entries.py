"""`lmsctl` on what is entrusted: values come and go by files and pipes, never by the answer."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from lms.adapters.users import caller_of
from lms.errors import AuthFailed
from lms.model.keys import DRSK_HANDLE
from lms.model.registered import ROOT
from lms.model.tpm import SealedObject
from lms.wire.package_v1 import read_package
from lms.wire.tpm.key_file import tss2_pem, tss2_private_key
from lms.wire.tpm.policy import auth_value
from lms.wire.tpm.public import Attributes, read_public
from tests.cli.test_acts import assert_refused
from tests.support.platform import OWNER_AUTH, PRECIOUS, lmsctl

VALUE = b"the passphrase of a volume"
PLACE = ("--application", "luks", "--label", "disk")
ANNAS = ("--application", "mail", "--label", "account", "--user", "1000:anna")


@pytest.fixture
def files(tmp_path, child, token):
    """What a person has at hand."""
    contents = {
        "value": VALUE + b"\n",
        "data": bytes(range(256)) * 300,
        "anna": b"annas password\n",
        "wrong": b"wrong\n",
        "auth": OWNER_AUTH.reveal() + b"\n",
        "child.pub": child.public,
        "child.priv": child.private,
        "token": token.document,
        "token-password": token.password,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in contents}


@pytest.fixture
def config(archived):
    """Of the archived machine, whose TPM is free."""
    archived.let_go()
    return archived.write_config()


def test_entries_from_registering_to_another_tpm(archived, machines, config, files, tmp_path):
    registered = lmsctl("register", *PLACE, "--password", files["value"], config=config)
    assert registered.json == {
        "kind": "password", "owner": "system", "application": "luks", "label": "disk", "changed": True,
    }  # fmt: skip
    user = ("--user-password", files["anna"])
    assert lmsctl("register", *ANNAS, *user, "--data", files["data"], config=config).json["kind"] == "data"
    key = ("--application", "vpn", "--label", "key")
    pair = ("--public", files["child.pub"], "--private", files["child.priv"])
    assert lmsctl("register", *key, *pair, config=config).json["changed"]
    assert not lmsctl("register", *key, *pair, config=config).json["changed"]
    assert lmsctl("status", config=config).json["state"] == "stale"
    assert lmsctl("archive", config=config).json["state"] == "at-risk"

    new = machines()
    there = new.write_config()
    package = archived.packages[-1]
    name = read_package(package.read_bytes()).content.migrating_keys[0].key_id
    restore = (
        "restore", "--token", files["token"], "--token-password", files["token-password"], "--unverified-tpm",
        "--owner-auth", files["auth"], "--package", package, "--confirm-key", name.digits,
    )  # fmt: skip
    assert lmsctl(*restore, config=there).exit_code == 0
    listed = {(e["kind"], e["owner"], e["label"]) for e in lmsctl("keys", config=there).json["entries"]}
    assert listed == {
        ("password", "system", "disk"),
        ("data", "1000:anna", "account"),
        ("key", "system", "key"),
        ("key", "1000:anna", "user key"),
    }
    out = tmp_path / "out"
    auth = ("--owner-auth", files["auth"])
    assert_refused(lmsctl("retrieve", *PLACE, "--output", out, config=there), 3, "OwnerAuthFailed")
    assert not out.exists()
    said = lmsctl("retrieve", *PLACE, "--output", out, *auth, config=there)
    assert (out.read_bytes(), out.stat().st_mode & 0o777) == (VALUE, 0o600)
    assert VALUE.decode() not in said.stdout + said.stderr
    again = lmsctl("retrieve", *PLACE, "--output", out, *auth, config=there)
    assert_refused(again, 2, "FileExists")
    unasked = lmsctl("retrieve", *PLACE, "--output", out, config=there)  # no authorisation is missed before that
    assert_refused(unasked, 2, "FileExists")
    data = tmp_path / "data-out"
    order = ("retrieve", *ANNAS, "--output", data)
    assert_refused(lmsctl(*order, config=there), 2, "BadRequest")
    assert_refused(lmsctl(*order, "--user-password", files["wrong"], config=there), 3, "AuthFailed")
    assert lmsctl(*order, *user, config=there).exit_code == 0
    assert data.read_bytes() == files["data"].read_bytes()
    assert lmsctl("retrieve", *key, "--output", tmp_path / "key", config=there).exit_code == 0
    assert (tmp_path / "key.pub").read_bytes() == files["child.pub"].read_bytes()
    assert (tmp_path / "key.priv").read_bytes() == files["child.priv"].read_bytes()
    assert lmsctl("unregister", *PLACE, config=there).json == {"changed": True}
    assert lmsctl("unregister", *PLACE, config=there).json == {"changed": False}
    assert_refused(lmsctl("retrieve", *PLACE, "--output", tmp_path / "x", config=there), 7, "NotRegistered")


def test_a_value_goes_through_pipes_and_alone(config, files):
    assert lmsctl("register", *PLACE, "--data", "-", config=config, stdin=b"\0\1\n").exit_code == 0
    order = ("retrieve", *PLACE, "--owner-auth", files["auth"], "--output", "-")
    said = lmsctl(*order, config=config, as_json=False)
    assert (said.exit_code, said.stdout, said.stderr) == (0, "\0\1\n", "")
    assert_refused(lmsctl(*order, config=config), 2, "BadRequest")


def test_a_value_is_never_shown_on_a_terminal(config, files):
    lmsctl("register", *PLACE, "--password", files["value"], config=config)
    master, terminal = pty.openpty()
    command = [
        sys.executable, "-m", "lms.cli.main", "--config", config, "retrieve", *PLACE,
        "--owner-auth", files["auth"], "--output", "-",
    ]  # fmt: skip
    done = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    os.close(terminal)
    os.close(master)
    assert done.returncode == 2
    assert b"standard output is a terminal" in done.stderr


@pytest.mark.parametrize(
    "given", [("--password", "value", "--data", "data"), ("--public", "child.pub"), ("--private", "child.priv")]
)
def test_what_does_not_go_together_is_refused(config, files, given):
    given = [files.get(word, word) for word in given]
    assert_refused(lmsctl("register", *PLACE, *given, config=config), 2, "BadRequest")


def test_what_was_sealed_opens_as_a_tss2_private_key(archived, config, tmp_path):
    pem = tmp_path / "sealed.pem"
    order = ("seal", *PLACE, "--data", "-", "--output", pem)
    said = lmsctl(*order, config=config, stdin=PRECIOUS.reveal())
    assert (said.exit_code, said.json["kind"], said.json["handle"]) == (0, "key", hex(DRSK_HANDLE))
    assert pem.stat().st_mode & 0o777 == 0o600
    assert lmsctl("retrieve", *PLACE, "--output", tmp_path / "key", config=config).exit_code == 0
    sealed = SealedObject((tmp_path / "key.pub").read_bytes(), (tmp_path / "key.priv").read_bytes())
    der = tss2_private_key(sealed.public, sealed.private, DRSK_HANDLE, sealed=True)
    assert pem.read_bytes() == tss2_pem(der)
    assert archived.unseal(sealed) == PRECIOUS
    archived.let_go()
    assert [e["label"] for e in lmsctl("keys", config=config).json["entries"]] == ["disk"]
    too_long = lmsctl("seal", *PLACE, "--data", "-", "--output", pem, config=config, stdin=bytes(129))
    assert_refused(too_long, 2, "BadRequest")


def test_what_was_sealed_under_a_policy_opens_by_that_alone(archived, config, tmp_path):
    pem, policy = tmp_path / "sealed.pem", auth_value()
    order = ("seal", *PLACE, "--data", "-", "--policy", policy.hex(), "--output", pem)
    assert lmsctl(*order, config=config, stdin=PRECIOUS.reveal()).exit_code == 0
    (entry,) = archived.state.registry.keys
    assert (read_public(entry.key.public).attributes, read_public(entry.key.public).policy) == (
        Attributes.NO_DA,
        policy,
    )
    with pytest.raises(AuthFailed):
        archived.unseal(entry.key)
    archived.let_go()
    wrong = lmsctl(
        "seal", *PLACE, "--data", "-", "--policy", "00", "--output", tmp_path / "x", config=config, stdin=b"x"
    )
    assert_refused(wrong, 2, "BadRequest")


def test_a_leftover_of_a_crash_is_removed_at_the_next_start(archived, config):
    leftover = archived.state_directory / "items" / "leftover"
    archived.store.keep_ciphertext(b"")
    leftover.write_bytes(b"?")
    assert lmsctl("status", config=config).exit_code == 0
    assert list(leftover.parent.iterdir()) == []


def test_a_caller_is_called_by_its_number_where_nobody_knows_its_name():
    assert caller_of(os.geteuid()) == ROOT
    assert caller_of(3_999_999_999).owner == "3999999999:3999999999"
    assert caller_of(65534).owner.startswith("65534:")
