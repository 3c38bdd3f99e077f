"""What an MSA certifies of its own station: that its owner's queues know this key, and nothing else (PROTOCOL §5).

The certificate is a TLS client's. No document that the key signs is accepted anywhere, and no server that shows it.
"""

from __future__ import annotations

from cryptography import x509

from lms.errors import RequestInvalid, SignerWithdrawn
from lms.model.owner import Owner
from lms.model.station import StationAnswer, StationOrder
from lms.service.judgement import judge_digits, open_register
from lms.wire.certificates import issue
from lms.wire.seed import OwnerKeys
from lms.wire.station import read_station_request
from lms.wire.tls import tls_key
from lms.wire.tpm.public import ec_public_key, read_public


def certify_station(order: StationOrder, owner: Owner, keys: OwnerKeys) -> StationAnswer:
    """Judge a station's request and certify its key.

    Raises RequestInvalid, DigitsDiffer, SignerWithdrawn and the errors of `read_trust_list`.
    """
    asked = read_station_request(order.request)
    judge_digits(order.digits, asked.request_id)
    known = open_register(order.trust_list, owner, 0, order.now)
    if known.withdrawn_since(asked.identity) is not None:
        raise SignerWithdrawn(f"cannot approve: '{asked.identity.urn}' was withdrawn")
    owners = (
        x509.load_der_x509_certificate(owner.ca_certificate).public_key(),
        *(ec_public_key(read_public(public)) for public in (owner.approval_root, owner.recovery_key)),
    )
    if asked.key in owners or tls_key(asked.key) in {a.tls_key for a in known.authorities}:
        raise RequestInvalid("cannot approve: the station's key is known in another role")
    return StationAnswer(issue(asked.identity, asked.key, owner.ca_certificate, keys.ca, order.now))
