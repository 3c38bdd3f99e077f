"""Forms of other programs: equal to what libtss2 and tpm2-pytss write."""

from __future__ import annotations

from contextlib import suppress

import pytest
from tpm2_pytss.constants import ESYS_TR
from tpm2_pytss.tsskey import TSSPrivKey
from tpm2_pytss.types import TPM2B_PRIVATE, TPM2B_PUBLIC

from lms.errors import MalformedStructure
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, Algorithm
from lms.model.tpm import SealedObject
from lms.wire.tpm.esys import serialized_handle
from lms.wire.tpm.key_file import KeyFile, read_tss2_pem, tss2_pem, tss2_private_key
from lms.wire.tpm.public import Attributes, drsk_template, sealed_template, srk_template
from tests.wire.tpm.bench import parse


@pytest.mark.parametrize("algorithm", Algorithm)
def test_serialized_handle_is_esys_tr_serialize(bench, algorithm):
    with bench.primary(srk_template(algorithm)) as (srk, public):
        persistent = bench.tpm.evict_control(ESYS_TR.OWNER, srk, SRK_HANDLE)
        try:
            assert serialized_handle(SRK_HANDLE, public) == bytes(bench.tpm.tr_serialize(persistent))
        finally:
            bench.tpm.evict_control(ESYS_TR.OWNER, persistent, SRK_HANDLE)


def test_serialized_handle_of_no_key():
    with pytest.raises(MalformedStructure):
        serialized_handle(SRK_HANDLE, b"")


@pytest.mark.parametrize("parent", [DRSK_HANDLE, 0x40000001, 0x7F])
@pytest.mark.parametrize("empty_auth", [True, False])
@pytest.mark.parametrize("algorithm", Algorithm)
def test_tss2_private_key_is_what_pytss_writes(bench, algorithm, empty_auth, parent):
    with bench.primary(srk_template(Algorithm.ECC_P256)) as (srk, _):
        key = bench.create(srk, drsk_template(algorithm, bytes(32)))
    der = tss2_private_key(key.public, key.private, parent, empty_auth=empty_auth)
    private, public = parse(TPM2B_PRIVATE, key.private), parse(TPM2B_PUBLIC, key.public)
    assert der == TSSPrivKey(private, public, empty_auth=empty_auth, parent=parent).to_der()
    read = TSSPrivKey.from_pem(tss2_pem(der))
    assert (read.parent, read.empty_auth) == (parent, empty_auth)
    assert (read.public.marshal(), read.private.marshal()) == (key.public, key.private)


def test_sealed_key_has_its_own_identifier(bench):
    with bench.primary(srk_template(Algorithm.ECC_P256)) as (srk, _):
        key = bench.create(srk, sealed_template(Attributes.USER_WITH_AUTH | Attributes.NO_DA), data=bytes(32))
    loadable, sealed = (tss2_private_key(key.public, key.private, DRSK_HANDLE, sealed=s) for s in (False, True))
    assert sealed == loadable.replace(bytes.fromhex("06066781050a0103"), bytes.fromhex("06066781050a0105"))
    assert len(sealed) < 512  # the kernel's MAX_BLOB_SIZE


def test_pem_has_lines_of_64():
    lines = tss2_pem(bytes(100)).splitlines()
    assert lines[0] == b"-----BEGIN TSS2 PRIVATE KEY-----"
    assert [len(line) for line in lines[1:-1]] == [64, 64, 8]


@pytest.mark.parametrize("parent", [DRSK_HANDLE, 0x40000001, 0x7F])
@pytest.mark.parametrize("empty_auth", [True, False])
def test_a_tss2_private_key_is_read_as_it_was_written(empty_auth, parent):
    key = SealedObject(bytes(range(250)), bytes(range(130)))
    der = tss2_private_key(key.public, key.private, parent, empty_auth=empty_auth)
    assert read_tss2_pem(tss2_pem(der)) == KeyFile(key, parent, empty_auth)
    left_out = der.replace(bytes.fromhex("a003010100"), b"")
    shorter = b"\x30\x82" + (len(left_out) - 4).to_bytes(2, "big") + left_out[4:]
    assert empty_auth or read_tss2_pem(tss2_pem(shorter)) == KeyFile(key, parent, False)


def test_no_altered_or_shortened_tss2_private_key_ends_in_another_way():
    key = SealedObject(bytes(range(200)), bytes(range(100)))
    der = tss2_private_key(key.public, key.private, DRSK_HANDLE)
    for cut in range(len(der)):
        with pytest.raises(MalformedStructure):
            read_tss2_pem(tss2_pem(der[:cut]))
        with suppress(MalformedStructure):
            read_tss2_pem(tss2_pem(der[:cut] + bytes((der[cut] ^ 0x81,)) + der[cut + 1 :]))
    with pytest.raises(MalformedStructure):
        read_tss2_pem(tss2_pem(der + b"\0"))
    assert read_tss2_pem(b"\n" + tss2_pem(der) + b"\n").key == key
