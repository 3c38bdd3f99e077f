"""A machine that systemd booted and on which the project is installed: its services, TPM, disk and journal.

For `make test-systemd` only: it stops services and empties directories of the machine on which it runs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from lms.names import DEFAULT_AUTHORITY_DIRECTORY, DEFAULT_CONFIG, DEFAULT_RECOVERY_DIRECTORY, DEFAULT_STATE_DIRECTORY
from tests.support.swtpm import SoftwareTpm

SERVICE = "lms.service"
AUTHORITY = "lms-authority.service"
_CREDENTIAL = Path("/etc/credstore/lms.owner-auth")
_ENCRYPTED = Path("/etc/credstore.encrypted/lms.owner-auth")
_EMPTIED = (DEFAULT_STATE_DIRECTORY, DEFAULT_RECOVERY_DIRECTORY, DEFAULT_AUTHORITY_DIRECTORY)


def run(*words: object) -> str:
    """What a program answers. Raises CalledProcessError."""
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout


class Machine:
    """The machine, with a new TPM and without state; `directory` is one that the service can see."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.archive = directory / "archive"
        self._tpms = 0
        self._tpm: SoftwareTpm | None = None

    def begin(self) -> Machine:
        """Everything is as after the first boot, and nothing runs."""
        self.end()
        for directory in map(Path, _EMPTIED):
            shutil.rmtree(directory, ignore_errors=True)
        run("systemd-tmpfiles", "--create", "lms.tmpfiles.conf")
        self.archive.mkdir()
        shutil.chown(self.archive, "lms")
        self.drop_in(SERVICE, f"ReadWritePaths={self.archive}", f"NoExecPaths={self.archive}")
        self.new_tpm()
        return self

    def end(self) -> None:
        """Stop and forget everything."""
        for service in (SERVICE, AUTHORITY):
            run("systemctl", "disable", "--now", service)
            # Also how often it was started lately; systemd refuses where it has forgotten the service already.
            subprocess.run(["systemctl", "reset-failed", service], check=False, capture_output=True)
            shutil.rmtree(self._drop_ins(service), ignore_errors=True)
        run("systemctl", "daemon-reload")
        for credential in (_CREDENTIAL, _ENCRYPTED):
            credential.unlink(missing_ok=True)
        if self._tpm is not None:
            self._tpm.remove()

    def new_tpm(self) -> None:
        """Another board: the service was stopped."""
        if self._tpm is not None:
            self._tpm.remove()
        self._tpms += 1
        self._tpm = SoftwareTpm(self._directory / f"tpm{self._tpms}").start()
        self._tpm.path.parent.chmod(0o755)
        for socket in (self._tpm.path, self._tpm.control):
            socket.chmod(0o666)
        config = Path(DEFAULT_CONFIG)
        config.parent.mkdir(exist_ok=True)
        config.write_text(f'tcti = "{self._tpm.tcti}"\narchives = ["{self.archive}"]\n')

    def drop_in(self, service: str, *lines: str) -> None:
        """What `systemctl edit` would write."""
        directory = self._drop_ins(service)
        directory.mkdir(exist_ok=True)
        name = f"{len(list(directory.iterdir()))}.conf"
        (directory / name).write_text("[Service]\n" + "".join(f"{line}\n" for line in lines))
        run("systemctl", "daemon-reload")

    def provide(self, owner_auth: bytes) -> None:
        """An administrator keeps the owner authorisation on this machine."""
        _CREDENTIAL.parent.mkdir(mode=0o700, exist_ok=True)
        _CREDENTIAL.write_bytes(owner_auth + b"\n")
        _CREDENTIAL.chmod(0o600)

    def provide_encrypted(self, owner_auth: bytes) -> None:
        """The same, under a key of this machine, as the unit says how."""
        self.provide(owner_auth)
        _ENCRYPTED.parent.mkdir(mode=0o700, exist_ok=True)
        run("systemd-creds", "encrypt", "--with-key=host", "--name=lms.owner-auth", _CREDENTIAL, _ENCRYPTED)
        _CREDENTIAL.unlink()
        (advice,) = re.findall("LoadCredentialEncrypted=.*", run("systemctl", "cat", SERVICE))
        self.drop_in(SERVICE, advice)

    def show(self, key: str, service: str = SERVICE) -> str:
        """A property of a service."""
        return run("systemctl", "show", "--value", f"--property={key}", service).strip()

    def status(self, key: str) -> str:
        """A line of /proc/PID/status of the running service."""
        lines = Path(f"/proc/{self.show('MainPID')}/status").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{key}:"))

    def journal(self) -> str:
        """All that this machine ever wrote down, with all fields."""
        run("journalctl", "--sync")
        return run("journalctl", "--output=export", "--all")

    def packages(self) -> list[Path]:
        """What lies in the archive."""
        return sorted(self.archive.glob("*/*.xml"))

    def _drop_ins(self, service: str) -> Path:
        return Path(f"/etc/systemd/system/{service}.d")
