"""A TPM that freezes, dies, is reset or loses its slots; and channels of other kinds."""

from __future__ import annotations

import os
import signal
import socket
import threading
import tty
from concurrent.futures import ThreadPoolExecutor

import pytest
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPM2_SE
from tpm2_pytss.types import TPMT_SYM_DEF

from lms.adapters.channel import Channel, endpoint_for
from lms.adapters.tpm import TpmDevice
from lms.adapters.tpm.connection import Salt
from lms.adapters.tpm.context import Context
from lms.errors import AuthFailed, BadConfiguration, TpmUnavailable
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, Algorithm
from lms.model.secret import Secret
from lms.wire.tpm.public import name_of, srk_template
from tests.adapters.tpm.bench import NOTHING, OWNER, PROBE, forget_startup, plain_esapi

START_AUTH_SESSION = bytes.fromhex("00000176")


def test_a_frozen_tpm_is_given_up(new_platform):
    platform = new_platform(deadline_s=1.0)
    platform.machine.freeze()
    with pytest.raises(TpmUnavailable, match="does not answer"):
        platform.tpm.random(8)
    with pytest.raises(TpmUnavailable):
        platform.tpm.read_public(SRK_HANDLE)
    platform.machine.thaw()
    assert platform.tpm.read_public(SRK_HANDLE) == platform.srk
    assert len(platform.tpm.random(8)) == 8


def test_an_rsa_key_may_take_longer(machine):
    channel = Channel(endpoint_for(machine.tcti), 30.0)
    context = Context(channel, Salt(), endorsement_auth=NOTHING, rsa_deadline_s=180.0)
    for algorithm, deadline_s in ((Algorithm.ECC_P256, 30.0), (Algorithm.RSA_2048, 180.0)):
        with context.patience(srk_template(algorithm)):
            assert channel.deadline_s == deadline_s
        assert channel.deadline_s == 30.0
    context.close()


def test_a_killed_tpm_comes_back(platform):
    platform.make_drsk()
    platform.machine.stop(signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(TpmUnavailable):
            platform.tpm.random(8)
    platform.machine.start()
    assert platform.tpm.read_public(DRSK_HANDLE) == platform.drsk
    assert platform.duplicate(platform.recovery.public, platform.recovery.branch).inner_key


def test_a_reset_tpm_is_started(platform):
    forget_startup(platform.machine)
    assert platform.tpm.ensure_srk(SRK_HANDLE, Algorithm.ECC_P256, OWNER) == platform.srk


def test_a_device_that_was_never_there(tmp_path):
    for tcti in (f"swtpm:path={tmp_path}/none", f"device:{tmp_path}/none"):
        with TpmDevice(tcti, deadline_s=1) as tpm, pytest.raises(TpmUnavailable) as caught:
            tpm.random(8)
        assert str(caught.value).endswith(f": the TPM does not answer ('{tcti}': no such file or directory)")


@pytest.mark.parametrize(
    "tcti", ["", "mssim:port=1", "swtpm:", "swtpm:host=localhost", "swtpm:host=h,port=x", "device:x"]
)
def test_configurations_that_are_none(tcti):
    with pytest.raises(BadConfiguration, match="cannot use the TCTI"):
        TpmDevice(tcti)


def test_after_close(platform):
    platform.tpm.close()
    platform.tpm.close()
    with pytest.raises(TpmUnavailable):
        platform.tpm.random(8)


def test_leaked_slots_are_freed(platform):
    with plain_esapi(platform.machine.tcti) as esapi:
        for _ in range(3):
            esapi.create_primary(None, "ecc256", ESYS_TR.ENDORSEMENT)
    platform.tpm.close()
    with TpmDevice(platform.machine.tcti) as tpm:
        assert len(tpm.attestation_key()) > 0


def test_many_callers(platform):
    sealed = platform.tpm.create(SRK_HANDLE, PROBE, auth=NOTHING, data=Secret(b"shared"))
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda _: platform.tpm.unseal(SRK_HANDLE, sealed, auth=NOTHING), range(40))
    assert all(result == Secret(b"shared") for result in results)


class Cutter:
    """Breaks the channel at one command, before it is sent or after it was executed."""

    def __init__(self) -> None:
        self.count = 0
        self.cut: tuple[int, bool] | None = None

    def __call__(self, command: bytes, response: bytes) -> None:
        self.count += not response
        if (self.count, bool(response)) == self.cut:
            self.cut = None
            raise OSError("cut")


def test_cut_at_every_command(new_platform):
    cutter = Cutter()
    platform = new_platform(observe=cutter)
    platform.make_drsk()

    def act():
        cutter.count = 0
        return platform.duplicate(
            platform.recovery.public, platform.msa.branch, platform.msa.approve_parent(platform.recovery.public)
        )

    act()
    total = cutter.count
    assert total > 10
    for number in range(1, total + 1):
        for after in (False, True):
            cutter.cut = (number, after)
            with pytest.raises(TpmUnavailable):
                act()
            assert act().inner_key
            cutter.cut = None


def test_every_act_frees_its_slots(platform):
    platform.make_drsk()
    sealed = platform.tpm.create(DRSK_HANDLE, PROBE, auth=NOTHING, data=Secret(b"x"))
    for _ in range(5):
        platform.duplicate(platform.recovery.public, platform.recovery.branch)
        platform.tpm.certify(SRK_HANDLE, None, NOTHING)
        platform.tpm.unseal(DRSK_HANDLE, sealed, auth=NOTHING)
    with plain_esapi(platform.machine.tcti) as esapi:
        for _ in range(3):
            esapi.create_primary(None, "ecc256", ESYS_TR.ENDORSEMENT)


def test_one_session_serves_an_act_and_ends_with_it(new_platform):
    sent = []
    platform = new_platform(observe=lambda command, response: response or sent.append(command))
    guarded = platform.tpm.create(SRK_HANDLE, PROBE, auth=OWNER, data=Secret(b"guarded"))

    def opened() -> int:
        return sum(command[6:10] == START_AUTH_SESSION for command in sent)

    platform.tpm.begin(NOTHING)
    platform.tpm.trust_salt(name_of(platform.srk))
    before = opened()
    for _ in range(3):
        platform.tpm.unseal(SRK_HANDLE, guarded, auth=OWNER)
    assert opened() == before + 1
    with pytest.raises(AuthFailed):
        platform.tpm.unseal(SRK_HANDLE, guarded, auth=NOTHING)
    platform.tpm.unseal(SRK_HANDLE, guarded, auth=OWNER)
    assert opened() == before + 2
    platform.tpm.close()
    with plain_esapi(platform.machine.tcti) as esapi:
        for _ in range(3):
            esapi.start_auth_session(ESYS_TR.NONE, ESYS_TR.NONE, TPM2_SE.HMAC, TPMT_SYM_DEF(TPM2_ALG.NULL), "sha256")


class Terminal:
    """A character device in front of a swtpm: `path` is opened as /dev/tpmrm0 would be."""

    def __init__(self, machine) -> None:
        self._machine = machine
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self.silent = False
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while command := os.read(self._master, 4096):
            if command == b"end":
                break
            if self.silent:
                continue
            with socket.socket(socket.AF_UNIX) as tpm:
                tpm.connect(str(self._machine.path))
                tpm.sendall(command)
                os.write(self._master, tpm.recv(4096))
        os.close(self._master)

    def end(self) -> None:
        os.write(self._slave, b"end")
        os.close(self._slave)


def test_a_character_device(machine):
    terminal = Terminal(machine)
    with TpmDevice(f"device:{terminal.path}", deadline_s=1.0) as tpm:
        ek = tpm.endorsement_keys()[1]
        tpm.trust_salt(name_of(ek.public))
        srk = tpm.ensure_srk(SRK_HANDLE, Algorithm.ECC_P256, NOTHING)
        terminal.silent = True
        with pytest.raises(TpmUnavailable):
            tpm.random(8)
        terminal.silent = False
        assert tpm.read_public(SRK_HANDLE) == srk
    terminal.end()


def test_tcp(machine):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(100):
            client, _ = listener.accept()
            with client, socket.socket(socket.AF_UNIX) as tpm:
                command = client.recv(4096)
                if not command:
                    return
                tpm.connect(str(machine.path))
                tpm.sendall(command)
                client.sendall(tpm.recv(4096))

    server = threading.Thread(target=serve)
    server.start()
    host, port = listener.getsockname()
    with TpmDevice(f"swtpm:host={host},port={port}") as tpm:
        assert len(tpm.random(8)) == 8
    socket.create_connection((host, port)).close()
    server.join()
    listener.close()
