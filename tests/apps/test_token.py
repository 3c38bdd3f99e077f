"""Tokens come from a disk: what is not as we write it is read as somebody else's, and never in an unexpected way."""

from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lms.apps.luks.header import read_header
from lms.apps.luks.ours import known
from lms.apps.luks.token import Binding, Parent, Token, read_token, write_token
from lms.errors import HeaderDamaged, MalformedStructure, VolumeReencrypting
from lms.model.keys import DRSK_HANDLE
from lms.model.tpm import SealedObject
from lms.wire.tpm.marshal import sized
from lms.wire.tpm.public import recovery_public
from tests.support.documents import private_key

PUBLIC = recovery_public(private_key("parent").public_key())
KEY = SealedObject(public=PUBLIC, private=sized(bytes(100)))
PARENT = Parent(DRSK_HANDLE, PUBLIC)
TOKENS = [
    Token(KEY, PARENT, Binding(), bytes(32)),
    Token(KEY, PARENT, Binding((0, 7, 23)), bytes(range(32))),
    Token(KEY, PARENT, Binding((), True), bytes(range(32)), bytes(32)),
]
FIELDS = json.loads(write_token(TOKENS[1], 1))
SERIALIZED = base64.b64decode(FIELDS["tpm2_srk"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary().map(lambda b: b.hex()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_comes_back_as_it_was_written(token):
    assert read_token(json.loads(write_token(token, 5))) == token


@pytest.mark.parametrize(
    "altered",
    [
        {"type": "clevis"},
        {"tpm2-pcr-bank": "sha1"},
        {"tpm2-pcrs": ["x"]},
        {"tpm2-pcrs": [24]},
        {"tpm2-pcrs": [-1]},
        {"tpm2-pcrs": [7, 7]},
        {"tpm2-pcrs": [float("inf")]},
        {"tpm2-blob": "?"},
        {"tpm2-blob": [FIELDS["tpm2-blob"]] * 2},
        {"tpm2-blob": text(base64.b64decode(FIELDS["tpm2-blob"]) + b"seed")},
        {"tpm2-blob": text(base64.b64decode(FIELDS["tpm2-blob"])[:-1])},
        {"tpm2-policy-hash": "0"},
        {"tpm2-policy-hash": ["00"]},
        {"tpm2-pin": True},
        {"tpm2_pubkey": "AAAA"},
        {"tpm2_srk": ""},
        {"tpm2_srk": text(SERIALIZED[:-1])},
        {"tpm2_srk": text(SERIALIZED + b"x")},
        {"tpm2_srk": text(SERIALIZED[:20] + bytes((SERIALIZED[20] ^ 1,)) + SERIALIZED[21:])},
    ],
)
def test_a_token_that_is_not_as_ours_are_is_somebody_elses(altered):
    assert known(FIELDS) == TOKENS[1]
    assert known(FIELDS | altered) is None
    with pytest.raises(MalformedStructure):
        read_token(FIELDS | altered)


@given(st.sampled_from(sorted(FIELDS)), anything)
def test_no_field_of_a_token_is_read_in_an_unexpected_way(field, value):
    known(FIELDS | {field: value})
    known({name: value for name, value in FIELDS.items() if name != field})


@given(st.dictionaries(st.sampled_from(["config", "keyslots", "tokens", "digests"]), anything))
def test_no_metadata_are_read_in_an_unexpected_way(metadata):
    with suppress(HeaderDamaged, VolumeReencrypting):
        read_header(json.dumps(metadata).encode())
