"""The Debian package: what is in it, and that it is installed, upgraded, removed and purged without a loss."""

from __future__ import annotations

import re
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.packaging.conftest import PROJECT, Inside, run

pytestmark = pytest.mark.deb

NAME = "local-migration-service"
LIBRARY = "usr/lib/lms"
PROJECT_TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
INSTALL = f"DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends /srv/{NAME}_*.deb"


def test_nothing_lies_outside_of_usr_but_what_an_administrator_may_change(package, unpacked):
    for line in run("dpkg-deb", "--contents", package).splitlines():
        mode, owner, *_, path = line.partition(" -> ")[0].split(maxsplit=5)
        assert re.fullmatch(r"\./((usr|etc)/.*)?", path), line
        assert owner == "root/root"
        assert mode in ("drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x", "lrwxrwxrwx"), line
    configuration = {f"/{path.relative_to(unpacked)}" for path in (unpacked / "etc").rglob("*") if path.is_file()}
    assert set((unpacked / "DEBIAN/conffiles").read_text().splitlines()) == configuration


def test_it_says_what_it_is_and_what_it_needs(package):
    said = dict(re.findall(r"^([\w-]+): (.*)", run("dpkg-deb", "--field", package), re.MULTILINE))
    architecture = run("dpkg", "--print-architecture").strip()
    assert (said["Package"], said["Version"], said["Architecture"]) == (NAME, PROJECT_TABLE["version"], architecture)
    needed = {one.split()[0].removesuffix("t64") for one in said["Depends"].split(", ")}
    assert needed >= {"libc6", "libsystemd0", "libtss2-esys-3.0.2-0"}
    assert needed >= {"cryptsetup-bin", "keyutils", "polkitd", "python3", "systemd", "tpm-udev"}


def test_no_file_names_the_machine_that_built_it(unpacked):
    traces = re.compile(re.escape(str(PROJECT)).encode() + rb"|/tmp/(tmp|pip-)|/pip-(install|build)-")
    found = [path for path in unpacked.rglob("*") if path.is_file() and traces.search(path.read_bytes())]
    assert found == []
    assert traces.search(str(PROJECT / "lms").encode())
    assert not list(unpacked.rglob("direct_url.json"))


def test_links_stay_below_usr(unpacked):
    for path in filter(Path.is_symlink, unpacked.rglob("*")):
        target = path.readlink()
        assert str(target) == "/usr/bin/python3" or not target.is_absolute(), path


def test_all_modules_are_compiled_for_the_python_that_it_needs(unpacked, package):
    (site,) = (unpacked / LIBRARY / "lib").glob("python3.*/site-packages")
    minor = int(site.parent.name.removeprefix("python3."))
    assert f"python3 (>= 3.{minor}~), python3 (<< 3.{minor + 1})" in run("dpkg-deb", "--field", package, "Depends")
    modules = list((site / "lms").rglob("*.py"))
    assert modules
    for module in modules:
        assert (module.parent / "__pycache__" / f"{module.stem}.cpython-3{minor}.pyc").exists()


def test_programs_are_those_of_the_project(unpacked):
    programs = {path.name: path for path in (unpacked / "usr/bin").iterdir()}
    assert programs.keys() == PROJECT_TABLE["scripts"].keys()
    for path in programs.values():
        assert path.read_text().startswith(f"#!/{LIBRARY}/bin/python -I\n")
        assert path.stat().st_mode & stat.S_IXOTH


def test_checksums_are_those_of_the_files(unpacked):
    subprocess.run(["md5sum", "--quiet", "--check", "DEBIAN/md5sums"], cwd=unpacked, check=True)
    listed = {line.split("  ", 1)[1] for line in (unpacked / "DEBIAN/md5sums").read_text().splitlines()}
    assert listed == {
        str(p.relative_to(unpacked)) for p in (unpacked / "usr").rglob("*") if p.is_file() and not p.is_symlink()
    }


def test_maintainer_scripts_are_whole(unpacked):
    for name in ("postinst", "prerm", "postrm"):
        script = unpacked / "DEBIAN" / name
        run("sh", "-n", script)
        assert not re.search("@[A-Z_]+@", script.read_text())


def test_it_is_installed_upgraded_removed_and_purged(debian: Inside, unpacked):
    debian(f"apt-get -qq update; {INSTALL}")
    version = PROJECT_TABLE["version"]
    for program in PROJECT_TABLE["scripts"]:
        assert debian(f"{program} --version") == f"{program} {version}\n"
    assert debian("stat -c '%A %U' /var/lib/lms").split() == ["drwx------", "lms"]

    units = sorted(path.name for path in (unpacked / "usr/lib/systemd/system").iterdir())
    assert (
        debian(f"cd /usr/lib/systemd/system && systemd-analyze verify --man=no --recursive-errors=no {' '.join(units)}")
        == ""
    )
    states = dict(zip(units, debian(f"systemctl --root=/ is-enabled {' '.join(units)} || true").split(), strict=True))
    for asked_for in ("lms-authority.service", "lms-evm.service"):
        assert states.pop(asked_for) == "disabled"
    assert states["lms.service"] == "enabled"
    assert set(states.values()) <= {"enabled", "static"}

    debian("systemctl --root=/ disable lms-archive.timer; echo state >/var/lib/lms/state.json; mkdir /etc/lms")
    debian(f"dpkg -i /srv/{NAME}_*.deb")
    assert debian("systemctl --root=/ is-enabled lms-archive.timer || true") == "disabled\n"

    kept = "cat /var/lib/lms/state.json && ls -d /etc/lms"
    debian(f"dpkg --remove {NAME}")
    assert debian(f"{kept}; ls -d /{LIBRARY} /usr/bin/lmsctl 2>&1 || true").count("No such file") == 2
    said = debian(f"dpkg --purge {NAME}")
    for path in ("/etc/lms", "/var/lib/lms"):
        assert f"kept {path}\n" in said
    assert "lmsctl purge" in said
    assert debian(kept) == "state\n/etc/lms\n"
    assert debian("find /etc/systemd /var/lib/systemd -name '*lms*'") == ""
