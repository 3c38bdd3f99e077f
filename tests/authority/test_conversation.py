"""Our client and our server over TLS: what is said at one end of the line is heard at the other (PROTOCOL §7)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from lms.adapters.authority import AuthorityClient, ClientCertificate
from lms.errors import (
    ApprovalPending,
    AuthorityBusy,
    AuthorityFailed,
    Denied,
    NotAtAuthority,
    NotAuthenticated,
    NotAuthorised,
    SessionExpired,
    TrustListConflict,
)
from lms.model.authorities import Hello, Kind, RequestKind, RequestState
from lms.model.secret import Secret
from lms.wire.authenticate import proof
from lms.wire.exchange_v1 import RESTORE_REQUEST
from lms.wire.signature import sign
from lms.wire.tpm.credential import open_credential
from tests.support.documents import make_platform
from tests.support.endpoint import CHALLENGE, INFORMATION, INVENTORY, SESSION, Endpoint
from tests.support.exchange import restore_request, signed_trust_list
from tests.support.keeping import STATION_KEY, make_authority, station_certificate
from tests.support.tls import MA, pkcs8

TOKEN = b"t" * 32


@pytest.fixture(scope="module")
def authority(chip_in_both_modes, tmp_path_factory):
    """The authority of all these tests, in either mode."""
    chip, directory = chip_in_both_modes, tmp_path_factory.mktemp("authority")
    made = make_authority(directory, None if chip is None else (chip.identity, chip.key))
    yield made
    made.store.close()


@pytest.fixture
def reach(authority):
    """Makes clients of a server; all are closed at the end."""
    clients = []

    def client(server, station=None):
        options = {} if station is None else {"station": ClientCertificate(station, Secret(pkcs8(STATION_KEY)))}
        address, owner = f"https://127.0.0.1:{server.port}", authority.world.owner
        clients.append(AuthorityClient(address, MA.uuid, owner, None, pause=lambda _: None, **options))
        return clients[-1]

    yield client
    for made in clients:
        made.close()


@dataclass
class Visitor:
    """A platform whose TPM is in software, at an authority."""

    client: AuthorityClient
    label: str = "platform"

    def answered(self, leaf=None):
        """A nonce, and the proof that goes with it."""
        p, client_nonce = make_platform(self.label), b"c" * 32
        challenge = self.client.challenge(Hello(p.id, p.ek.public, p.srk.public, (), client_nonce))
        secret = Secret(open_credential(p.ek.private, p.ek.public, p.srk.name, challenge.credential))
        seen = leaf or self.client.leaf
        nonce = challenge.server_nonce
        return nonce, proof(secret, MA.uuid, seen, client_nonce, nonce, p.id, p.ek.name, p.srk.name)

    def session(self):
        return self.client.session(*self.answered())


def signed_request():
    return sign(RESTORE_REQUEST.write(restore_request(at_hand=False)), make_platform().self_issued)


def test_every_operation_passes_through(serving, reach):
    endpoint = Endpoint()
    client = reach(serving(lambda peer: endpoint))
    p = make_platform()
    hello = Hello(p.id, p.ek.public, p.srk.public, (b"one", b"two"), bytes(32))
    assert client.information() == INFORMATION
    assert client.vault_public() == b"vault"
    assert client.challenge(hello) == CHALLENGE
    assert client.session(b"n" * 32, b"p" * 32) == SESSION
    assert client.query(TOKEN) == INVENTORY
    assert client.download(TOKEN, Kind.RELEASED_PACKAGE, "72" * 32) == b"document"
    with pytest.raises(AuthorityFailed):  # the endpoint's receipt is for other bytes
        client.upload(TOKEN, b"<a/>")
    client.delete(b"", "x")
    assert endpoint.calls == [
        ("information",),
        ("vault_public",),
        ("challenge", hello),
        ("session", b"n" * 32, b"p" * 32),
        ("query", TOKEN),
        ("download", TOKEN, Kind.RELEASED_PACKAGE, "72" * 32),
        ("upload", TOKEN, b"<a/>"),
        ("delete", b"", "x"),
    ]


@pytest.mark.parametrize("kind", [NotAtAuthority, ApprovalPending, SessionExpired, Denied, AuthorityBusy])
def test_error_arrives_as_the_class_that_it_was(serving, reach, kind):
    client = reach(serving(lambda peer: Endpoint(kind("cannot do what was asked"))))
    with pytest.raises(kind, match="cannot do what was asked") as caught:
        client.delete(TOKEN, "x")
    assert type(caught.value) is kind


def test_failure_inside_arrives_without_its_words(serving, reach):
    client = reach(serving(lambda peer: Endpoint(KeyError("words"))))
    with pytest.raises(AuthorityFailed) as caught:
        client.vault_public()
    assert "words" not in str(caught.value)


def test_known_pair_gets_a_session_and_the_trust_list(serving, reach):
    visitor = Visitor(reach(serving()))
    session = visitor.session()
    assert session.trust_list is not None
    assert visitor.client.download(session.token, Kind.TRUST_LIST, "") == session.trust_list
    assert visitor.client.query(session.token).trust_list_number == 3


def test_stranger_with_a_tpm_gets_a_session_and_learns_nothing(serving, reach):
    visitor = Visitor(reach(serving()), "stranger")
    session = visitor.session()
    assert session.trust_list is None
    inventory = visitor.client.query(session.token)
    assert (inventory.packages, inventory.requests, inventory.trust_list_number) == ((), (), 0)
    with pytest.raises(NotAuthorised):
        visitor.client.download(session.token, Kind.TRUST_LIST, "")


def test_proof_for_another_certificate_or_challenge_opens_nothing(serving, reach):
    visitor = Visitor(reach(serving()))
    with pytest.raises(NotAuthenticated):  # passed on by somebody in between, who shows his own
        visitor.client.session(*visitor.answered(leaf=station_certificate()))
    nonce, good = visitor.answered()
    other, _ = visitor.answered()
    with pytest.raises(NotAuthenticated):
        visitor.client.session(other, good)
    assert visitor.client.session(nonce, good).token
    with pytest.raises(NotAuthenticated):
        visitor.client.session(nonce, good)


def test_session_outlives_its_connection(serving, reach):
    server = serving()
    token = Visitor(reach(server)).session().token
    assert reach(server).query(token).trust_list_number == 3
    with pytest.raises(SessionExpired):
        reach(server).query(bytes(32))


def test_request_waits_in_the_queue_until_a_station_denies_it(serving, reach):
    server = serving()
    visitor, station = Visitor(reach(server)), reach(server, station_certificate())
    token, document = visitor.session().token, signed_request()
    receipt = visitor.client.upload(token, document)
    assert receipt.changed
    assert not visitor.client.upload(token, document).changed
    request_id = bytes.fromhex(receipt.id)
    with pytest.raises(ApprovalPending) as pending:
        visitor.client.download(token, Kind.RELEASED_PACKAGE, receipt.id)
    assert pending.value.request_id == request_id
    (seen,) = station.query(b"").requests
    assert (seen.request_id, seen.kind, seen.state) == (request_id, RequestKind.RESTORE, RequestState.PENDING)
    assert station.download(b"", Kind.RESTORE_REQUEST, receipt.id) == document
    assert station.delete(b"", receipt.id).changed
    with pytest.raises(Denied) as denied:
        visitor.client.download(token, Kind.RELEASED_PACKAGE, receipt.id)
    assert denied.value.request_id == request_id


def test_second_trust_list_under_a_number_is_refused(serving, reach):
    server = serving()
    session, station = Visitor(reach(server)).session(), reach(server, station_certificate())
    assert not station.upload(b"", session.trust_list).changed
    with pytest.raises(TrustListConflict):
        station.upload(b"", signed_trust_list())  # signed once more: other bytes
    assert station.download(b"", Kind.TRUST_LIST, "") == session.trust_list
