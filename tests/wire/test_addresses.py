"""Addresses of authorities: one narrow spelling, because a certificate will name their hosts."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from lms.model.addresses import endpoint_of, host_of

GOOD = {
    "https://ma.example:8443": "ma.example",
    "https://MA.Example/": "ma.example",
    "https://localhost:1": "localhost",
    "https://xn--grn-hoa.example": "xn--grn-hoa.example",
    "https://192.0.2.1:65535": IPv4Address("192.0.2.1"),
    "https://[2001:DB8::1]:443": IPv6Address("2001:db8::1"),
    "https://1a.2b": "1a.2b",
}
BAD = [
    "",
    "ma.example:8443",
    "http://ma.example",
    "HTTPS://ma.example",
    "https://",
    "https://:8443",
    "https://user@ma.example",
    "https://user:password@ma.example",
    "https://ma.example:0",
    "https://ma.example:65536",
    "https://ma.example:",
    "https://ma.example/lms",
    "https://ma.example?x",
    "https://ma.example#x",
    "https://ma.example\\@other.example",
    "https://ma.example\n",
    " https://ma.example",
    "https://*.example",
    "https://ma..example",
    "https://.example",
    "https://ma.example.",
    "https://-ma.example",
    "https://ma_x.example",
    "https://" + "a" * 64 + ".example",
    "https://" + "a." * 127 + "a",
    "https://grün.example",
    "https://192.0.2.256",
    "https://1.2.3",
    "https://192.0.2.٣",
    "https://[192.0.2.1]",
    "https://[fe80::1%25eth0]",
    "https://2001:db8::1",
    "https://[]:443",
]


@pytest.mark.parametrize("address", GOOD)
def test_an_address_has_a_host(address):
    assert host_of(address) == GOOD[address]


@pytest.mark.parametrize("address", BAD, ids=ascii)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ValueError, match=r"\w"):
        host_of(address)


def test_the_port_of_https_is_where_none_is_said():
    assert endpoint_of("https://ma.example") == ("ma.example", 443)
    assert endpoint_of("https://[2001:DB8::1]:8443/") == ("2001:db8::1", 8443)
