"""A machine as tpm_keys provisions it, by tpm2-tools: its commands with its options, on a TPM without a manager."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

from lms.model.tpm import SealedObject
from lms.wire.tpm.marshal import unsized
from tests.support.platform import OWNER_AUTH

DRSK = "0x81000004"
_SRK = "0x81000003"
_PASSWORD = OWNER_AUTH.reveal().decode()


class TpmKeys:
    """tpm_keys at the TPM behind `tcti`, with its files in `directory`."""

    def __init__(self, tcti: str, directory: Path) -> None:
        self._tcti = tcti
        self._directory = directory
        directory.mkdir(exist_ok=True)

    def run(self, program: str, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run one of tpm2-tools; what it says."""
        environment = {"PATH": os.environ["PATH"], "TPM2TOOLS_TCTI": self._tcti}
        return subprocess.run(
            [f"tpm2_{program}", *arguments],
            input=stdin,
            env=environment,
            cwd=self._directory,
            check=True,
            capture_output=True,
        ).stdout

    def provision(self) -> bytes:
        """The owner password, an SRK and a DRSK, as `provision.sh` makes them; the DRSK's public."""
        self.run("changeauth", "-c", "owner", _PASSWORD)
        self.run("createprimary", "-c", "primary.ctx", "-P", _PASSWORD, "-u", "-", stdin=b"SRK\n")
        self.run("evictcontrol", "-C", "o", "-c", "primary.ctx", _SRK, "-P", _PASSWORD)
        self.run("flushcontext", "-t")
        self._policy("startauthsession", "-S", "session.dat")
        attributes = "sensitivedataorigin|userwithauth|restricted|decrypt"
        files = ("-r", "my_drsk.prv", "-u", "my_drsk.pub")
        self.run("create", "-C", _SRK, *files, "-L", "dpolicy.dat", "-a", attributes)
        self.run("load", "-C", _SRK, "-u", "my_drsk.pub", "-r", "my_drsk.prv", "-c", "my_drsk.ctx")
        self.run("evictcontrol", "-C", "o", "-c", "my_drsk.ctx", DRSK, "-P", _PASSWORD)
        self.run("flushcontext", "-t")
        return (self._directory / "my_drsk.pub").read_bytes()

    def _policy(self, *begin: str) -> None:
        self.run(*begin)
        self.run("policycommandcode", "-S", "session.dat", "-L", "dpolicy.dat", "TPM2_CC_Duplicate")
        self.run("policysecret", "-S", "session.dat", "-c", "o", "-L", "dpolicy.dat", _PASSWORD)
        if "--policy-session" not in begin:
            self.run("flushcontext", "session.dat")

    def seal(self, secret: bytes) -> None:
        """A child of an application below the DRSK."""
        files = ("-r", "child.prv", "-u", "child.pub")
        self.run("create", "-C", DRSK, *files, "-i", "-", "-a", "userwithauth|noda", stdin=secret)

    def unseal(self, tcti: str) -> bytes:
        """What the child holds, at any TPM that has the DRSK; its two files are used as they are."""
        there = TpmKeys(tcti, self._directory)
        there.run("load", "-C", DRSK, "-u", "child.pub", "-r", "child.prv", "-c", "child.ctx")
        try:
            return there.run("unseal", "-c", "child.ctx")
        finally:
            there.run("flushcontext", "-t")

    @property
    def child(self) -> SealedObject:
        """The child's two files."""
        return SealedObject(*((self._directory / f"child.{part}").read_bytes() for part in ("pub", "prv")))

    def lock_out(self, tries: int = 1) -> None:
        """Guess another program's password once, where the TPM takes so many guesses."""
        self.run("dictionarylockout", "-s", "-n", str(tries), "-t", "7200", "-l", "1000")
        files = ("-r", "guessed.prv", "-u", "guessed.pub")
        self.run("create", "-C", DRSK, *files, "-p", "right", "-i", "-", "-a", "userwithauth", stdin=b"another's")
        self.run("load", "-C", DRSK, "-u", "guessed.pub", "-r", "guessed.prv", "-c", "guessed.ctx")
        with suppress(subprocess.CalledProcessError):
            self.run("unseal", "-c", "guessed.ctx", "-p", "wrong")
        self.run("flushcontext", "-t")

    def taken_out(self) -> bytes:
        """The DRSK's TPM2B_SENSITIVE in the clear, by nothing but the owner password."""
        self._policy("startauthsession", "--policy-session", "-S", "session.dat")
        files = ("-r", "out.prv", "-s", "out.seed")
        try:
            self.run("duplicate", "-C", "null", "-c", DRSK, "-G", "null", "-p", "session:session.dat", *files)
        finally:
            self.run("flushcontext", "session.dat")
        return unsized((self._directory / "out.prv").read_bytes())
