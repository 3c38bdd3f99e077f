"""Addresses of Migration Authorities: https URLs, and the host that a TLS certificate has to name.

One narrow spelling (RFC 3986, RFC 1123): what several readers could read differently is no address. Whether
anybody answers there is not known here.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

Host = str | IPv4Address | IPv6Address

_ADDRESS: Final = re.compile(
    r"https://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?/?", re.ASCII
)
_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)
_MAX_NAME: Final = 253
_PORTS: Final = range(1, 1 << 16)


def host_of(address: str) -> Host:
    """The host of an address: a DNS name in lower case, or an IP address.

    ValueError for anything but an https URL with a host, without credentials, query or fragment.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found["port"] or 443) not in _PORTS:
        raise ValueError("cannot read an address: expected https://HOST:PORT")
    host = found["host"]
    if host.startswith("["):
        return IPv6Address(host[1:-1])
    labels = host.split(".")
    if labels[-1].isdigit():
        return ip_address(host)
    # A wildcard or an empty label would let a certificate speak for hosts that are not the authority's.
    if len(host) > _MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("cannot read an address: its host is no DNS name")
    return host.lower()


def endpoint_of(address: str) -> tuple[str, int]:
    """Host and port to connect to; ValueError as `host_of`."""
    host = host_of(address)
    found = _ADDRESS.fullmatch(address)
    assert found is not None  # `host_of` read it
    return str(host), int(found["port"] or 443)
