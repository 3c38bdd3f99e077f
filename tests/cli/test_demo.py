"""The demonstration, on a machine whose own configuration nobody can read and where `/tmp` alone can be written."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[2]
# `/etc` is what it was, with `lms/lms.toml` of $1. The project, $2, may lie in `/tmp` itself.
ALONE = """
mount -t overlay overlay -o lowerdir="$1":/etc /etc
mount --rbind "$2" /mnt
mount -t tmpfs tmpfs /tmp
mkdir -p "$2"
mount --rbind /mnt "$2"
before=$(ls -A /tmp)
for own in /home /opt /root /run /srv /usr /var; do mount --rbind "$own" "$own"; mount -o remount,bind,ro "$own"; done
mount -o remount,bind,ro /
for own in /etc/lms /home /run /var/lib; do ! touch "$own/written" 2>&1; done
"$2/tools/demo"
test "$(ls -A /tmp)" = "$before"
"""


def test_the_demo_reads_and_changes_nothing_of_the_machines_own_service(tmp_path):
    (tmp_path / "lms").mkdir()
    (tmp_path / "lms/lms.toml").write_text("[this is no configuration")
    alone = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", ALONE, "sh", tmp_path, PROJECT]
    done = subprocess.run(alone, capture_output=True, text=True, check=False, env={"PATH": "/usr/sbin:/usr/bin:/bin"})
    assert done.returncode == 0, done.stdout + done.stderr
    before, _, demo = done.stdout.partition("\n== ")
    assert before.count("Read-only file system") == 4
    assert demo.splitlines()[-1].startswith("== Done")
