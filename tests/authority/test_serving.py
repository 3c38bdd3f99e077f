"""`lms-authority serve` as systemd runs it, and certificates that change while it does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

from lms.adapters.store import AuthorityDirectory
from lms.adapters.vault import open_vault
from lms.authority.serving import FRESH_S, Certificates
from lms.errors import NobodyServed, VaultFailed
from tests.support.documents import make_owner
from tests.support.keeping import make_authority, station_certificate
from tests.support.tls import MA, tls_certificate
from tests.support.tls_client import QUERY, client_context, exchange, post, secured


class Program:
    """`lms-authority serve`, and what it says to systemd."""

    def __init__(self, directory, port=0):
        self.said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.said.bind(str(directory / "notify"))
        self.said.settimeout(0.2)
        config = directory / "lms.toml"
        config.write_text(f'[authority]\nstate_directory = "{directory}/state"\nlisten = "127.0.0.1:{port}"\n')
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lms.authority.main", "--config", str(config), "serve"],
            env=os.environ | {"NOTIFY_SOCKET": str(directory / "notify")},
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

    def ended(self, by=None):
        """Its exit code and what it wrote, once it ended."""
        if by is not None:
            self.process.send_signal(by)
        out, log = self.process.communicate()
        self.said.close()
        return self.process.returncode, out.decode(), log.decode()


@pytest.fixture
def run(tmp_path):
    running = []

    def start(**more):
        running.append(Program(tmp_path, **more))
        return running[-1]

    yield start
    for program in running:
        program.ended(signal.SIGKILL)


@pytest.fixture
def state(tmp_path):
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(run, state, by):
    authority = make_authority(state)
    authority.store.close()
    program = run()
    port = int(program.until("STATUS=authority").rpartition(" ")[2])
    program.until("READY=1")
    with secured(port, client_context(station_certificate())) as connection:
        assert connection.getpeercert(binary_form=True) == authority.leaf
        assert exchange(connection, post())[0] == 200
        assert exchange(connection, post(QUERY))[0] == 200
    with secured(port) as connection:
        assert exchange(connection, post(QUERY))[0] == 400
        program.process.send_signal(by)
        program.until("STOPPING=1")
    code, out, log = program.ended()
    assert (code, out) == (0, "")
    lines = [line.split(" ", 2)[2] for line in log.splitlines() if line.startswith("lms.authority.server: 127.0.0.1 ")]
    assert [line.split(" ", 1)[1] for line in lines] == [
        "GetMAServiceInformation: done",
        "Query: done",
        "Query: NotAuthorised",
    ]


def test_without_an_authority_nothing_is_served(run, state):
    code, _, log = run().ended()
    assert (code, "lms-authority init" in log) == (7, True)


def test_without_an_owner_nothing_is_served(run, state):
    authority = make_authority(state)
    authority.store.close()
    (state / "vault.sqlite").unlink()
    code, _, log = run().ended()
    assert (code, "lms-authority enroll" in log) == (7, True)


def test_port_that_is_taken_ends_it(run, state):
    make_authority(state).store.close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, log = run(port=taken.getsockname()[1]).ended()
    assert (code, "cannot listen" in log) == (2, True)


# Certificates


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def kept(state):
    """An authority, its certificates, and a way to enrol more owners."""
    authority, clock = make_authority(state), Clock()
    with closing(authority.store):
        certificates = Certificates(authority.identity, authority.store, clock)

        def keep(owner):
            with authority.store.transaction() as transaction:
                transaction.keep_owner(owner)
            clock.now += FRESH_S

        yield authority, certificates, keep


def kept_owner(authority):
    with authority.store.transaction() as transaction:
        return transaction.owners()[0]


def another(authority, label):
    """What is kept of another owner, under the same TLS key."""
    world = make_owner(label)
    fingerprint, document = world.owner.fingerprint, world.owner.document
    return replace(
        kept_owner(authority), fingerprint=fingerprint, document=document, tls_certificate=renewed(authority)
    )


def renewed(authority):
    return tls_certificate(authority.world, MA, key=load_der_private_key(authority.tls_key.reveal(), None))


def test_renewed_certificate_is_shown_to_new_connections(kept):
    authority, certificates, keep = kept
    before, new = certificates.context(), renewed(authority)
    assert certificates.leaf == authority.leaf
    keep(replace(kept_owner(authority), tls_certificate=new))
    assert certificates.context() is not before
    assert certificates.leaf == new


def test_another_owner_s_stations_are_known_and_the_certificate_stays(kept):
    authority, certificates, keep = kept
    for label in ("second", "third", "fourth"):  # some sort before the first
        keep(another(authority, label))
        known = certificates.context().get_ca_certs(binary_form=True)
        assert make_owner(label).owner.ca_certificate in known
        assert authority.world.owner.ca_certificate in known
        assert certificates.leaf == authority.leaf


def test_context_is_kept_where_nothing_changed(kept):
    authority, certificates, keep = kept
    before = certificates.context()
    keep(kept_owner(authority))
    assert certificates.context() is before


def test_vault_that_fails_leaves_the_certificates_as_they_are(kept, state):
    authority, certificates, keep = kept
    before = certificates.context()
    keep(kept_owner(authority))
    (state / "vault.sqlite").write_bytes(b"not a database")
    authority.store.close()
    with pytest.raises(VaultFailed), authority.store.transaction() as transaction:
        transaction.owners()
    assert certificates.context() is before


def test_certificates_of_nobody_are_refused(state, tmp_path):
    authority = make_authority(state)
    authority.store.close()
    identity = AuthorityDirectory(state).load()
    with closing(open_vault(f"sqlite:///{tmp_path / 'empty.sqlite'}")) as empty, pytest.raises(NobodyServed):
        Certificates(identity, empty, Clock())
