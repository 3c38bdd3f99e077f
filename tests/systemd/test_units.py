"""The files in `systemd/`, judged by systemd's own programs; none of them needs a systemd that runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from lxml import etree

from lms.config import AuthorityConfiguration, Configuration
from lms.names import BUS_NAME, RESTORED, STATE
from tests.support.bus import POLICIES

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNITS = sorted(path.name for kind in ("path", "service", "timer") for path in SYSTEMD.glob(f"*.{kind}"))
SERVICES = [unit for unit in UNITS if unit.endswith(".service")]
# What is left: no service without a network, a bus or (lms.service) a TPM; lms-restore.service mounts a medium,
# lms-reactivate.service is obeyed by systemd. Tenths, of systemd's ten.
EXPOSURE = {
    "lms-archive.service": 7,
    "lms-authority.service": 11,
    "lms-evm.service": 16,
    "lms-reactivate.service": 12,
    "lms-restore.service": 18,
    "lms.service": 13,
}


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
        for started in (*lines(name, "ExecStart"), *lines(name, "ExecStopPost")):
            found = started.split()[0].lstrip("-+")
            program = tmp_path / (found.lstrip("/") if found.startswith("/") else f"usr/bin/{found}")
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text("#!/bin/sh\n")
            program.chmod(0o755)
    return tmp_path


def verified(root: Path, unit: str, *how: str) -> subprocess.CompletedProcess[str]:
    how = how or ("--recursive-errors=no",)
    return run("systemd-analyze", "verify", "--man=no", *how, f"--root={root}", unit)


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_every_line(root, unit):
    done = verified(root, unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", ["lms-evm.service", "lms-restore.service"])
def test_what_runs_before_volumes_are_opened_is_not_swapped(unit):
    assert lines(unit, "MemorySwapMax") == ["0"]


def test_no_boot_is_longer_for_the_daemon():
    """A target waits for what it wants where both have their default dependencies (systemd.target(5))."""
    assert lines("lms.service", "DefaultDependencies") == ["no"]
    assert lines("lms.service", "Before") == lines("lms.service", "Conflicts") == ["shutdown.target"]
    assert "sysinit.target" in lines("lms.service", "After")[0].split()


@pytest.fixture
def volume(root):
    """What systemd's generator makes of a line in crypttab, with an own file system for /boot and one on the volume."""
    units = root / "etc/systemd/system"
    wants = units / "sysinit.target.wants"
    wants.mkdir(parents=True)
    (wants / "lms-restore.service").symlink_to("/usr/lib/systemd/system/lms-restore.service")
    written = {
        "systemd-cryptsetup@data.service": (
            "[Unit]\nDefaultDependencies=no\nAfter=cryptsetup-pre.target\nBefore=cryptsetup.target\n"
            "[Service]\nType=oneshot\nExecStart=/usr/bin/lmsctl\n"
        ),
        "boot.mount": "[Unit]\nBefore=local-fs.target\n[Mount]\nWhat=/dev/sda1\nWhere=/boot\n",
        "data.mount": (
            "[Unit]\nBefore=local-fs.target\nAfter=systemd-cryptsetup@data.service\n"
            "Requires=systemd-cryptsetup@data.service\n[Mount]\nWhat=/dev/mapper/data\nWhere=/data\n"
        ),
    }
    for name, text in written.items():
        (units / name).write_text(text)
    for wanting, wanted in (
        ("cryptsetup.target", "systemd-cryptsetup@data.service"),
        ("local-fs.target", "boot.mount"),
        ("local-fs.target", "data.mount"),
    ):
        (units / f"{wanting}.wants").mkdir(exist_ok=True)
        (units / f"{wanting}.wants" / wanted).symlink_to(f"../{wanted}")
    return units


def test_the_boot_has_no_cycle_and_would_tell_one(root, volume):
    everything = ("multi-user.target", "--recursive-errors=yes")
    assert "cycle" not in verified(root, *everything).stderr
    unit = root / "usr/lib/systemd/system/lms-restore.service"
    unit.write_text(unit.read_text().replace("After=tpm2.target", "After=data.mount"))
    assert "cycle" in verified(root, *everything).stderr


def test_systemd_would_tell_a_line_that_it_does_not_understand(root):
    path = root / "usr/lib/systemd/system/lms.service"
    path.write_text(path.read_text().replace("ProtectClock=yes", "ProtectClocks=yes"))
    assert "ProtectClocks" in verified(root, "lms.service").stderr
    (root / "usr/bin/lmsd").unlink()
    assert "/usr/bin/lmsd" in verified(root, "lms.service").stderr


@pytest.mark.parametrize("unit", SERVICES)
def test_nothing_is_open_that_the_service_does_not_need(unit):
    def judged(tenths: int) -> int:
        threshold = f"--threshold={tenths}"
        return run("systemd-analyze", "security", "--offline=true", "--no-pager", threshold, SYSTEMD / unit).returncode

    assert judged(EXPOSURE[unit]) == 0
    assert judged(EXPOSURE[unit] - 1) != 0


def test_what_stays_up_has_a_user_of_its_own():
    assert [unit for unit in SERVICES if lines(unit, "Type") == ["notify"]] == ["lms-authority.service", "lms.service"]
    users = re.findall(r"^u +(\S+)", (SYSTEMD / "lms.sysusers.conf").read_text(), re.MULTILINE)
    assert sorted(users) == sorted(user for unit in SERVICES for user in lines(unit, "User"))


def test_everything_is_bounded_that_a_boot_waits_for():
    for unit in SERVICES:
        assert lines(unit, "Type") == ["notify"] or lines(unit, "TimeoutStartSec"), unit
    assert lines("lms-restore.service", "TimeoutStartSec") == ["4min"]


def test_the_service_says_that_keys_came_back_by_a_file_and_reads_it_to_nobody():
    (watched,) = lines("lms-reactivate.path", "PathChanged")
    assert Path(watched) == Configuration().state_directory / RESTORED
    (hidden,) = lines("lms-reactivate.service", "InaccessiblePaths")
    assert f"-{Configuration().state_directory}" in hidden.split()
    assert lines("lms-archive.service", "ConditionPathExists") == [str(Configuration().state_directory / STATE)]


def test_the_archive_is_made_once_a_day_not_everywhere_at_once_and_later_where_a_machine_was_off():
    wanted = {"OnCalendar": ["daily"], "RandomizedDelaySec": ["2h"], "Persistent": ["yes"]}
    assert {key: lines("lms-archive.timer", key) for key in wanted} == wanted


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
