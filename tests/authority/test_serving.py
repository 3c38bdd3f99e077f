"""`lms-authority serve` as systemd runs it, and certificates that change while it does."""

from __future__ import annotations

import signal
import socket
from contextlib import closing
from dataclasses import replace
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key

from lms.adapters.authority import AuthorityClient
from lms.adapters.store import AuthorityDirectory
from lms.adapters.vault import open_vault
from lms.authority.serving import FRESH_S, Certificates
from lms.errors import AuthorityUntrusted, NobodyServed, VaultFailed
from lms.wire.tls import tls_key
from lms.wire.trust_list import read_trust_list
from tests.support.authority import Place, Program
from tests.support.authority import authority as lms_authority
from tests.support.documents import make_owner
from tests.support.keeping import make_authority, station_certificate
from tests.support.tls import MA, tls_certificate
from tests.support.tls_client import QUERY, client_context, exchange, post, secured


@pytest.fixture
def run(tmp_path):
    running = []

    def start(port=0, config=None):
        if config is None:
            config = tmp_path / "lms.toml"
            config.write_text(f'[authority]\nstate_directory = "{tmp_path}/state"\nlisten = "127.0.0.1:{port}"\n')
        running.append(Program(tmp_path, config))
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
    port = program.port()
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


def test_authority_that_was_enrolled_by_files_is_found_by_its_owner_s_trust_list(run, tmp_path, token):
    place, trust, grant = Place(tmp_path / "ma"), tmp_path / "trust", tmp_path / "grant"
    place.config.write_text(place.config.read_text() + 'listen = "127.0.0.1:0"\n')
    made = place.init().json
    (tmp_path / "token").write_bytes(token.document)
    (tmp_path / "password").write_bytes(token.password)
    approved = lms_authority(
        "approve", place.request, "--token", tmp_path / "token", "--token-password", tmp_path / "password",
        "--trust-list", trust, "--new-trust-list", "--output", grant, "--digits", made["request"],
    )  # fmt: skip
    assert approved.exit_code == 0
    assert place.enroll(grant, token).exit_code == 0
    program = run(config=place.config)
    address, ma_id = f"https://127.0.0.1:{program.port()}", UUID(made["authority"])
    listed = read_trust_list(trust.read_bytes(), token.owner)
    with closing(AuthorityClient(address, ma_id, token.owner, listed)) as client:
        assert client.information().ma_id == ma_id
        assert client.vault_public() == listed.authorities[0].vault
        assert tls_key(x509.load_der_x509_certificate(client.leaf).public_key()) == listed.authorities[0].tls_key
    stranger = AuthorityClient(address, ma_id, make_owner().owner, None)
    with closing(stranger), pytest.raises(AuthorityUntrusted):
        stranger.information()
    assert program.ended(signal.SIGTERM)[0] == 0


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
