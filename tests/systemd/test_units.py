"""The files in `systemd/`, judged by systemd's own programs; none of them needs a systemd that runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from lxml import etree

from lms.config import AuthorityConfiguration, Configuration
from lms.names import BUS_NAME
from tests.support.bus import POLICIES

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNITS = sorted(path.name for path in SYSTEMD.glob("*.service"))
# What is left: no service without a network, a bus or (lms.service) a TPM. Tenths, of systemd's ten.
EXPOSURE = {"lms.service": 13, "lms-authority.service": 11}


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)


def lines(unit: str, key: str) -> list[str]:
    """The values of a key, in order."""
    return re.findall(rf"^{key}=(.*)$", (SYSTEMD / unit).read_text(), re.MULTILINE)


@pytest.fixture
def root(tmp_path):
    """A machine's root with the units, the programs that they start, and this machine's own units."""
    units = tmp_path / "usr/lib/systemd/system"
    system = next(path for path in map(Path, ("/usr/lib/systemd/system", "/lib/systemd/system")) if path.is_dir())
    shutil.copytree(system, units, symlinks=True, dirs_exist_ok=True)
    (tmp_path / "usr/bin").mkdir()
    for name in UNITS:
        shutil.copy(SYSTEMD / name, units)
        program = tmp_path / lines(name, "ExecStart")[0].split()[0].lstrip("/")
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return tmp_path


def verified(root: Path, unit: str) -> subprocess.CompletedProcess[str]:
    return run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"--root={root}", unit)


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_every_line(root, unit):
    done = verified(root, unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_would_tell_a_line_that_it_does_not_understand(root):
    path = root / "usr/lib/systemd/system/lms.service"
    path.write_text(path.read_text().replace("ProtectClock=yes", "ProtectClocks=yes"))
    assert "ProtectClocks" in verified(root, "lms.service").stderr
    (root / "usr/bin/lmsd").unlink()
    assert "/usr/bin/lmsd" in verified(root, "lms.service").stderr


@pytest.mark.parametrize("unit", UNITS)
def test_nothing_is_open_that_the_service_does_not_need(unit):
    def judged(tenths: int) -> int:
        threshold = f"--threshold={tenths}"
        return run("systemd-analyze", "security", "--offline=true", "--no-pager", threshold, SYSTEMD / unit).returncode

    assert judged(EXPOSURE[unit]) == 0
    assert judged(EXPOSURE[unit] - 1) != 0


def test_there_are_two_services_and_each_has_a_user_of_its_own():
    assert UNITS == ["lms-authority.service", "lms.service"]
    users = re.findall(r"^u +(\S+)", (SYSTEMD / "lms.sysusers.conf").read_text(), re.MULTILINE)
    assert sorted(users) == sorted(user for unit in UNITS for user in lines(unit, "User"))


def test_the_service_may_write_where_its_configuration_says():
    for unit, state in (
        ("lms.service", Configuration().state_directory),
        ("lms-authority.service", AuthorityConfiguration().state_directory),
    ):
        assert Path("/var/lib", *lines(unit, "StateDirectory")) == state
    assert lines("lms.service", "DeviceAllow") == [Configuration().tcti.removeprefix("device:") + " rw"]


def test_the_bus_starts_the_service_and_knows_its_user():
    started = dict(line.split("=", 1) for line in (POLICIES / f"{BUS_NAME}.service").read_text().splitlines()[1:])
    assert started["Name"] == BUS_NAME
    assert [started["SystemdService"]] == lines("lms.service", "Alias")
    assert lines("lms.service", "BusName") == [BUS_NAME]
    policy = etree.parse(str(POLICIES / f"{BUS_NAME}.conf"))
    assert lines("lms.service", "User")[0] in policy.xpath(f"policy[allow/@own='{BUS_NAME}']/@user")


def test_the_service_may_ask_polkit_about_every_action():
    """Not being root, it has to own an action to ask whether somebody else may do it."""
    actions = etree.parse(str(POLICIES / f"{BUS_NAME}.policy")).findall("action")
    owners = {one.findtext("annotate[@key='org.freedesktop.policykit.owner']") for one in actions}
    assert owners == {f"unix-user:{lines('lms.service', 'User')[0]}"}


def test_users_and_directories_are_made(tmp_path):
    (tmp_path / "etc").mkdir()
    done = run("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "lms.sysusers.conf")
    assert done.returncode == 0, done.stderr
    made = {line.split(":")[0]: line.split(":") for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    assert {made["lms"][5], made["lms-authority"][5]} == {"/var/lib/lms", "/var/lib/lms-authority"}
    assert re.search("^tss:", (tmp_path / "etc/group").read_text(), re.MULTILINE)
    done = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", SYSTEMD / "lms.tmpfiles.conf")
    assert done.returncode == 0, done.stderr
    for directory in ("var/lib/lms", "boot/lms"):
        found = (tmp_path / directory).stat()
        assert (oct(found.st_mode), str(found.st_uid)) == ("0o40700", made["lms"][2])
