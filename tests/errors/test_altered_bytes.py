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


def test_a_certificate_with_another_serial_number_is_refused_without_a_warning():
    """Zero and negative ones, which the library takes with a word on stderr."""
    (certificate, *_) = OURS.signer.certificates
    at = certificate.index(b"\xa0\x03\x02\x01\x02\x02") + 6
    length = certificate[at]
    assert read_certificate(certificate)
    for serial in (bytes(length), b"\xff" + certificate[at + 2 : at + 1 + length]):
        with pytest.raises(ValueError, match="serial number"):
            read_certificate(certificate[: at + 1] + serial + certificate[at + 1 + length :])
