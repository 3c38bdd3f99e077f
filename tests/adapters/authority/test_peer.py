"""Nothing is said to a peer that is not the authority that was meant."""

from __future__ import annotations

import ssl
import warnings

import pytest

from lms.adapters.authority import ClientCertificate
from lms.errors import AuthorityUnreachable, AuthorityUntrusted, BadRequest
from lms.model.secret import Secret
from lms.model.trust import Identity, Role
from tests.adapters.authority.conftest import GOOD_ANSWER, GOOD_CERTIFICATE, INFORMATION
from tests.support.documents import make_owner, private_key, uuid
from tests.support.hostile import say
from tests.support.tls import CLIENT, MA, MA_KEY, SERVER, listed, pkcs8, tls_certificate

WORLD, STRANGER = make_owner(), make_owner("stranger")
OTHER = Identity(Role.MIGRATION_AUTHORITY, uuid("other ma"))
IMPOSTORS = {
    "by another owner": tls_certificate(STRANGER, MA),
    "self-signed with the right name": tls_certificate(None, MA),
    "another authority": tls_certificate(WORLD, OTHER),
    "a platform": tls_certificate(WORLD, Identity(Role.PLATFORM, MA.uuid)),
    "a station": tls_certificate(WORLD, Identity(Role.STATION, MA.uuid), usages=(SERVER, CLIENT)),
    "two authorities": tls_certificate(WORLD, MA, OTHER),
    "not for servers": tls_certificate(WORLD, MA, usages=()),
}


def test_the_authority_is_believed(desk):
    server = desk.server(say(GOOD_ANSWER))
    client = desk.client(server)
    assert client.leaf == b""
    assert client.information() == INFORMATION
    assert client.leaf == GOOD_CERTIFICATE
    assert (server.accepted, len(server.heard)) == (1, 1)


@pytest.mark.parametrize("case", IMPOSTORS)
def test_an_impostor_hears_nothing(desk, case):
    server = desk.server(say(GOOD_ANSWER), IMPOSTORS[case])
    client = desk.client(server)
    with pytest.raises(AuthorityUntrusted):
        client.information()
    server.close()
    assert (server.accepted, server.heard, desk.pauses, client.leaf) == (1, [], [], b"")


def test_a_withdrawn_authority_hears_nothing(desk):
    server = desk.server(say(GOOD_ANSWER))
    with pytest.raises(AuthorityUntrusted, match="withdrawn"):
        desk.client(server, listed(MA_KEY, MA, MA)).information()
    assert desk.client(server, listed(MA_KEY, MA, OTHER)).information() == INFORMATION
    server.close()
    assert (server.accepted, len(server.heard)) == (2, 1)


def test_an_authority_of_several_owners_is_known_by_its_listed_key(desk):
    server = desk.server(say(GOOD_ANSWER), tls_certificate(STRANGER, MA))
    assert desk.client(server, listed(MA_KEY)).information() == INFORMATION
    with pytest.raises(AuthorityUntrusted):
        desk.client(server, listed(private_key("another"))).information()


def test_whoever_takes_over_a_new_connection_is_judged_again(desk):
    server = desk.server(say(GOOD_ANSWER))
    client = desk.client(server)
    assert client.information() == INFORMATION
    port = server.address
    server.close()
    impostor = desk.server(say(GOOD_ANSWER), IMPOSTORS["by another owner"], port=int(port.rpartition(":")[2]))
    with pytest.raises(AuthorityUntrusted):
        client.information()
    impostor.close()
    assert impostor.heard == []


def test_plain_text_is_no_authority(desk):
    server = desk.server(lambda line: line.send(GOOD_ANSWER), None)
    with pytest.raises(AuthorityUnreachable, match="does not speak TLS"):
        desk.client(server).information()


def test_tls_before_1_2_is_refused(desk):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = desk.server(say(GOOD_ANSWER), version=ssl.TLSVersion.TLSv1_1)
    with pytest.raises(AuthorityUnreachable, match="TLS failed"):
        desk.client(old).information()
    old.close()
    assert old.heard == []
    assert desk.client(desk.server(say(GOOD_ANSWER), version=ssl.TLSVersion.TLSv1_2)).information() == INFORMATION


def test_a_station_shows_its_certificate(desk):
    key = private_key("station")
    certificate = tls_certificate(WORLD, Identity(Role.STATION, uuid("station")), key=key, usages=(CLIENT,))
    server = desk.server(say(GOOD_ANSWER), clients=WORLD.owner.ca_certificate)
    station = ClientCertificate(certificate, Secret(pkcs8(key)))
    assert desk.client(server, station=station).information() == INFORMATION
    assert server.shown == [certificate]
    with pytest.raises(AuthorityUnreachable):
        desk.client(server).information()


@pytest.mark.parametrize("address", ["", "ma.example:1", "http://ma.example:1", "https://ma.example:1\r\nX:1"])
def test_an_address_is_a_url_of_one_spelling(desk, address):
    with pytest.raises(BadRequest, match="https://HOST:PORT"):
        desk.client(address)
    desk.client("https://[::1]:8443")
    desk.client("https://ma.example:8443")
