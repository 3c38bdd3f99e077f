"""Root's keyring in a user namespace of its own: whatever is loaded there is gone with it."""

from __future__ import annotations

import subprocess
import sys

from tests.support.platform import Said


class Namespace:
    """A user namespace where we are root; ends with the `with` block."""

    def __enter__(self) -> Namespace:
        holder = ("unshare", "--user", "--map-root-user", "sh", "-c", "echo && exec cat")
        self._holder = subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.communicate()

    def run(self, *command: object, given: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run a program there."""
        enter = ("nsenter", "--user", "--preserve-credentials", "--target", str(self._holder.pid))
        done = subprocess.run([*enter, *map(str, command)], input=given, capture_output=True, check=False)
        assert not check or done.returncode == 0, done.stderr.decode()
        return done

    def lmsctl(self, *arguments: object, config: object) -> Said:
        """`lmsctl` there."""
        command = (sys.executable, "-m", "lms.cli.main", "--config", config, "--json", *arguments)
        done = self.run(*command, check=False)
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode())

    def load(self, kind: str, name: str, content: bytes) -> str:
        """A key of root's; its number."""
        return self.run("keyctl", "padd", kind, name, "@u", given=content).stdout.decode().strip()

    def payload(self, kind: str, name: str) -> bytes:
        """What the kernel gives of it."""
        number = self.run("keyctl", "search", "@u", kind, name).stdout.decode().strip()
        return self.run("keyctl", "pipe", number).stdout
