"""A private message bus as a machine has it: a real dbus-daemon with the policy of a system bus, and a real polkitd."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lms.link.connection import BUS, Connection

NOBODY = 65534
POLICIES = Path(__file__).parents[2] / "dbus"

# What Debian's system bus allows, and what the packages of polkit and of this project install there.
_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <policy user="polkitd">
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_interface="org.freedesktop.PolicyKit1.AuthenticationAgent"/>
  </policy>
  <policy user="root">
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow own_prefix="org.example"/>
  </policy>
  <policy context="default">
    <allow send_destination_prefix="org.example"/>
  </policy>
  {limits}
  {includes}
</busconfig>
"""


class PrivateBus:
    """One dbus-daemon; `address` is what `bus` in the configuration would name."""

    def __init__(self, *policies: Path, limits: dict[str, int] | None = None) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="bus-"))
        self._directory.chmod(0o755)  # other users connect, as on a machine
        self.address = f"unix:path={self._directory}/socket"
        self._config = self._directory / "bus.conf"
        self._config.write_text(
            _CONFIG.format(
                socket=self._directory / "socket",
                limits="".join(f'<limit name="{name}">{value}</limit>' for name, value in (limits or {}).items()),
                includes="".join(f"<include>{policy}</include>" for policy in policies),
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PrivateBus:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(self) -> PrivateBus:
        """Start it; it listens when this returns."""
        (self._directory / "socket").unlink(missing_ok=True)
        command = ["dbus-daemon", f"--config-file={self._config}", "--nofork", "--nopidfile", "--print-address"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError("dbus-daemon did not start")
        return self

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It reads nothing for a while: what is sent to it stays in the socket, until that is full."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self, by: signal.Signals = signal.SIGKILL) -> None:
        """End it: everybody on it loses his connection."""
        if self._process is not None:
            self._process.send_signal(by)
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


def allowing_nobody(*verbs: str) -> str:
    """A rule of polkit: nobody may do these without a password."""
    actions = ", ".join(f'"org.localmigration1.{verb}"' for verb in verbs)
    return f"""
polkit.addRule(function(action, subject) {{
    if (subject.user == "nobody" && [{actions}].indexOf(action.id) >= 0) {{ return polkit.Result.YES; }}
}});
"""


class PolicyKit:
    """A real polkitd on a private bus, with these action and rule files and no others; needs root."""

    def __init__(self, bus: PrivateBus, directory: Path, actions: Path, rules: str) -> None:
        self._bus = bus
        for name in ("actions", "rules.d", "none"):
            (directory / name).mkdir()
        shutil.copy(actions, directory / "actions")
        (directory / "rules.d" / "50-test.rules").write_text(rules)
        for path in (directory, *directory.iterdir(), *directory.glob("*/*")):  # polkitd is not root when it reads them
            path.chmod(0o755)
        mounts = (
            (directory / "actions", "/usr/share/polkit-1/actions"),
            (directory / "rules.d", "/etc/polkit-1/rules.d"),
            (directory / "none", "/usr/share/polkit-1/rules.d"),
        )
        self._script = "".join(f"mount --bind {here} {there} && " for here, there in mounts)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> PolicyKit:
        """Start it; whoever calls it waits for its name on the bus."""
        self._process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", self._script + "exec /usr/lib/polkit-1/polkitd"],
            env=os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": self._bus.address},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def as_user(uid: int) -> Iterator[None]:
    """Connections made meanwhile are that user's; needs root."""
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


async def owned(connection: Connection, name: str, *, by_somebody: bool = True) -> None:
    """Return when a name has an owner, or has none any more."""
    async with connection.listening(BUS.destination, member="NameOwnerChanged") as signals:
        (there,) = await connection.call(BUS, "NameHasOwner", "s", name)
        while there is not by_somebody:
            changed, _, owner = (await signals.get()).body
            if changed == name:
                there = bool(owner)
