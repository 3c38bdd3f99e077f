"""A station's request: what is read of it, and what is refused."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from lms.errors import DigitsDiffer, RequestInvalid, SignerWithdrawn
from lms.model.keys import digits
from lms.model.station import StationOrder
from lms.model.trust import Identity, Role
from lms.service.certifying import certify_station
from lms.wire.certificates import for_clients_alone, identity_of, issued_by_owner
from lms.wire.station import is_station_request, read_station_request, write_station_request
from tests.support.documents import NOW, make_owner, private_key, uuid
from tests.support.exchange import signed_trust_list

WORLD, KEY = make_owner(), private_key("station")
STATION = Identity(Role.STATION, uuid("station"))
GOOD = write_station_request(uuid("station"), KEY)


def made(*names, key=KEY, more=(), digest=None) -> bytes:
    """A request with these names, in every shape that a stranger may write."""
    builder = x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension in more:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, digest or hashes.SHA256()).public_bytes(Encoding.PEM)


def uri(identity) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(identity.urn)


def certify(request, **changes):
    order = {"request": request, "digits": digits(read_station_request(GOOD).request_id), "trust_list": None}
    return certify_station(StationOrder(**(order | {"now": NOW} | changes)), WORLD.owner, WORLD.keys)


def test_a_request_tells_who_asks_with_which_key():
    asked = read_station_request(GOOD)
    assert is_station_request(GOOD)
    assert (asked.identity, asked.key) == (STATION, KEY.public_key())
    assert read_station_request(made(uri(STATION))) == asked


def test_a_certificate_is_a_clients_for_this_station_alone():
    certificate = x509.load_der_x509_certificate(certify(GOOD).certificate)
    assert issued_by_owner(certificate, WORLD.owner)
    assert (identity_of(certificate), certificate.public_key()) == (STATION, KEY.public_key())
    assert for_clients_alone(certificate)


BAD = {
    "nobody": made(),
    "an authority": made(uri(Identity(Role.MIGRATION_AUTHORITY, uuid("ma")))),
    "a signer": made(uri(Identity(Role.SIGNER, uuid("station")))),
    "two stations": made(uri(STATION), uri(Identity(Role.STATION, uuid("other")))),
    "a host as well": made(uri(STATION), x509.DNSName("ma.example")),
    "a host alone": made(x509.DNSName("ma.example")),
    "another spelling": made(x509.UniformResourceIdentifier(STATION.urn.upper())),
    "a CA": made(uri(STATION), more=[x509.BasicConstraints(ca=True, path_length=None)]),
    "a server": made(uri(STATION), more=[x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])]),
    "another curve": made(uri(STATION), key=ec.generate_private_key(ec.SECP384R1())),
    "empty": b"",
    "its mark alone": GOOD[:40],
    "DER": x509.load_pem_x509_csr(GOOD).public_bytes(Encoding.DER),
}


@pytest.mark.parametrize("request_", BAD.values(), ids=BAD)
def test_what_names_anything_else_is_refused(request_):
    with pytest.raises(RequestInvalid):
        read_station_request(request_)


def test_a_key_of_another_kind_is_refused():
    key = ed25519.Ed25519PrivateKey.generate()
    builder = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(
        x509.SubjectAlternativeName([uri(STATION)]), critical=False
    )
    with pytest.raises(RequestInvalid, match="P-256"):
        read_station_request(builder.sign(key, None).public_bytes(Encoding.PEM))


def test_a_station_that_was_exchanged_in_it_does_not_fit_the_signature():
    content = x509.load_pem_x509_csr(GOOD).public_bytes(Encoding.DER)
    exchanged = content.replace(str(uuid("station")).encode(), str(uuid("other")).encode())
    with pytest.raises(RequestInvalid, match="signature"):
        read_station_request(x509.load_der_x509_csr(exchanged).public_bytes(Encoding.PEM))


def test_nothing_is_certified_for_other_digits_or_after_a_withdrawal():
    with pytest.raises(DigitsDiffer):
        certify(GOOD, digits="AAAA-AAAA-AAAA-AAAA")
    with pytest.raises(DigitsDiffer):
        certify(write_station_request(uuid("station"), private_key("another")))
    assert certify(GOOD, trust_list=signed_trust_list()).certificate
    with pytest.raises(SignerWithdrawn):
        certify(GOOD, trust_list=signed_trust_list(STATION))


@pytest.mark.parametrize("owned", ["ca", "approval", "recovery"])
def test_a_key_with_another_role_is_not_certified(owned):
    request = write_station_request(uuid("station"), getattr(WORLD.keys, owned))
    with pytest.raises(RequestInvalid, match="another role"):
        certify(request, digits=digits(read_station_request(request).request_id))
