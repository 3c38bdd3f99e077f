"""What the demonstration is played with: machines, an authority, an owner at a station, three applications.

Everything is real and below one directory: TPMs are swtpm with EK certificates, buses are dbus-daemon, the authority
serves over TLS, and each application is opened with a program that is not ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lms.wire.tpm.key_file import tss2_pem, tss2_private_key
from tests.support.bus import POLICIES, PrivateBus
from tests.support.daemon import Daemon
from tests.support.swtpm import LocalCa, SoftwareTpm

ROOT = Path(__file__).resolve().parent.parent
DRSK = 0x81000004
CHILD = "userwithauth|noda"
SIGNING_CHILD = f"{CHILD}|sensitivedataorigin|sign|decrypt"
Answer = dict[str, Any]


class DemoFailed(Exception):
    """A step did not do what the demo promises."""


def heading(text: str) -> None:
    """Announce a step."""
    print(f"\n== {text}", flush=True)


def check(condition: bool, text: str) -> None:
    """Show what was found, or end the demo."""
    if not condition:
        raise DemoFailed(text)
    print(f"   ok: {text}", flush=True)


def program(folder: Path, name: str, *arguments: object, config: Path, refused: bool = False) -> Answer:
    """Run one of our programs as a user would, with the configuration of his machine; its JSON answer."""
    words = [str(a) for a in arguments]
    print(f"   $ {name} {' '.join(words).replace(str(folder), '…')}", flush=True)
    command = [ROOT / ".venv/bin" / name, "--config", config, "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in done.stderr.splitlines():
        print(f"   {line}", flush=True)
    if (done.returncode != 0) != refused:
        raise DemoFailed(f"{name} {words[0]} ended with {done.returncode}: {done.stdout}")
    answer: Answer = json.loads(done.stdout)
    return answer


@dataclass
class Machine:
    """A machine with `lmsd` on a bus of its own; its disk survives when its TPM does not."""

    folder: Path
    bus: PrivateBus
    maker: LocalCa = field(init=False)
    tpm: SoftwareTpm = field(init=False)
    daemon: Daemon | None = None
    boards: int = 0

    @property
    def config(self) -> Path:
        """Its `lms.toml`."""
        return self.folder / "lms.toml"

    def new_board(self) -> None:
        """Switch on with a TPM fresh from its maker."""
        self.boards += 1
        self.tpm = SoftwareTpm(self.folder / f"tpm{self.boards}")
        self.maker = self.tpm.manufacture(self.folder.parent / "tpm-maker")
        self.tpm.start()
        self.config.write_text(
            f'tcti = "{self.tpm.tcti}"\n'
            f'state_directory = "{self.folder}/state"\n'
            f'ek_roots = ["{self.maker.root}", "{self.maker.issuer}"]\n'
            f'bus = "{self.bus.address}"\n'
        )

    def serve(self) -> None:
        """Start the daemon."""
        self.daemon = Daemon(self.config)
        self.daemon.start().until("READY=1")

    def switch_off(self) -> None:
        """End the daemon; the board with its TPM goes to the bin."""
        if self.daemon is not None:
            self.daemon.remove()
            self.daemon = None
        if self.boards:
            self.tpm.remove()

    def lmsctl(self, *arguments: object, refused: bool = False) -> Answer:
        """Run `lmsctl` on this machine."""
        return program(self.folder.parent, "lmsctl", *arguments, config=self.config, refused=refused)

    def run(self, *command: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run another program against this machine's TPM."""
        environment = dict(os.environ, TPM2TOOLS_TCTI=self.tpm.tcti, TPM2OPENSSL_TCTI=self.tpm.tcti)
        return subprocess.run(command, input=given, capture_output=True, env=environment, check=False)

    def must(self, *command: str, given: bytes = b"") -> bytes:
        """Run another program that has to succeed; its output."""
        done = self.run(*command, given=given)
        if done.returncode != 0:
            raise DemoFailed(f"{' '.join(command)}: {done.stderr.decode(errors='replace')}")
        return done.stdout


@dataclass
class Authority:
    """A Migration Authority with a TPM of its own, serving over TLS."""

    folder: Path
    tpm: SoftwareTpm = field(init=False)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.tpm = SoftwareTpm(self.folder / "tpm")
        self.maker = self.tpm.manufacture(self.folder.parent / "tpm-maker")
        self.tpm.start()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.config.write_text(
            "[authority]\n"
            f'tcti = "{self.tpm.tcti}"\n'
            f'state_directory = "{self.folder}/state"\n'
            f'ek_roots = ["{self.maker.root}", "{self.maker.issuer}"]\n'
            f'listen = "127.0.0.1:{self.port}"\n'
        )

    @property
    def config(self) -> Path:
        """Its configuration."""
        return self.folder / "lms.toml"

    def run(self, *arguments: object) -> Answer:
        """Run `lms-authority` on the authority's machine."""
        return program(self.folder.parent, "lms-authority", *arguments, config=self.config)

    def serve(self) -> None:
        """Be there."""
        self.daemon = Daemon(self.config, "lms.authority.main", "serve")
        self.daemon.start().until("READY=1")

    def remove(self) -> None:
        """End it."""
        if hasattr(self, "daemon"):
            self.daemon.remove()
        self.tpm.remove()


@dataclass
class Owner:
    """The owner, at a station with a TPM of its own that is no authority: token, password, and the register."""

    folder: Path
    tpm: SoftwareTpm = field(init=False)

    def __post_init__(self) -> None:
        self.tpm = SoftwareTpm(self.folder / "tpm")
        maker = self.tpm.manufacture(self.folder.parent / "tpm-maker")
        self.tpm.start()
        self.token, self.document = self.folder / "token.xml", self.folder / "owner.xml"
        self.password, self.owner_auth = self.folder / "password", self.folder / "owner-auth"
        self.password.write_text("a password for the demo only")
        self.owner_auth.write_text("owner authorisation of the demo")
        self.register = self.folder / "station" / "trust.xml"
        self.config.write_text(
            f'tcti = "{self.tpm.tcti}"\n'
            f'state_directory = "{self.folder}/state"\n'
            f'[authority]\nstate_directory = "{self.folder}/authority"\n'
            f'[station]\nstate_directory = "{self.register.parent}"\n'
            f'ek_roots = ["{maker.root}", "{maker.issuer}"]\n'
        )

    @property
    def config(self) -> Path:
        """Its `lms.toml`."""
        return self.folder / "lms.toml"

    def run(self, name: str, *arguments: object) -> Answer:
        """Run one of our programs at the station."""
        return program(self.folder.parent, name, *arguments, config=self.config)

    def make_token(self) -> str:
        """A new token; its fingerprint."""
        made = self.run("lmsctl", "token", "create", self.token, "--token-password", self.password)
        self.run("lmsctl", "token", "public", self.token, "--output", self.document)
        self.fingerprint = str(made["fingerprint"])
        return self.fingerprint

    def approve(self, request: Path | str, *more: object) -> Answer:
        """Approve a request: a file, or the digits under which it waits at an authority."""
        first = () if self.register.exists() else ("--new-trust-list",)
        token = ("--token", self.token, "--token-password", self.password)
        return self.run("lms-authority", "approve", request, *token, *first, *more)

    def approve_file(self, request: Path, shown: str, answer: Path) -> Answer:
        """Approve a file whose digits were read at the machine that asks."""
        return self.approve(request, "--digits", shown, "--output", answer)

    def open_station(self) -> None:
        """From now on the queues of the authorities are open to it."""
        request, certificate = self.folder / "station.csr", self.folder / "station.pem"
        shown = self.run("lms-authority", "station", "init", "--output", request)["request"]
        self.approve_file(request, shown, certificate)
        whose = ("--owner", self.document, "--fingerprint", self.fingerprint)
        self.run("lms-authority", "station", "enroll", "--certificate", certificate, *whose)

    def remove(self) -> None:
        """End its TPM."""
        self.tpm.remove()


@dataclass
class Applications:
    """Three local applications and their files, which nobody touches after they were made."""

    folder: Path

    def create(self, on: Machine) -> None:
        """Make volume, trusted key and OpenSSL key below the recoverable key."""
        self.folder.mkdir()
        self._create_child(on, "luks", "-i", self._secret("luks.key"), "-a", CHILD)
        key = str(self.folder / "luks.key")
        (self.folder / "volume").write_bytes(bytes(20 * 1024 * 1024))
        format_ = ("cryptsetup", "luksFormat", "--type", "luks2", "--batch-mode", "--pbkdf", "pbkdf2")
        on.must(*format_, "--pbkdf-force-iterations", "1000", str(self.folder / "volume"), key)
        self._create_child(on, "trusted", "-i", self._secret("trusted.key"), "-a", CHILD)
        self._create_child(on, "openssl", "-G", "ecc", "-a", SIGNING_CHILD)
        (self.folder / "trusted.blob").write_bytes(tss2_private_key(*self._blob("trusted"), DRSK, sealed=True))
        (self.folder / "openssl.pem").write_bytes(tss2_pem(tss2_private_key(*self._blob("openssl"), DRSK)))
        (self.folder / "luks.key").unlink()
        self._expected = (self.folder / "trusted.key").read_bytes()

    def _secret(self, name: str) -> str:
        path = self.folder / name
        path.write_bytes(secrets.token_bytes(32))
        return str(path)

    def _create_child(self, on: Machine, name: str, *arguments: str) -> None:
        files = ("-u", str(self.folder / f"{name}.pub"), "-r", str(self.folder / f"{name}.priv"))
        on.must("tpm2_create", "-Q", "-C", f"{DRSK:#x}", *files, *arguments)

    def _blob(self, name: str) -> tuple[bytes, bytes]:
        return (self.folder / f"{name}.pub").read_bytes(), (self.folder / f"{name}.priv").read_bytes()

    def digest(self) -> str:
        """Of all the files that a restore must leave alone."""
        names = ("volume", "luks.pub", "luks.priv", "trusted.blob", "openssl.pem")
        return hashlib.sha256(b"".join((self.folder / n).read_bytes() for n in names)).hexdigest()

    def _unseal(self, on: Machine, public: Path, private: Path) -> bytes | None:
        context = str(self.folder / "loaded")
        loaded = on.run("tpm2_load", "-Q", "-C", f"{DRSK:#x}", "-u", str(public), "-r", str(private), "-c", context)
        if loaded.returncode != 0:
            return None
        unsealed = on.run("tpm2_unseal", "-c", context)
        on.run("tpm2_flushcontext", "-t")
        return unsealed.stdout if unsealed.returncode == 0 else None

    def volume_opens(self, on: Machine) -> bool:
        """cryptsetup opens the volume with what the TPM unseals."""
        key = self._unseal(on, self.folder / "luks.pub", self.folder / "luks.priv")
        if key is None:
            return False
        test = ("cryptsetup", "open", "--test-passphrase", "--key-file=-", str(self.folder / "volume"))
        return on.run(*test, given=key).returncode == 0

    def trusted_key_loads(self, on: Machine) -> bool:
        """The blob, taken apart by openssl, is loaded and unsealed as the kernel does it."""
        blob = self.folder / "trusted.blob"
        listing = on.must("openssl", "asn1parse", "-inform", "DER", "-in", str(blob)).decode()
        octets = [line.rpartition(":")[2].strip() for line in listing.splitlines() if "OCTET STRING" in line]
        parts = (self.folder / "asn1.pub", self.folder / "asn1.priv")
        for path, text in zip(parts, octets, strict=True):
            path.write_bytes(bytes.fromhex(text))
        return self._unseal(on, *parts) == self._expected

    def openssl_signs(self, on: Machine) -> bool:
        """openssl with the tpm2 provider signs, and the public key verifies."""
        key, data, signature = (str(self.folder / n) for n in ("openssl.pem", "data", "signature"))
        Path(data).write_bytes(hashlib.sha256(b"what an application signs").digest())
        provider = ("-provider", "tpm2", "-provider", "default")
        signed = on.run("openssl", "pkeyutl", *provider, "-sign", "-inkey", key, "-in", data, "-out", signature)
        on.run("tpm2_flushcontext", "-t")
        if signed.returncode != 0:
            return False
        public = str(self.folder / "openssl.public")
        exported = on.run("openssl", "pkey", *provider, "-in", key, "-pubout", "-out", public)
        on.run("tpm2_flushcontext", "-t")
        verify = ("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-in", data, "-sigfile", signature)
        return exported.returncode == 0 and on.run(*verify).returncode == 0

    def all(self) -> dict[str, Callable[[Machine], bool]]:
        """Each application by name."""
        return {
            "the LUKS2 volume": self.volume_opens,
            "the trusted key": self.trusted_key_loads,
            "the OpenSSL key": self.openssl_signs,
        }

    def check(self, on: Machine, *, work: bool) -> None:
        """All applications work, or all fail."""
        for name, works in self.all().items():
            check(works(on) is work, f"{name} {'opens' if work else 'does not open'}")


def private_bus() -> PrivateBus:
    """A bus with the policy that the package installs."""
    return PrivateBus(POLICIES / "org.localmigration1.conf").start()
