"""`lmsctl luks`, with `lmsd` and without it: several volumes, each with its result."""

from __future__ import annotations

import pytest

from lms.errors import Blame
from tests.support.bus import POLICIES, PrivateBus
from tests.support.daemon import Daemon
from tests.support.platform import lmsctl
from tests.support.volumes import PASSPHRASE, make_volume, metadata, rewrite_token


@pytest.fixture
def config(archived, tmp_path):
    """The configuration of a machine whose TPM other processes use."""
    archived.let_go()
    return archived.write_config(applications_directory=f'"{tmp_path}/apps"')


@pytest.fixture
def secret(tmp_path):
    """Files with secrets."""

    def write(name: str, content: bytes):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def test_several_volumes_have_a_result_each(config, volume, tmp_path, secret):
    other, bad = make_volume(tmp_path / "other"), secret("bad", bytes(1 << 20))
    given = ("--passphrase", secret("passphrase", PASSPHRASE.reveal() + b"\n"))
    said = lmsctl("luks", "enroll", volume, bad, other, *given, config=config)
    assert said.exit_code == Blame.CALLER.value
    first, second, third = said.json["volumes"]
    assert (first["device"], first["changed"], first["slot"]) == (str(volume), True, 1)
    assert (second["device"], second["error"]) == (str(bad), "NotLuks2")
    assert (third["device"], third["changed"]) == (str(other), True)
    assert "no LUKS2 header" in said.stderr
    said = lmsctl("luks", "check", volume, other, config=config)
    assert (said.exit_code, [row["opens"] for row in said.json["volumes"]]) == (0, [True, True])
    said = lmsctl("luks", "enroll", volume, other, config=config)
    assert (said.exit_code, [row["changed"] for row in said.json["volumes"]]) == (0, [False, False])
    labels = {entry["label"] for entry in lmsctl("keys", config=config).json["entries"]}
    assert labels == {label for row in (first, third) for label in (row["uuid"], f"{row['uuid']}:1")}
    shown = lmsctl("luks", "list", volume, config=config, as_json=False)
    assert "the recoverable key" in shown.stdout
    assert first["key"] in shown.stdout


def test_one_volume_that_is_refused_is_an_error(config, tmp_path, secret):
    said = lmsctl("luks", "check", secret("bad", bytes(1 << 20)), config=config)
    assert (said.exit_code, said.json["error"]) == (2, "NotLuks2")
    assert lmsctl("luks", "enroll", tmp_path, "--pcrs", "7,24", config=config).json["error"] == "BadRequest"


def test_passphrase_and_pin_come_from_files_or_standard_input(config, volume, secret):
    pin, key = secret("pin", b"0815\n"), secret("key", PASSPHRASE.reveal())
    order = ("luks", "enroll", volume, "--with-pin", "--pin-file", pin, "--pcrs", "7", "--passphrase", "-")
    said = lmsctl(*order, config=config, stdin=PASSPHRASE.reveal())
    assert (said.exit_code, said.json["volumes"][0]["pcrs"]) == (0, [7])
    assert lmsctl("luks", "check", volume, "--pin-file", "-", config=config, stdin=b"0815").exit_code == 0
    assert lmsctl("luks", "check", volume, config=config).json["error"] == "BadRequest"  # nobody can be asked
    said = lmsctl("luks", "remove", volume, "--key-file", secret("wrong", PASSPHRASE.reveal() + b"\n"), config=config)
    assert (said.exit_code, said.json["error"]) == (3, "PassphraseRefused")
    assert lmsctl("luks", "remove", volume, "--key-file", key, config=config).json["volumes"][0]["changed"]
    assert metadata(volume)["tokens"] == {}


def test_a_volume_is_sealed_anew_as_it_was_enrolled_or_as_is_said(config, volume, secret):
    given = ("--passphrase", secret("passphrase", PASSPHRASE.reveal()))
    assert lmsctl("luks", "enroll", volume, "--pcrs", "7", *given, config=config).exit_code == 0
    for said, result in (
        ((), False),
        (("--pcrs", "7"), False),
        (("--pcrs", "8"), "EnrolledOtherwise"),
        (("--without-binding",), "EnrolledOtherwise"),
        (("--without-binding", "--pcrs", "7"), "BadRequest"),
    ):
        answer = lmsctl("luks", "reseal", volume, *said, *given, config=config).json
        assert answer.get("error", answer.get("volumes", [{}])[0].get("changed")) == result
    rewrite_token(volume, **{"tpm2-pcrs": []})
    assert lmsctl("luks", "reseal", volume, *given, config=config).json["error"] == "BindingUnproven"
    said = lmsctl("luks", "reseal", volume, "--pcrs", "7", *given, config=config)
    assert said.json["volumes"][0]["pcrs"] == [7]


def test_the_daemon_does_it_as_well(archived, volume, tmp_path, secret):
    key = secret("key", PASSPHRASE.reveal())
    with PrivateBus(POLICIES / "org.localmigration1.conf") as bus:
        archived.let_go()
        config = archived.write_config(bus=f'"{bus.address}"', applications_directory=f'"{tmp_path}/apps"')
        daemon = Daemon(config)
        try:
            daemon.start().until("READY=1")
            order = ("luks", "enroll", volume, "--key-file", key, "--with-pin", "--pin-file", secret("pin", b"1234"))
            assert lmsctl(*order, "--pcrs", "7", config=config).exit_code == 0
            said = lmsctl("luks", "check", volume, "--pin-file", tmp_path / "pin", config=config)
            assert said.json["volumes"][0]["opens"], said.stderr
            said = lmsctl("luks", "check", volume, "--pin-file", secret("no", b"4321"), config=config)
            assert (said.exit_code, said.json["error"]) == (3, "AuthFailed")
            assert lmsctl("luks", "remove", volume, "--key-file", key, config=config).exit_code == 0
        finally:
            daemon.remove()
