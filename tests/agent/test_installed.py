"""What starts `lms-agent` in a session: systemd's unit, and the file for sessions that systemd does not lead."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
UNIT = TREE / "systemd/user/lms-agent.service"
AUTOSTART = TREE / "desktop/lms-agent.desktop"


def verified(directory: Path, unit: Path) -> str:
    """What the manager of a user finds wrong with a unit."""
    command = ["systemd-analyze", "verify", "--user", "--man=no", "--recursive-errors=no", str(unit)]
    environment = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(directory), "HOME": str(directory)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.fixture
def unit(tmp_path):
    """The unit, with a program where it looks for one."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/bin/lms-agent", shutil.which("true")))
    return copy


def test_systemd_understands_every_line(tmp_path, unit):
    assert verified(tmp_path, unit) == ""
    unit.write_text(unit.read_text().replace("NoNewPrivileges", "NoNewPrivilege"))
    assert "NoNewPrivilege" in verified(tmp_path, unit)


def test_the_sandbox_takes_no_namespace(tmp_path, unit):
    """Where users have none, a unit that wants one does not start."""
    words = ("Private", "Protect", "ReadOnly", "ReadWrite", "Inaccessible", "Bind", "StateDirectory")
    lines = UNIT.read_text().splitlines()
    assert not [line for line in lines if line.startswith(words)]
    assert {"NoNewPrivileges=yes", "RestrictAddressFamilies=AF_UNIX", "MemoryDenyWriteExecute=yes"} <= {*lines}


def test_a_session_starts_the_program_that_is_installed():
    programs = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]["scripts"]
    entry = configparser.ConfigParser(interpolation=None)
    entry.optionxform = str
    entry.read(AUTOSTART)
    started = entry["Desktop Entry"]
    assert started["Exec"] == started["TryExec"] == "lms-agent"
    assert programs[started["Exec"]] == "lms.agent.main:main"
    assert f"ExecStart=/usr/bin/{started['Exec']}" in UNIT.read_text().splitlines()
    assert started["X-systemd-skip"] == started["X-GNOME-HiddenUnderSystemd"] == "true"
