"""Machines where a Migration Authority lives, and runs of `lms-authority` as a person's shell would do them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lms.adapters.vault import open_vault
from lms.model.authorities import KeptOwner
from tests.support.platform import Said, Token

ADDRESS = "https://ma.example:8443"


def authority(*arguments: object) -> Said:
    """Run `lms-authority` where nobody can be asked."""
    command = [sys.executable, "-m", "lms.authority.main", "--json", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


@contextmanager
def kept_port() -> Iterator[int]:
    """A port that nobody else gets before a server of ours listens there, or between two of them."""
    with socket.socket() as bound:  # and never listened at
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


class Place:
    """A machine where an authority lives or shall live: its directory, configuration and store."""

    def __init__(self, directory: Path, tcti: str | None = None) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.request = directory / "request"
        self.store = directory / "store.sqlite"
        directory.mkdir()
        self.config = directory / "lms.toml"
        self.configure(tcti)

    def configure(self, tcti: str | None, **more: str) -> Path:
        """Write the configuration; with the TPM at `tcti`, else in software."""
        values = {"state_directory": f'"{self.state}"', "store": f'"sqlite:///{self.store}"'} | more
        if tcti is not None:
            values["tcti"] = f'"{tcti}"'
        self.config.write_text("[authority]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()))
        return self.config

    def run(self, *arguments: object) -> Said:
        """`lms-authority` with this machine's configuration."""
        return authority("--config", self.config, *arguments)

    def init(self, *more: object) -> Said:
        """Make the authority, and its request."""
        return self.run("init", "--address", ADDRESS, "--output", self.request, *more)

    def enroll(self, grant: Path, token: Token, **changes: object) -> Said:
        """Take a grant of the token's owner; `changes` go to the options."""
        words = {"grant": grant, "owner": self.owner(token), "fingerprint": token.fingerprint} | changes
        return self.run("enroll", *(word for name, value in words.items() for word in (f"--{name}", value)))

    def owner(self, token: Token) -> Path:
        """The owner document as a file."""
        path = self.directory / f"owner-{token.fingerprint}"
        path.write_bytes(token.owner.document)
        return path

    def owners(self) -> tuple[KeptOwner, ...]:
        """Who is served, as it stands in the store."""
        vault = open_vault(f"sqlite:///{self.store}")
        try:
            with vault.transaction() as transaction:
                return transaction.owners()
        finally:
            vault.close()


class Program:
    """`lms-authority serve`, and what it says to systemd."""

    def __init__(self, directory, config, module="lms.authority.main", **environment):
        self.said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.said.bind(str(directory / "notify"))
        self.said.settimeout(0.2)
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "--config", str(config), "serve"],
            env=os.environ | {"NOTIFY_SOCKET": str(directory / "notify")} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def until(self, words):
        """What it says to systemd with these words in it; fails where it ended before."""
        while True:
            try:
                said = self.said.recv(4096).decode()
            except TimeoutError:
                assert self.process.poll() is None, self.ended()
                continue
            if words in said:
                return said

    def port(self):
        """Where it listens, once it is ready."""
        port = int(self.until("STATUS=authority").rpartition(" ")[2])
        self.until("READY=1")
        return port

    def ended(self, by=None):
        """Its exit code and what it wrote, once it ended."""
        if by is not None:
            self.process.send_signal(by)
        out, log = self.process.communicate()
        self.said.close()
        return self.process.returncode, out.decode(), log.decode()
