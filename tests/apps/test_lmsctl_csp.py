"""`lmsctl csp`, with `lmsd` and without it; a private key that is brought crosses no disk."""

from __future__ import annotations

import os
import subprocess

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lms.names import OWNER_AUTH
from tests.support.bus import POLICIES, PrivateBus
from tests.support.containers import PASSWORD, make_pkcs12, signs, verifies
from tests.support.daemon import Daemon
from tests.support.platform import OWNER_AUTH as AUTH
from tests.support.platform import lmsctl


@pytest.fixture
def files(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "password").write_bytes(PASSWORD + b"\n")
    (tmp_path / "files" / OWNER_AUTH).write_bytes(AUTH.reveal())
    return tmp_path / "files"


@pytest.fixture
def config(archived, tmp_path):
    """The configuration of a machine whose TPM other processes use."""
    archived.let_go()
    return archived.write_config(applications_directory=f'"{tmp_path}/apps"')


def test_a_key_is_made_listed_and_exported(config, archived, files):
    key = files / "web.pem"
    said = lmsctl("csp", "add", key, "--algorithm", "ecc-p384", config=config)
    assert (said.exit_code, said.json["algorithm"], said.json["changed"]) == (0, "ecc-p384", True), said.stderr
    assert not lmsctl("csp", "add", key, config=config).json["changed"]
    assert signs(archived, key)
    said = lmsctl("csp", "list", config=config, as_json=False)
    assert all(word in said.stdout for word in (str(key), "present", "ecc-p384"))
    before = key.read_bytes()
    key.unlink()
    assert lmsctl("csp", "export", key, config=config).exit_code == 0
    assert key.read_bytes() == before


def test_a_token_is_added_with_pins_from_files(config, archived, files):
    store = files / "store"
    store.mkdir()
    environment = dict(os.environ, TPM2_PKCS11_TCTI=archived.machine.tcti, TPM2TOOLS_TCTI=archived.machine.tcti)
    init = ["tpm2_ptool", "init", f"--path={store}", "--primary-handle=0x81000004"]
    subprocess.run(init, env=environment, check=True, capture_output=True)
    order = ("csp", "token", store, "--label", "host")
    assert lmsctl(*order, config=config).json["error"] == "BadRequest"  # nobody can be asked
    said = lmsctl(*order, "--pin", "-", "--so-pin", files / "password", config=config, stdin=b"0815")
    assert (said.exit_code, said.json["changed"]) == (0, True), said.stderr
    assert not lmsctl(*order, config=config).json["changed"]
    said = lmsctl("csp", "token", files, "--label", "host", config=config)
    assert (said.exit_code, said.json["error"]) == (2, "NotAStore")


def test_nothing_is_registered_and_it_is_said(config):
    said = lmsctl("csp", "list", config=config, as_json=False)
    assert (said.exit_code, said.stdout) == (0, "")
    assert "no key is registered for a file" in said.stderr


def test_a_tpm_gives_no_private_key_away(config, files):
    said = lmsctl("csp", "export", files / "web.pem", "--pkcs12", config=config)
    assert (said.exit_code, said.json["error"]) == (2, "KeyStaysInTpm")
    assert "gives no private key away" in said.stderr


@pytest.mark.parametrize("algorithm", ["EC", "RSA"])
def test_the_daemon_imports_a_key_and_writes_its_private_half_nowhere(archived, files, tmp_path, algorithm):
    source, key = make_pkcs12(files, algorithm), files / "web.pem"
    with PrivateBus(POLICIES / "org.localmigration1.conf") as bus:
        archived.let_go()
        config = archived.write_config(bus=f'"{bus.address}"', applications_directory=f'"{tmp_path}/apps"')
        daemon = Daemon(config)
        try:
            daemon.start().until("READY=1")
            order = ("csp", "add", key, "--pkcs12", source)
            said = lmsctl(*order, "--password", "-", config=config, stdin=b"a guess")
            assert (said.exit_code, said.json["error"]) == (3, "Pkcs12Refused")
            said = lmsctl(*order, config=config)
            assert said.json["error"] == "BadRequest"  # nobody can be asked
            said = lmsctl(*order, "--password", "-", config=config, stdin=PASSWORD)
            assert (said.exit_code, said.json["changed"]) == (0, True), said.stderr
            assert not lmsctl(*order, "--password", files / "password", config=config).json["changed"]
            (files / "web.pem.crt").unlink()
            said = lmsctl("csp", "export", key, "--owner-auth", files / OWNER_AUTH, config=config)
            assert (said.exit_code, said.json["certificate"]) == (0, "CN=brought.example"), said.stderr
            (row,) = lmsctl("csp", "list", config=config).json["containers"]
            assert (row["file"], row["certificate-kept"]) == ("present", True)
        finally:
            daemon.remove()
    numbers = load_pem_private_key((files / "soft.key").read_bytes(), None).private_numbers()
    secret = getattr(numbers, "private_value", None) or numbers.p
    halves = {secret.to_bytes((secret.bit_length() + 7) // 8, "big"), str(secret).encode(), f"{secret:x}".encode()}
    for path in (*archived.state_directory.rglob("*"), *(tmp_path / "apps").rglob("*"), key):
        if path.is_file():
            content = path.read_bytes()
            assert not any(half in content for half in halves), path
    assert signs(archived, key)
    assert verifies(files / "soft.public", files / "web.pem.data", files / "web.pem.signature")
