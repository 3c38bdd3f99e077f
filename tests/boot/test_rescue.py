"""A root that does not open: a rescue system brings the key back, and the machine then learns of its new TPM."""

from __future__ import annotations

import pytest

from lms.service.diagnosis import Reason, diagnose
from tests.support.platform import PASSWORD, PRECIOUS, Said, lmsctl


@pytest.fixture
def rescued(booting, tmp_path, child):
    """A machine on a new board, whose key a rescue system with a disk of its own brought back."""
    machine = booting()
    machine.platform.let_go()
    config = machine.config
    (tmp_path / "password").write_bytes(PASSWORD)
    rescue = tmp_path / "rescue.toml"
    own = {"state_directory": tmp_path / "rescue", "bus": f"unix:path={tmp_path}/no-bus"}
    roots = next(line for line in config.read_text().splitlines() if line.startswith("ek_roots"))
    rescue.write_text(f'tcti = "{machine.platform.machine.tcti}"\n{roots}\n')
    with rescue.open("a") as file:
        file.writelines(f'{key} = "{value}"\n' for key, value in own.items())
    given = ("--token", machine.token, "--token-password", tmp_path / "password", "--sheet", machine.boot)
    refused = lmsctl("restore", *given, config=rescue)
    digits = refused.json["message"].rpartition(" ")[2]
    assert lmsctl("restore", *given, "--confirm-key", digits, config=rescue).exit_code == 0
    assert machine.platform.unseal(child) == PRECIOUS
    return machine


def restored(machine) -> Said:
    """The person says on the machine what was said in the rescue system."""
    machine.platform.let_go()
    password = machine.token.with_name("password")
    return lmsctl("restore", "--token", machine.token, "--token-password", password, config=machine.config)


def test_the_look_at_boot_finds_the_key_and_the_service_another_tpm(rescued):
    assert (rescued.look().exit_code, rescued.agent.asked) == (0, [])
    platform = rescued.platform
    assert diagnose(platform.setting, platform.state) is Reason.OTHER_TPM
    platform.let_go()
    assert lmsctl("archive", config=rescued.config).json["error"] == "RestoreFirst"


def test_a_restore_brings_the_state_to_the_new_tpm(rescued, child):
    done = restored(rescued)
    assert (done.exit_code, done.json["changed"], done.json["was"]) == (0, True, "other-tpm")
    platform = rescued.platform
    assert diagnose(platform.setting, platform.state) is Reason.INTACT
    assert platform.unseal(child) == PRECIOUS
    platform.let_go()
    assert lmsctl("archive", config=rescued.config).exit_code == 0
    assert restored(rescued).json["changed"] is False


def test_an_srk_that_somebody_took_away_is_no_other_tpm(booting):
    platform = booting(own=True).platform
    platform.evict(platform.state.srk_handle)
    assert diagnose(platform.setting, platform.state) is Reason.INTACT
