"""`make install` and `make uninstall`: what the one put there the other takes away, and nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.packaging.conftest import PROJECT

pytestmark = pytest.mark.deb


def install(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DESTDIR": str(root)}
    return subprocess.run(
        [PROJECT / "tools/install", *options], check=False, env=environment, capture_output=True, text=True
    )


def tree(root: Path) -> set[str]:
    """Files and directories."""
    return {str(path.relative_to(root)) for path in root.rglob("*")}


@pytest.fixture
def root(tmp_path) -> Path:
    """A machine on which others have installed something, and an administrator has been at work."""
    for name in ("usr/bin/other", "usr/lib/systemd/system/other.service", "etc/lms/lms.toml", "var/lib/lms/state.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def test_uninstall_takes_away_what_install_put_there(root):
    before = tree(root)
    assert install(root).returncode == 0
    listed = {line.lstrip("/") for line in (root / "usr/lib/lms/installed").read_text().splitlines()}
    outside = {path for path in tree(root) - before if not path.startswith("usr/lib/lms/")}
    assert listed == outside

    # An earlier version had a file that this one has not.
    stale = root / "usr/lib/systemd/system/lms-stale.service"
    stale.write_text("[Unit]\n")
    with (root / "usr/lib/lms/installed").open("a") as file:
        file.write("/usr/lib/systemd/system/lms-stale.service\n")
    assert install(root).returncode == 0
    assert (stale.exists(), {path for path in tree(root) - before if not path.startswith("usr/lib/lms/")}) == (
        False,
        outside,
    )

    done = install(root, "--remove")
    assert (done.returncode, tree(root)) == (0, before)
    assert done.stderr.splitlines() == ["install: kept /etc/lms", "install: kept /var/lib/lms"]


def test_what_was_not_installed_is_not_removed(root):
    before = tree(root)
    done = install(root, "--remove")
    assert (done.returncode, tree(root)) == (1, before)
    assert "hint: " in done.stderr
