"""A software TPM as a machine of its own: started, frozen, killed, power-cycled and thrown away by tests."""

from __future__ import annotations

import getpass
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LocalCa:
    """The certification authority of manufactured TPMs: PEM files, and nothing of it outside its directory."""

    directory: Path

    @property
    def issuer(self) -> Path:
        """Certificate of the key that signs EK certificates."""
        return self.directory / "issuercert.pem"

    @property
    def root(self) -> Path:
        """Self-signed certificate that signs the issuer's."""
        return self.directory / "swtpm-localca-rootca-cert.pem"

    def configure(self) -> Path:
        """Write the configuration of swtpm_setup and swtpm_localca; its path."""
        self.directory.mkdir(parents=True, exist_ok=True)
        here = self.directory
        (here / "localca.conf").write_text(
            f"statedir = {here}\nsigningkey = {here}/signkey.pem\n"
            f"issuercert = {here}/issuercert.pem\ncertserial = {here}/certserial\n"
        )
        (here / "localca.options").write_text(
            "--platform-manufacturer Test\n--platform-version 1.0\n--platform-model VM\n"
        )
        (here / "setup.conf").write_text(
            f"create_certs_tool = swtpm_localca\ncreate_certs_tool_config = {here}/localca.conf\n"
            f"create_certs_tool_options = {here}/localca.options\nactive_pcr_banks = sha256\n"
        )
        return here / "setup.conf"


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
    def control(self) -> Path:
        """The control socket, where libtss2 looks for it."""
        return self._sockets / "tpm.ctrl"

    @property
    def tcti(self) -> str:
        """TCTI configuration of this TPM."""
        return f"swtpm:path={self.path}"

    def manufacture(self, ca_directory: Path) -> LocalCa:
        """Before the first start: EKs with certificates at 0x01c00002 (RSA-2048) and 0x01c00016 (P-384)."""
        ca = LocalCa(ca_directory)
        done = subprocess.run(
            [
                "swtpm_setup", "--tpm2", "--create-ek-cert", "--overwrite",
                "--tpmstate", str(self.state), "--config", str(ca.configure()), "--runas", getpass.getuser(),
            ],
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"swtpm_setup failed: {done.stdout}{done.stderr}")
        return ca

    def start(self) -> SoftwareTpm:
        """Power on: TPM2_Startup(CLEAR) is done when this returns."""
        server = ("--server", f"type=unixio,path={self.path}", "--flags", "not-need-init,startup-clear")
        self._serve((self.control, self.path), *server)  # swtpm listens on one after the other
        return self

    def _serve(self, sockets: tuple[Path, ...], *how: str) -> None:
        for leftover in (self.path, self.control):
            leftover.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [
                "swtpm", "socket", "--tpm2",
                "--tpmstate", f"dir={self.state}",
                "--ctrl", f"type=unixio,path={self.control}",
                "--log", f"file={self.state}/log,level=1",
                *how,
            ]
        )  # fmt: skip
        for server in sockets:
            self._await(server)

    def _await(self, server: Path) -> None:
        """Return as soon as somebody listens there."""
        assert self._process is not None
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(server))
                    return
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


class BoardTpm(SoftwareTpm):
    """One on the board of a virtual machine, which powers it on and talks to it over `control` alone."""

    def start(self) -> BoardTpm:
        """Wait for the machine."""
        self._serve((self.control,))
        return self
