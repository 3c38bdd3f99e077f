"""How a station asks for its certificate: a PKCS#10 request in PEM, signed by the key itself (RFC 2986; PROTOCOL §8).

PROTOCOL §6 has no document for it. A station signs no document, so it gets none: what its TLS key signs is this
request, and handshakes. The request names the station in one SAN URI and says nothing else that is taken over.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from lms.errors import RequestInvalid
from lms.model.trust import Identity, Role

_MARK: Final = b"-----BEGIN CERTIFICATE REQUEST-----"
_MAX_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class StationRequest:
    """A request whose signature fits: who asks, and its key on P-256."""

    station_id: UUID
    key: ec.EllipticCurvePublicKey

    @property
    def identity(self) -> Identity:
        """What the certificate will speak for."""
        return Identity(Role.STATION, self.station_id)

    @property
    def request_id(self) -> bytes:
        """SHA-256 of the SubjectPublicKeyInfo: its first 80 bits are what station and approver compare."""
        public = self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(public).digest()


def is_station_request(document: bytes) -> bool:
    """Whether a file looks like a certificate request, for `approve` to choose a reader; nothing is believed."""
    return document.startswith(_MARK)


def write_station_request(station_id: UUID, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The request of a station, PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, Role.STATION.value)])
    uri = x509.UniformResourceIdentifier(Identity(Role.STATION, station_id).urn)
    builder = x509.CertificateSigningRequestBuilder(name)
    builder = builder.add_extension(x509.SubjectAlternativeName([uri]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def read_station_request(document: bytes) -> StationRequest:
    """A station's request by the key that it names. Raises RequestInvalid."""
    try:
        request = x509.load_pem_x509_csr(document[: _MAX_BYTES + 1])
        key, signed = request.public_key(), request.is_signature_valid
        extensions = list(request.extensions)
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension):
        raise RequestInvalid("cannot read the station's request: it is no certificate request in PEM") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise RequestInvalid("cannot accept the station's request: its key is not on P-256")
    if not signed:
        raise RequestInvalid("cannot accept the station's request: its signature does not fit")
    return StationRequest(_station_id(extensions), key)


def _station_id(extensions: list[x509.Extension[x509.ExtensionType]]) -> UUID:
    refused = RequestInvalid("cannot accept the station's request: it must name one station, and nothing else")
    names = extensions[0].value if len(extensions) == 1 else None
    if not isinstance(names, x509.SubjectAlternativeName) or len(list(names)) != 1:
        raise refused
    try:
        (urn,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        identity = Identity.from_urn(urn)
    except ValueError:
        raise refused from None
    if identity.role is not Role.STATION or identity.uuid is None:
        raise refused
    return identity.uuid
