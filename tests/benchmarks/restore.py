"""A machine's key comes back on a new TPM: through `lmsd` and an authority, and by a script of tpm2-tools.

Real on both sides: swtpm, and for ours a message bus, `lmsd`, and `lms-authority serve` over TLS in mode software.
Each round has new TPMs. What is timed of ours is the job on the bus from the moment that the approval is supplied to
its end; what it does before, until it waits for the approval, is added in a second figure. The peer is
`peer_restore.sh`, which says what of it corresponds to what.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lms.model.keys import digits
from lms.wire.restoration import read_restore_request
from tests.benchmarks.figures import Figure, Goal, of_pairs
from tests.support.daemon import Daemon, client
from tests.support.swtpm import LocalCa, SoftwareTpm
from tools.demonstration import Machine, Owner, private_bus, program

_ROUNDS = 5
_LEAST_SPEED = 4.0
_SCRIPT = Path(__file__).with_name("peer_restore.sh")
_DRSK = "restricted|decrypt|userwithauth|noda|sensitivedataorigin"
_STORAGE = "restricted|decrypt|userwithauth|noda|fixedtpm|fixedparent|sensitivedataorigin"
_SIGNING = "sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth"
_RESTRICTED = "restricted|sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda"
_SELECT = "policyduplicationselect -n drsk.name -N {}.name --include-object"
_EITHER = "policyor sha256:approved.branch,offline.branch"
_QUESTION = (
    '<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope">{header}<soap:Body>'
    '<GetMAServiceInformation xmlns="urn:localmigration:service:1"/></soap:Body></soap:Envelope>'
)


def _in_session(step: str, session: str = "session", *more: str) -> str:
    """A program of tpm2-tools that takes a step of a policy."""
    program, *words = step.split()
    return " ".join((program, "-Q", "-S", session, *more, *words))


class _Ours:
    """One owner, one authority in software, one machine that loses its TPM again and again."""

    def __init__(self, folder: Path, closing: ExitStack) -> None:
        for name in ("machine", "authority"):
            (folder / name).mkdir()
        self._folder = folder
        self._owner = Owner(folder / "owner")
        closing.callback(self._owner.remove)
        self._auth = ("--owner-auth", self._owner.owner_auth)
        self._machine = Machine(folder / "machine", private_bus())
        closing.callback(self._machine.bus.__exit__)
        closing.callback(self._machine.switch_off)
        self._asked = 0
        fingerprint = self._owner.make_token()
        self._machine.new_board()
        self._begin_authority(fingerprint, closing)
        self._machine.serve()
        self._machine.lmsctl("provision", "--owner", self._owner.document, "--fingerprint", fingerprint, *self._auth)
        request, grant = folder / "request.xml", folder / "grant.xml"
        shown = self._machine.lmsctl("enroll", "msa", "--request-to", request)["request"]
        self._owner.approve_file(request, shown, grant)
        self._machine.lmsctl("enroll", "msa", "--grant", grant)
        self._machine.lmsctl("enroll", "ma", *self._auth)
        self._machine.lmsctl("archive")

    def _begin_authority(self, fingerprint: str, closing: ExitStack) -> None:
        here = self._folder / "authority"
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        config = here / "lms.toml"
        config.write_text(f'[authority]\nstate_directory = "{here}/state"\nlisten = "127.0.0.1:{port}"\n')
        request, grant = here / "request.xml", here / "grant.xml"
        self.address = f"https://127.0.0.1:{port}"
        made = program(here, "lms-authority", "init", "--address", self.address, "--output", request, config=config)
        self._owner.approve_file(request, made["request"], grant)
        words = ("--grant", grant, "--owner", self._owner.document, "--fingerprint", fingerprint)
        program(here, "lms-authority", "enroll", *words, config=config)
        serving = Daemon(config, "lms.authority.main", "serve")
        closing.callback(serving.remove)
        serving.start().until("READY=1")

    @property
    def maker(self) -> LocalCa:
        """Who certified the machine's TPMs."""
        return self._machine.maker

    def sizes(self) -> dict[str, int]:
        """Bytes of the documents of a restore, of which one was made."""
        state = self._folder / "machine" / "state"
        files = {
            "request": self._folder / f"request{self._asked}.xml",
            "approval": self._folder / f"approval{self._asked}.xml",
            "trust-list": self._owner.register,
            "package": state / "package.xml",
            "state": state / "state.json",
        }
        return {name: file.stat().st_size for name, file in files.items()}

    def restore(self) -> tuple[float, float]:
        """Milliseconds of the request, and of the restore when it was approved, on a new TPM."""
        self._machine.switch_off()
        self._machine.new_board()
        self._machine.serve()
        return asyncio.run(self._restore())

    async def _restore(self) -> tuple[float, float]:
        async with client(self._machine.bus.address) as us:
            began = time.perf_counter()
            _, path = await us.verb("Restore", {}, {"owner-auth": self._owner.owner_auth.read_bytes()})
            await us.until(path, "waiting", Waiting=["approval"])
            asking = time.perf_counter() - began
            approval = self._approval_of(await us.collect(path, "approval")).read_bytes()
            began = time.perf_counter()
            await us.supply(path, "approval", approval)
            end = await us.until(path, "finished")
            restoring = time.perf_counter() - began
        if end["Result"] != "done":
            raise RuntimeError(f"cannot restore: {end['Error']}: {end['Message']}")
        return asking * 1000, restoring * 1000

    def _approval_of(self, document: bytes) -> Path:
        self._asked += 1
        request, answer = (self._folder / f"{kind}{self._asked}.xml" for kind in ("request", "approval"))
        request.write_bytes(document)
        self._owner.approve_file(request, digits(read_restore_request(document).request_id), answer)
        return answer


class _Peer:
    """The server of tpm_keys' manner, with its copy of a machine's key; each restore has a new TPM."""

    def __init__(self, folder: Path, ours: _Ours, closing: ExitStack) -> None:
        self._folder = folder
        self._address, self._maker = ours.address, ours.maker
        self._rounds = 0
        folder.mkdir()
        (folder / "owner-auth").write_text("owner authorisation of the benchmark")
        self._make_documents(ours.sizes())
        self._server = SoftwareTpm(folder / "server").start()
        closing.callback(self._server.remove)
        self._tool(self._server, "changeauth -Q -c o file:owner-auth")
        self._make_keys()

    def _run(self, command: str, within: Path, **environment: str) -> None:
        done = subprocess.run(
            command.split(), cwd=within, env=os.environ | environment, capture_output=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr.decode()}")

    def _tool(self, tpm: SoftwareTpm, words: str, within: Path | None = None) -> None:
        """Run a program of tpm2-tools, and leave no object in one of the three slots of the TPM."""
        for command in (f"tpm2_{words}", "tpm2_flushcontext -t"):
            self._run(command, within or self._folder, TPM2TOOLS_TCTI=tpm.tcti)

    def _make_documents(self, sizes: Mapping[str, int]) -> None:
        """Files in the sizes of our documents, signed by one whom an owner certified; and what is asked."""
        here, key = self._folder, "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        self._run(f"openssl req -x509 {key} -keyout owner.key -out owner.pem -subj /CN=owner", here)
        self._run(f"openssl req -x509 {key} -keyout signer.key -out signer.pem -subj /CN=signer "
                  "-CA owner.pem -CAkey owner.key -addext basicConstraints=critical,CA:FALSE", here)  # fmt: skip
        (here / "question.xml").write_text(_QUESTION.format(header=""))
        for name, size in sizes.items():
            content = os.urandom(size)
            (here / f"{name}.xml").write_bytes(content)
            block = f'<lms:Document xmlns:lms="urn:benchmark">{base64.b64encode(content).decode()}</lms:Document>'
            header = f"<soap:Header>{block}</soap:Header>"
            (here / f"with-{name}.xml").write_text(_QUESTION.format(header=header))
            self._run(f"openssl dgst -sha256 -sign signer.key -out {name}.xml.sig {name}.xml", here)
        (here / "nonces").write_bytes(os.urandom(64))
        (here / "package.again").write_bytes((here / "package.xml").read_bytes())
        (here / "state").write_bytes(os.urandom(sizes["state"]))
        host, port = urlsplit(self._address).hostname or "", urlsplit(self._address).port or 0
        seen = x509.load_pem_x509_certificate(ssl.get_server_certificate((host, port)).encode())
        spki = seen.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._pin = f"sha256//{base64.b64encode(hashlib.sha256(spki).digest()).decode()}"

    def _digest(self, within: Path, policy: str, *steps: str) -> None:
        """The digest of a policy, as a file of that name."""
        for words in ("startauthsession -Q -S trial", *(_in_session(s, "trial", f"-L {policy}") for s in steps)):
            self._tool(self._server, words, within)
        self._tool(self._server, "flushcontext trial", within)

    def _make_policy(self) -> None:
        """Owner and approved destination, or owner and recovery key."""
        here, folder, owner = self._server, self._folder, "policysecret -c o file:owner-auth"
        (folder / "approver.ref").write_bytes(os.urandom(32))
        self._run("openssl ecparam -genkey -name prime256v1 -noout -out approver.key", folder)
        self._run("openssl ec -in approver.key -pubout -out approver.pem", folder)
        self._tool(here, "loadexternal -Q -C o -G ecc -u approver.pem -c approver.ctx -n approver.name")
        self._tool(here, f"createprimary -Q -C n -G ecc -c recovery.ctx -a {_STORAGE}")
        self._tool(here, "readpublic -Q -c recovery.ctx -o recovery.pub -n recovery.name")
        (folder / "recovery.hex").write_text((folder / "recovery.name").read_bytes().hex())
        self._digest(folder, "offline.branch", "policyduplicationselect -N recovery.name", owner)
        (folder / "nothing").write_bytes(bytes(32))
        self._digest(folder, "approved.branch", "policyauthorize -i nothing -q approver.ref -n approver.name", owner)
        self._digest(folder, "policy", _EITHER)

    def _approve(self, parent: str, within: Path) -> None:
        """The approval of the key's way to the parent, whose Name lies in a file."""
        self._digest(within, f"{parent}.approved", _SELECT.format(parent))
        said = (within / f"{parent}.approved").read_bytes() + (within / "approver.ref").read_bytes()
        (within / f"{parent}.approval").write_bytes(said)
        self._run(f"openssl dgst -sha256 -sign approver.key -out {parent}.signature {parent}.approval", within)

    def _make_keys(self) -> None:
        """A storage key of the server, the machine's key below it, a probe below that."""
        here = self._server
        (self._folder / "probe.txt").write_text("a probe")
        self._tool(here, f"createprimary -Q -C o -P file:owner-auth -G ecc -c server.ctx -a {_STORAGE}")
        self._tool(here, "readpublic -Q -c server.ctx -o server.pub -n server.name")
        self._make_policy()
        self._tool(here, f"create -Q -C server.ctx -G ecc -L policy -u drsk.pub -r drsk.priv -a {_DRSK}")
        self._tool(here, "load -Q -C server.ctx -u drsk.pub -r drsk.priv -c drsk.ctx")
        self._tool(here, "create -Q -C drsk.ctx -i probe.txt -u probe.pub -r probe.priv -a userwithauth|noda")
        self._tool(here, "evictcontrol -Q -C o -P file:owner-auth -c drsk.ctx 0x81000004")
        self._tool(here, "readpublic -Q -c 0x81000004 -n drsk.name")
        self._approve("server", self._folder)

    def _ask(self, new: SoftwareTpm, to: Path) -> None:
        """What a machine did before its approval came: its SRK is in place, its signing key is made."""
        self._tool(new, "changeauth -Q -c o file:owner-auth", to)
        self._tool(new, f"createprimary -Q -C o -P file:owner-auth -G ecc -c srk.ctx -a {_STORAGE}", to)
        self._tool(new, "evictcontrol -Q -C o -P file:owner-auth -c srk.ctx 0x81000003", to)
        (to / "sign-auth").write_text(os.urandom(16).hex())
        self._tool(new, f"create -Q -C srk.ctx -G ecc -p file:sign-auth -u sign.pub -r sign.priv -a {_SIGNING}", to)
        self._tool(new, "load -Q -C srk.ctx -u sign.pub -r sign.priv -c sign.ctx", to)
        self._tool(new, "readpublic -Q -c sign.ctx -f pem -o sign.pem", to)

    def _answer(self, new: SoftwareTpm, to: Path) -> None:
        """What the server sends then: its key for the machine's SRK, and three secrets that only this chip opens."""
        here = self._server
        for name, handle in (("srk", "srk.ctx"), ("ek", "0x81010001")):
            self._tool(new, f"readpublic -Q -c {handle} -o {name}.pub -n {name}.name", to)
        self._tool(new, f"createprimary -Q -C e -G ecc256:ecdsa-sha256:null -c ak.ctx -a {_RESTRICTED}", to)
        self._tool(new, "readpublic -Q -c ak.ctx -f pem -o ak.key -n ak.name", to)
        (to / "secret").write_text(os.urandom(16).hex())
        self._certify(to)
        for credential, name in (("session", "srk"), ("inner", "srk"), ("certificates", "ak")):
            named = (to / f"{name}.name").read_bytes().hex()
            self._run(f"tpm2_makecredential -Q -T none -u ek.pub -n {named} -s secret -o {credential}.cred", to)
        (to / "drsk.inner").write_bytes(os.urandom(16))
        self._approve("srk", to)
        for words in (
            "startauthsession -Q --policy-session -S session",
            _in_session(_SELECT.format("srk")),
            "loadexternal -Q -C o -G ecc -u approver.pem -c approver.ctx",
            "verifysignature -Q -c approver.ctx -g sha256 -m srk.approval -s srk.signature -f ecdsa -t ticket",
            _in_session("policyauthorize -i srk.approved -q approver.ref -n approver.name -t ticket"),
            _in_session("policysecret -c o file:owner-auth"),
            _in_session(_EITHER),
            "loadexternal -Q -C o -u srk.pub -c new.ctx",
            "duplicate -Q -C new.ctx -c 0x81000004 -G aes -p session:session -i drsk.inner -r drsk.dup -s drsk.seed",
            "flushcontext session",
        ):
            self._tool(here, words, to)

    def _certify(self, to: Path) -> None:
        """The owner's certificates of the machine's keys, which the secret opens."""
        self._run("openssl req -new -key signer.key -subj /CN=machine -out key.csr", to)
        for key, certificate in (("ak.key", "ak.pem"), ("sign.pem", "sign-certificate.pem")):
            self._run(f"openssl x509 -req -in key.csr -force_pubkey {key} -CA owner.pem -CAkey owner.key "
                      f"-out {certificate}", to)  # fmt: skip
        self._run("tar -cf certificates.tar ak.pem sign-certificate.pem", to)
        self._run("openssl enc -aes-256-cbc -pbkdf2 -iter 1 -pass file:secret -in certificates.tar "
                  "-out certificates.enc", to)  # fmt: skip
        for name in ("ak.key", "ak.pem", "sign-certificate.pem", "certificates.tar"):
            (to / name).unlink()

    def restore(self) -> float:
        """Milliseconds of the script, on a new TPM."""
        self._rounds += 1
        to = self._folder / f"machine{self._rounds}"
        to.mkdir()
        for file in self._folder.iterdir():
            if file.is_file():
                (to / file.name).write_bytes(file.read_bytes())
        new = SoftwareTpm(to / "tpm")
        new.manufacture(self._maker.directory)
        (to / "maker-root.pem").write_bytes(self._maker.root.read_bytes())
        (to / "maker.pem").write_bytes(self._maker.issuer.read_bytes())
        new.start()
        try:
            self._ask(new, to)
            self._answer(new, to)
            began = time.perf_counter()
            self._run(f"{_SCRIPT} {to} {self._address} {self._pin}", to, TPM2TOOLS_TCTI=new.tcti)
            return (time.perf_counter() - began) * 1000
        finally:
            new.remove()


def figures() -> Iterator[Figure]:
    """The restore, and the request before it."""
    with ExitStack() as closing:
        folder = Path(closing.enter_context(TemporaryDirectory(prefix="lms-benchmark-")))
        with redirect_stdout(closing.enter_context((folder / "said").open("w"))):
            ours = _Ours(folder, closing)
            ours.restore()  # nobody is the first, and the documents of a restore are there
            peer = _Peer(folder / "peer", ours, closing)
            rounds = [(*ours.restore(), peer.restore()) for _ in range(_ROUNDS)]
    fast = Goal("ratio", at_most=1 / _LEAST_SPEED)
    yield of_pairs("restore, approval given / script of tpm2-tools", "ms", [(r, p) for _, r, p in rounds], fast)
    yield of_pairs("restore, with its request / script of tpm2-tools", "ms", [(a + r, p) for a, r, p in rounds])
