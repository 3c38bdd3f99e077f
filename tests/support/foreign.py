"""What other programs bind to a TPM, made by those programs: files and tokens below keys that stay in it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.support.volumes import PASSPHRASE, cryptsetup, metadata


class ProgramFailed(Exception):
    """A program of others said no."""


class Foreign:
    """The programs of a machine whose TPM is at `tcti`, and which has no resource manager; files go to `directory`."""

    def __init__(self, tcti: str, directory: Path) -> None:
        self._tcti = tcti
        self._directory = directory
        names = ("TPM2TOOLS_TCTI", "TPM2OPENSSL_TCTI", "TPM2_PKCS11_TCTI")
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(directory)} | dict.fromkeys(names, tcti)

    def run(self, *words: object, given: bytes = b"") -> bytes:
        """Run a program; what it left loaded in the TPM goes."""
        command = [*map(str, words)]
        done = subprocess.run(
            command, input=given, env=self._environment, cwd=self._directory, capture_output=True, check=False
        )
        for kind in ("-t", "-l", "-s"):
            subprocess.run(["tpm2_flushcontext", kind, "-T", self._tcti], check=True, capture_output=True)
        if done.returncode:
            raise ProgramFailed(f"{command[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def credential(self, name: str, key: str = "tpm2") -> Path:
        """A credential of systemd."""
        (self._directory / "plain").write_text("a secret")
        path = self._directory / f"{name}.cred"
        pcrs = ("--tpm2-pcrs=7",) if key == "tpm2" else ()
        self.run("systemd-creds", "encrypt", f"--with-key={key}", f"--tpm2-device={self._tcti}", *pcrs, "plain", path)
        return path

    def jwe(self, name: str, config: str = '{"pcr_ids":"7,11"}') -> Path:
        """A secret of clevis."""
        path = self._directory / name
        path.write_bytes(self.run("clevis", "encrypt", "tpm2", config, given=b"a secret"))
        return path

    def openssl_key(self, name: str) -> Path:
        """A key that OpenSSL makes where it makes them by default."""
        path = self._directory / name
        self.run(
            "openssl", "genpkey", "-provider", "tpm2", "-provider", "default",
            "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", path,
        )  # fmt: skip
        return path

    def tools_key(self, name: str, parent: str) -> Path:
        """A key of tpm2-tools below a persistent key, as it survives: without fixedTPM and fixedParent."""
        path = self._directory / name
        public, private = path.with_suffix(".pub"), path.with_suffix(".prv")
        attributes = "sign|userwithauth|sensitivedataorigin"
        self.run("tpm2_create", "-C", parent, "-G", "ecc:ecdsa", "-a", attributes, "-u", public, "-r", private)
        self.run("tpm2_encodeobject", "-C", parent, "-u", public, "-r", private, "-o", path)
        return path

    def store(self, name: str, *words: str) -> Path:
        """A PKCS#11 store."""
        path = self._directory / name
        path.mkdir()
        self.run("tpm2_ptool", "init", "--path", path, *words)
        return path / "tpm2_pkcs11.sqlite3"

    def enroll_systemd(self, volume: Path) -> None:
        """A token of systemd below a key of its own."""
        self._environment["PASSWORD"] = PASSPHRASE.reveal().decode()
        self.run("systemd-cryptenroll", f"--tpm2-device={self._tcti}", "--tpm2-pcrs=7", volume)

    def enroll_clevis(self, volume: Path) -> None:
        """A token of clevis, as `clevis luks bind` writes it."""
        passphrase = self.run("clevis", "encrypt", "tpm2", "{}", given=b"passphrase")
        jwe = json.loads(self.run("jose", "jwe", "fmt", "-i", "-", given=passphrase))
        (self._directory / "key").write_bytes(b"passphrase")
        fast = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
        key = self._directory / "key"
        cryptsetup("luksAddKey", "-q", *fast, "--key-file", "-", volume, key, given=PASSPHRASE.reveal())
        slot = max(metadata(volume)["keyslots"])
        token = {"type": "clevis", "keyslots": [slot], "jwe": jwe}
        cryptsetup("token", "import", volume, "--json-file", "-", given=json.dumps(token).encode())
