"""An owner's station and the authorities that it looks into, as processes: each has its machine below `directory`."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from lms.model.trust import Mode
from tests.support.authority import Place, Program, authority, kept_port
from tests.support.documents import PASSWORD, OwnerWorld, make_owner, signed_token
from tests.support.platform import Platform, Said, Token
from tests.support.swtpm import SoftwareTpm


class Station:
    """The owner's machine: token, register, and a station where there is one."""

    def __init__(self, directory: Path, world: OwnerWorld | None = None) -> None:
        self.world = world or make_owner()
        self.directory = directory
        directory.mkdir()
        self.state = directory / "station"
        self.trust_list = self.state / "trust.xml"
        self.config = directory / "lms.toml"
        self.config.write_text(
            f'[station]\nstate_directory = "{self.state}"\n[authority]\nstate_directory = "{directory}/none"\n'
        )
        self.token, self._password = directory / "token", directory / "password"
        self.token.write_bytes(signed_token(self.world))
        self._password.write_bytes(PASSWORD.reveal())
        self.owner = Token(b"", self.world.owner, b"")
        self._owner_document = directory / "owner.xml"
        self._owner_document.write_bytes(self.world.owner.document)

    def run(self, *arguments: object) -> Said:
        """`lms-authority` at this machine."""
        return authority("--config", self.config, *arguments)

    def approve(self, request: object, *more: object) -> Said:
        """Answer a request, vouching for its TPM."""
        first = () if self.trust_list.exists() else ("--new-trust-list",)
        token = ("--token", self.token, "--token-password", self._password)
        return self.run("approve", request, *token, *first, "--vouch", *more)

    def withdraw(self, identity: str) -> Said:
        """Take an identity back."""
        return self.run("withdraw", identity, "--token", self.token, "--token-password", self._password, "--yes")

    def init(self) -> Said:
        """Make the station and its request."""
        return self.run("station", "init", "--output", self.directory / "station.csr")

    def enroll(self, certificate: Path, **changes: object) -> Said:
        """Take a certificate; `changes` go to the options."""
        words = {"owner": self._owner_document, "fingerprint": self.owner.fingerprint} | changes
        said = (word for name, value in words.items() for word in (f"--{name}", value))
        return self.run("station", "enroll", "--certificate", certificate, *said)

    def enrolled(self) -> Station:
        """With its certificate, by its own owner's token."""
        shown = self.init().json["request"]
        certificate = self.directory / "station.pem"
        assert self.approve(self.directory / "station.csr", "--digits", shown, "--output", certificate).exit_code == 0
        assert self.enroll(certificate).exit_code == 0
        return self


class Serving:
    """An authority of the owner that serves at a `port` of its own; its vault is in a TPM where the mode says so.

    `address` is where machines find it, where that is not `port` of this one.
    """

    def __init__(
        self, directory: Path, station: Station, mode: Mode = Mode.SOFTWARE, address: str | None = None
    ) -> None:
        self._ending = ExitStack()
        self.port = self._ending.enter_context(kept_port())
        self.address = address or f"https://127.0.0.1:{self.port}"
        self.place = Place(directory)
        chip = SoftwareTpm(directory / "tpm").start() if mode is Mode.TPM else None
        if chip is not None:
            self._ending.callback(chip.remove)
        self.place.configure(None if chip is None else chip.tcti, listen=f'"127.0.0.1:{self.port}"')
        made = self.place.run(
            "init", "--address", self.address, "--output", self.place.request, "--unverified-tpm"
        ).json
        assert made["mode"] == mode.value
        self.ma_id = made["authority"]
        grant = directory / "grant"
        approved = station.approve(self.place.request, "--digits", made["request"], "--output", grant)
        assert approved.exit_code == 0, approved.stderr
        assert self.place.enroll(grant, station.owner).exit_code == 0
        self._program: Program | None = None

    def __enter__(self) -> Serving:
        self._program = Program(self.place.directory, self.place.config)
        self._program.port()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._program is not None:
            self._program.ended(signal.SIGTERM)
            (self.place.directory / "notify").unlink()
        self.close()

    def close(self) -> None:
        """Let go of the port, and end the TPM."""
        self._ending.close()


def provisioned(machine: Platform, station: Station) -> Path:
    """A new machine of the station's owner; its configuration."""
    machine.provision(station.owner)
    machine.let_go()
    return machine.write_config()
