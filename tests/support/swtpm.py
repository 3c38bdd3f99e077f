"""A software TPM as a machine of its own: started, frozen, killed, power-cycled and thrown away by tests."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path


class SoftwareTpm:
    """One swtpm on a unix socket pair below `state`; `tcti` is what `lms.toml` would name."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.state.mkdir(parents=True, exist_ok=True)
        self._sockets = Path(tempfile.mkdtemp(prefix="swtpm-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def path(self) -> Path:
        """The command socket."""
        return self._sockets / "tpm"

    @property
    def tcti(self) -> str:
        """TCTI configuration of this TPM."""
        return f"swtpm:path={self.path}"

    def start(self) -> SoftwareTpm:
        """Power on: TPM2_Startup(CLEAR) is done when this returns."""
        control = self._sockets / "ctrl"
        for leftover in (self.path, control):
            leftover.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [
                "swtpm", "socket", "--tpm2",
                "--tpmstate", f"dir={self.state}",
                "--server", f"type=unixio,path={self.path}",
                "--ctrl", f"type=unixio,path={control}",
                "--flags", "not-need-init,startup-clear",
                "--log", f"file={self.state}/log,level=1",
            ]
        )  # fmt: skip
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(control))
                    return self
                except OSError:
                    if self._process.poll() is not None:
                        raise RuntimeError(f"swtpm ended: {(self.state / 'log').read_text()}") from None

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Power off; SIGKILL is a power cut."""
        if self._process is not None:
            self._process.send_signal(by)
            self._process.wait()
            self._process = None

    def power_cycle(self) -> None:
        """Off and on again; persistent state stays."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop answering without going away."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """Power off and throw the sockets away."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self._sockets, ignore_errors=True)
