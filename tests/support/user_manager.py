"""A real `systemd --user` of nobody's, as a session has it: it leads the control group that it was given."""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path

from tests.support.bus import NOBODY

_HIERARCHIES = [path for path in map(Path, ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")) if path.exists()]
# What a booted machine has, in a mount namespace of its own.
_BOOTED = """
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/$NOBODY
chown $NOBODY:$NOBODY /run/user/$NOBODY
for group in $GROUPS_OF_IT; do echo $$ > "$group/cgroup.procs"; done
exec setpriv --reuid $NOBODY --regid $NOBODY --clear-groups \
    env -i PATH=/usr/bin:/bin HOME="$HOME" XDG_RUNTIME_DIR=/run/user/$NOBODY "$@"
"""
# The manager, and then what is asked of it, each line a command of a shell.
_LED = """
/usr/lib/systemd/systemd --user 2>/dev/null &
until systemctl --user show-environment >/dev/null 2>&1; do kill -0 $! || exit 1; done
systemctl --user is-system-running --wait >/dev/null 2>&1
while read -r line; do
    sh -c "$line" 2>&1 </dev/null; echo "exit $?"
done
systemctl --user exit; wait
"""


class UserManager:
    """The manager of nobody, whose home is this directory."""

    def __init__(self, home: Path) -> None:
        name = f"user-{uuid.uuid4()}"
        self._groups = [group / name for group in _HIERARCHIES or [Path("/sys/fs/cgroup")]]
        for group in self._groups:
            group.mkdir()
            for path in (group, *group.glob("cgroup.*"), *group.glob("tasks")):
                os.chown(path, NOBODY, NOBODY)
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-euc", _BOOTED, "sh", "sh", "-uc", _LED],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "NOBODY": str(NOBODY),
                "GROUPS_OF_IT": " ".join(map(str, self._groups)),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """A command in the session: its exit code, and what it said."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        said = ""
        for line in self._process.stdout:
            if line.startswith("exit "):
                return int(line.removeprefix("exit ")), said
            said += line
        raise RuntimeError(f"the manager ended: {said}")

    def close(self) -> None:
        """Log out."""
        self._process.communicate()
        for group in self._groups:
            subprocess.run(["find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"], check=False)
