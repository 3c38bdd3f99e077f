"""The Debian package of what is here, and a Debian to install it on (`make test-deb`; as root)."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
_DEPENDENCIES = "ca-certificates"


def run(*words: object, **more) -> str:
    """What a program said, both ways; it has to succeed."""
    done = subprocess.run(
        [str(word) for word in words], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def package() -> Path:
    """The package, as `make deb` builds it."""
    return Path(run(PROJECT / "tools/make-deb").splitlines()[-1])


@pytest.fixture(scope="session")
def unpacked(package, tmp_path_factory) -> Path:
    """What is in it, with its control files below DEBIAN."""
    directory = tmp_path_factory.mktemp("unpacked") / "root"
    run("dpkg-deb", "--raw-extract", package, directory)
    return directory


@pytest.fixture
def debian(package, tmp_path):
    """Runs a command on a new Debian of this machine's suite, which has the package in /srv."""
    root = tmp_path / "root"

    def inside(command: str) -> str:
        suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
        return run(PROJECT / "tools/debian-root", suite, root, _DEPENDENCIES, command)

    inside(":")
    shutil.copy(package, root / "srv")
    yield inside
    run("rm", "-rf", "--one-file-system", root)


Inside = Callable[[str], str]
