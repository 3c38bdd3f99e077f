"""A package in which any byte is another one is refused as a document, and never in an unexpected way (PROTOCOL §6).

Each position is changed by one of the patterns, the edges, where the XML begins and the signature ends, by all of
them. The positive control is the same package as it was.
"""

from __future__ import annotations

import pytest

from lms.errors import DocumentError
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.signature import read_certificate
from tests.support.documents import NOW, make_platform, small_package

OURS = make_platform()
PACKAGE = OURS.signed(small_package())
TRUST = PackageTrust(OURS.world.owner, NOW, OURS.id, parent=OURS.world.owner.recovery_key_name)
EDGE = 64
# Another case, another digit, a control character, no UTF-8, all bits.
PATTERNS = {"case": 0x20, "neighbour": 0x01, "control": 0x40, "high": 0x80, "all": 0xFF}
STRIDE = len(PATTERNS)


def refused(document: bytes) -> bool:
    """Fails for whatever is no DocumentError."""
    try:
        accept_package(document, TRUST)
    except DocumentError:
        return True
    return False


def test_the_package_as_it_was_is_accepted():
    assert accept_package(PACKAGE, TRUST).document == PACKAGE


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_a_package_with_another_byte_is_refused(pattern):
    begin = list(PATTERNS.values()).index(pattern)
    positions = {*range(begin, len(PACKAGE), STRIDE), *range(EDGE), *range(len(PACKAGE) - EDGE, len(PACKAGE))}
    taken = []
    for position in sorted(positions):
        altered = bytearray(PACKAGE)
        altered[position] ^= pattern
        if not refused(bytes(altered)):
            taken.append(position)
    assert not taken


def test_a_package_that_lost_or_got_a_byte_is_refused():
    for position in range(0, len(PACKAGE), STRIDE):
        assert refused(PACKAGE[:position] + PACKAGE[position + 1 :]), position
        assert refused(PACKAGE[:position] + b" " + PACKAGE[position:]), position
        assert refused(PACKAGE[:position]), position
    assert refused(PACKAGE + b"\n")


def test_a_certificate_has_no_bits_that_nobody_reads():
    """The signature of a certificate ends with a byte: no other count of unused bits is taken for the same."""
    (certificate, *_) = OURS.signer.certificates
    parsed, _ = read_certificate(certificate)
    at = len(certificate) - len(parsed.signature) - 1
    for unused in range(1, 8):
        with pytest.raises(ValueError):  # noqa: PT011 - whether the library or we find it first
            read_certificate(certificate[:at] + bytes([unused]) + certificate[at + 1 :])


def test_an_odd_certificate_is_read_without_a_word():
    """A negative serial number, at which the library warns; warnings are errors here."""
    (certificate, *_) = OURS.signer.certificates
    at = certificate.index(b"\xa0\x03\x02\x01\x02\x02") + 6
    assert read_certificate(certificate[: at + 1] + b"\x80" + certificate[at + 2 :])
