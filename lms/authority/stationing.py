"""A station of the MSA here: `station init` makes its key, `station enroll` takes its certificate (PROTOCOL §8).

The key opens queues and nothing else: it signs no document, and no token is needed to have it. Until a station is
enrolled, requests and answers go by file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
)

from lms.adapters.store import StationDirectory
from lms.assembly import utc_now
from lms.authority.desk import Answer, Brought, configuration_of, digits_said, register_of, with_token
from lms.errors import BadRequest, GrantMismatch, NotInitialised, UntrustedSigner, WrongRole
from lms.files import create_file, is_there, locked, read_file
from lms.model.keys import digits
from lms.model.owner import Owner
from lms.model.station import StationAnswer, StationIdentity, StationOrder
from lms.terminal import say
from lms.wire.anchor import confirm_owner
from lms.wire.certificates import for_clients_alone, identity_of, issued_by_owner
from lms.wire.document import MIB
from lms.wire.private_keys import write_private_key
from lms.wire.record import read_record
from lms.wire.station import read_station_request, write_station_request

_MAX_CERTIFICATE: Final = 64 * 1024


def init(arguments: argparse.Namespace) -> Answer:
    """Make this machine's station, or find it made, and write the request that its owner approves."""
    directory, output = configuration_of(arguments).station.state_directory, Path(arguments.output)
    with locked(directory):
        store = StationDirectory(directory)
        identity = store.load()
        changed = identity is None
        if identity is None:
            identity = _made()
            store.save(identity)  # before anybody is asked: a certificate for a lost key opens nothing
    if not (is_there(output) and read_file(output, MIB) == identity.request):
        create_file(output, identity.request, mode=0o644)
    if changed:
        say("lms-authority", f"its key lies in '{directory}': who copies it sees and denies what waits, no more")
    return {
        "station": str(identity.station_id),
        "request": digits(read_station_request(identity.request).request_id),
        "file": str(output),
        "enrolled": identity.certificate is not None,
        "changed": changed,
    }


def _made() -> StationIdentity:
    station_id, key = uuid4(), ec.generate_private_key(ec.SECP256R1())
    return StationIdentity(station_id, write_private_key(key), write_station_request(station_id, key))


def enroll(arguments: argparse.Namespace) -> Answer:
    """Take the certificate that the owner issued to this station."""
    owner = confirm_owner(read_file(Path(arguments.owner), MIB), arguments.fingerprint)
    offered = _certificate(Path(arguments.certificate))
    directory = configuration_of(arguments).station.state_directory
    with locked(directory):
        store = StationDirectory(directory)
        identity = store.load()
        if identity is None:
            raise NotInitialised(f"cannot take a certificate: there is no station in '{directory}'")
        if identity.owner_document not in (None, owner.document):
            raise BadRequest("cannot take the certificate: this station is another owner's already")
        enrolled = _judged(identity, offered, owner)
        store.save(enrolled)
    return {
        "station": str(identity.station_id),
        "owner": digits(owner.fingerprint),
        "changed": enrolled != identity,
    }


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(read_file(path, _MAX_CERTIFICATE))
    except ValueError:
        raise BadRequest(f"cannot read a certificate from '{path}'") from None


def _judged(identity: StationIdentity, offered: x509.Certificate, owner: Owner) -> StationIdentity:
    """The station with this certificate. Raises UntrustedSigner, GrantMismatch, WrongRole."""
    asked = read_station_request(identity.request)
    if not issued_by_owner(offered, owner):
        raise UntrustedSigner("cannot take the certificate: the owner's CA did not issue it")
    if offered.public_key() != asked.key or identity_of(offered) != asked.identity:
        raise GrantMismatch("cannot take the certificate: it is another station's")
    if not for_clients_alone(offered):
        raise WrongRole("cannot take the certificate: it is not that of a TLS client")
    certificate = offered.public_bytes(Encoding.DER)
    return StationIdentity(identity.station_id, identity.tls_key, identity.request, certificate, owner.document)


def certify_station(arguments: argparse.Namespace, brought: Brought) -> Answer:
    """Show which station asks, ask for its digits, and certify its key; `approve` of such a request."""
    asked, register = read_station_request(brought.request), register_of(arguments)
    facts: Answer = {"station": str(asked.station_id)}
    said = digits_said(arguments, facts)
    with register.locked():
        trust_list = None if arguments.new_trust_list else register.trust_list()
        order = StationOrder(brought.request, said, trust_list, utc_now())
        answer = read_record(StationAnswer, with_token(arguments, "certify", order))
        parsed = x509.load_der_x509_certificate(answer.certificate)
        certificate = parsed.public_bytes(Encoding.PEM)
        register.keep_station(asked.station_id, certificate)
    handed = brought.hand_out("certificate", certificate, b"")
    return {**facts, "request": digits(asked.request_id), **handed}
