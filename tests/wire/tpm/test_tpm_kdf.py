"""KDFa and KDFe against the generic constructions of `cryptography`."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode
from hypothesis import given
from hypothesis import strategies as st

from lms.model.keys import SHA256, SHA384
from lms.wire.tpm.kdf import kdfa, kdfe

ALGORITHMS = st.sampled_from([(SHA256, hashes.SHA256()), (SHA384, hashes.SHA384())])
SIZES = st.integers(1, 120)
LABELS = st.sampled_from([b"STORAGE", b"INTEGRITY", b"DUPLICATE"])


@given(ALGORITHMS, st.binary(min_size=16, max_size=48), LABELS, st.binary(max_size=50), st.binary(max_size=50), SIZES)
def test_kdfa_is_sp800_108(algorithm, key, label, u, v, size):
    ours, theirs = algorithm
    reference = KBKDFHMAC(
        theirs, Mode.CounterMode, size, 4, 4, CounterLocation.BeforeFixed, label=label, context=u + v, fixed=None
    )
    assert kdfa(ours, key, label, u, v, 8 * size) == reference.derive(key)


@given(ALGORITHMS, st.binary(min_size=32, max_size=48), LABELS, st.binary(max_size=48), st.binary(max_size=48), SIZES)
def test_kdfe_is_sp800_56a(algorithm, z, label, u, v, size):
    ours, theirs = algorithm
    assert kdfe(ours, z, label, u, v, 8 * size) == ConcatKDFHash(theirs, size, label + b"\0" + u + v).derive(z)


@pytest.mark.parametrize("bits", [0, -8, 7])
def test_keys_are_whole_bytes(bits):
    for kdf in (kdfa, kdfe):
        with pytest.raises(ValueError, match="whole number"):
            kdf(SHA256, bytes(32), b"STORAGE", b"", b"", bits)
