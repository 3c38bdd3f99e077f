"""The programs of Debian 13 at a software TPM: in a root directory below `build/`, made once."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

from tests.support.platform import Platform

_PROJECT = Path(__file__).parents[2]
_ROOT = _PROJECT / "build" / "trixie"
_PACKAGES = (
    "cryptsetup-bin,libtss2-esys-3.0.2-0t64,libtss2-mu-4.0.1-0t64,libtss2-rc0t64,"
    "libtss2-tcti-swtpm0t64,systemd-cryptsetup"
)
# In a mount namespace of its own, which ends with it.
_TYPED = """
mount --rbind /dev "$ROOT/dev"
mount -t proc proc "$ROOT/proc"
mount -t tmpfs tmpfs "$ROOT/tmp"
mkdir "$ROOT/tmp/tpm"
mount --bind "$SOCKETS" "$ROOT/tmp/tpm"
cp "$VOLUME" "$ROOT/tmp/volume"
chroot "$ROOT" timeout 60 sh -euc "$TYPED"
cp "$ROOT/tmp/volume" "$VOLUME"
"""
TCTI = "swtpm:path=/tmp/tpm/tpm"
"""Where the TPM is there."""
VOLUME = "/tmp/volume"
"""Where the volume is there."""


def make_root() -> None:
    """Have the root directory, made by whoever comes first, with what `make test-slow` installs."""
    _ROOT.parent.mkdir(exist_ok=True)
    with (_ROOT.parent / ".trixie.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (_ROOT / "usr/bin/systemd-cryptenroll").exists():
            subprocess.run([_PROJECT / "tools/debian-root", "trixie", _ROOT, _PACKAGES], check=True)


def typed(platform: Platform, volume: Path, words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run words of a shell there, at the TPM of a platform and on a volume; `more` goes to the environment."""
    platform.let_go()
    given = {"ROOT": str(_ROOT), "SOCKETS": str(platform.machine.path.parent), "VOLUME": str(volume), "TYPED": words}
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-euc", _TYPED],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]} | given | more,
        stdin=subprocess.DEVNULL,
        check=False,
    )
