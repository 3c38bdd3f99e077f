"""A station of the Migration Selection Authority: the key that an owner's queues know it by (PROTOCOL §5, §8)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from lms.model.secret import Secret


@dataclass(frozen=True, slots=True)
class StationIdentity:
    """Who a station is: `tls_key` is PKCS#8 DER, `request` the PEM that asks for its certificate.

    `certificate` (DER) and `owner_document` are there once it is enrolled with its one owner.
    """

    station_id: UUID
    tls_key: Secret
    request: bytes
    certificate: bytes | None = None
    owner_document: bytes | None = None


@dataclass(frozen=True, slots=True)
class StationOrder:
    """What an approver wants certified: a station's request, the digits that it shows, the trust list so far."""

    request: bytes
    digits: str
    trust_list: bytes | None
    now: datetime


@dataclass(frozen=True, slots=True)
class StationAnswer:
    """The station's certificate, DER."""

    certificate: bytes
