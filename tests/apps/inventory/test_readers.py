"""What other programs wrote is read as far as it says what it is bound to; anything else is nothing, or an error."""

from __future__ import annotations

import base64
import json
import sqlite3
from contextlib import closing, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lms.apps.inventory.bond import OWNER, Bond, Kind
from lms.apps.inventory.clevis import read_clevis_token, read_jwe
from lms.apps.inventory.credentials import read_credential
from lms.apps.inventory.crypttab import read_crypttab
from lms.apps.inventory.disks import read_devices, read_mounts
from lms.apps.inventory.files import READERS
from lms.apps.inventory.key_files import read_key_files
from lms.apps.inventory.pkcs11 import read_store
from lms.apps.inventory.volumes import read_bonds
from lms.errors import MalformedStructure
from lms.model.keys import DRSK_HANDLE
from lms.wire.tpm.key_file import tss2_pem, tss2_private_key

SHARED_SRK = 0x81000001
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def protected(header: object) -> str:
    """The protected header of a JWE."""
    return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()


def compact(header: object) -> bytes:
    """A whole JWE."""
    return f"{protected(header)}..AAAA.BBBB.CCCC".encode()


def test_real_files_say_what_they_are_bound_to(made):
    assert read_credential(made.credential.read_bytes()) == (Bond(Kind.CREDENTIAL, OWNER, None, (7,)),)
    assert read_jwe(made.jwe.read_bytes()) == (Bond(Kind.CLEVIS_JWE, OWNER, None, (7, 11)),)
    assert read_key_files(made.openssl.read_bytes()) == (Bond(Kind.TSS2_KEY, OWNER),)
    (bond,) = read_store(made.store.read_bytes())
    assert (bond.kind, bond.parent, bond.name is None) == (Kind.PKCS11_STORE, SHARED_SRK, False)


def test_a_credential_that_no_tpm_sealed_is_nothing_of_ours(made):
    assert read_credential(made.unsealed.read_bytes()) == ()


def test_every_file_is_found_by_one_reader_alone(made):
    for path in (made.credential, made.jwe, made.openssl, made.store):
        assert [len(read(path.read_bytes())) for read in READERS].count(1) == 1
        assert sum(len(read(path.read_bytes())) for read in READERS) == 1


def test_a_blob_of_the_kernel_is_read_as_digits_and_as_it_is(blob):
    found = (Bond(Kind.TRUSTED_KEY, DRSK_HANDLE),)
    assert read_key_files(blob) == read_key_files(blob + b"\n") == read_key_files(bytes.fromhex(blob.decode())) == found


def test_a_file_may_have_several_keys_and_other_things(child):
    pem = tss2_pem(tss2_private_key(child.public, child.private, DRSK_HANDLE))
    content = b"# two keys\n" + pem + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + pem
    assert read_key_files(content) == (Bond(Kind.TSS2_KEY, DRSK_HANDLE),) * 2
    with pytest.raises(MalformedStructure):
        read_key_files(content[:-10])


def test_a_credential_of_a_kind_to_come_is_told(made):
    content = bytearray(base64.b64decode(made.credential.read_bytes()))
    content[0] ^= 1
    with pytest.raises(MalformedStructure, match="newer systemd"):
        read_credential(base64.b64encode(content))


def test_shares_of_clevis_are_looked_into(made):
    share = made.jwe.read_bytes().decode().strip()
    nested = {"clevis": {"pin": "sss", "sss": {"t": 1, "jwe": [share, compact({"clevis": {"pin": "tang"}}).decode()]}}}
    assert read_jwe(compact(nested)) == (Bond(Kind.CLEVIS_JWE, OWNER, None, (7, 11)),)
    assert read_jwe(compact({"clevis": {"pin": "tang", "tang": {}}})) == ()
    assert read_jwe(compact({"alg": "dir"})) == ()
    for _ in range(6):
        nested = {"clevis": {"pin": "sss", "sss": {"jwe": [compact(nested).decode()]}}}
    with pytest.raises(MalformedStructure, match="too many"):
        read_jwe(compact(nested))


@pytest.mark.parametrize(
    "damaged", [{}, {"jwe": 1}, {"jwe": {}}, {"jwe": {"protected": 7}}, {"jwe": {"protected": "?"}}]
)
def test_a_damaged_token_of_clevis_is_an_error(damaged):
    with pytest.raises(MalformedStructure):
        read_clevis_token(damaged)


def test_other_databases_are_no_stores(tmp_path):
    with closing(sqlite3.connect(tmp_path / "other")) as other, other:
        other.execute("CREATE TABLE pobjects (id INTEGER)")
    assert read_store((tmp_path / "other").read_bytes()) == ()


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE VIEW pobjects AS WITH RECURSIVE n(config) AS (SELECT 1 UNION ALL SELECT config FROM n) SELECT * FROM n",
        "CREATE VIEW pobjects AS SELECT load_extension('/tmp/evil') AS config",
    ],
)
def test_a_view_in_place_of_the_table_is_not_run(tmp_path, schema):
    with closing(sqlite3.connect(tmp_path / "hostile")) as hostile, hostile:
        hostile.execute("CREATE TABLE tobjects (id INTEGER)")
        hostile.execute(schema)
    assert read_store((tmp_path / "hostile").read_bytes()) == ()


def test_columns_that_compute_as_long_as_they_like_are_not_run(tmp_path):
    slow = "length(replace(hex(zeroblob(20000000)), '0', '11'))"
    with closing(sqlite3.connect(tmp_path / "hostile")) as hostile, hostile:
        hostile.execute("CREATE TABLE tobjects (id INTEGER)")
        hostile.execute(f"CREATE TABLE pobjects (id INTEGER, config GENERATED ALWAYS AS ({slow}))")
        hostile.executemany("INSERT INTO pobjects (id) VALUES (?)", ((n,) for n in range(3)))
    with pytest.raises(MalformedStructure, match="computed"):
        read_store((tmp_path / "hostile").read_bytes())


def test_a_store_that_is_just_written_is_an_error(made, tmp_path):
    path = tmp_path / "store"
    path.write_bytes(made.store.read_bytes())
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("PRAGMA journal_mode=WAL")
    with pytest.raises(MalformedStructure, match="somebody writes"):
        read_store(path.read_bytes())


def test_crypttab_names_devices_and_detached_headers():
    text = b"""# a comment
root UUID=0A1B-CD none tpm2-device=auto,discard
data /dev/sdb1
cold PARTLABEL=Cold - header=/etc/cold.header,nofail
warm PARTLABEL=Warm none
swap /dev/sdc1 /dev/urandom swap
short
"""
    found = ("/dev/disk/by-uuid/0a1b-cd", "/dev/sdb1", "/etc/cold.header", "/dev/disk/by-partlabel/Warm")
    assert read_crypttab(text) == found


# Hostile bytes: whatever comes, a reader answers or raises the one error.


def judged(content: bytes) -> None:
    for read in READERS:
        with suppress(MalformedStructure):
            read(content)


@QUICK
@given(data=st.data())
def test_altered_files_are_answered_or_refused(made, blob, data):
    kind = data.draw(st.sampled_from(["credential", "jwe", "openssl", "store", "blob"]))
    content = bytearray(blob if kind == "blob" else getattr(made, kind).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    judged(bytes(content[: data.draw(st.integers(0, len(content)))]))
    judged(bytes(content))


@QUICK
@given(
    prefix=st.sampled_from(
        [b"", b"SQLite format 3\0", b"0", b"308", b"\x30\x82", b"eyJ", b"-----BEGIN TSS2 PRIVATE KEY-----"]
    ),
    content=st.binary(max_size=300),
)
def test_any_bytes_are_answered_or_refused(prefix, content):
    judged(prefix + content)
    judged(base64.b64encode(prefix + content))
    judged(prefix + content.hex().encode())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(["tpm2", "sss", "7"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["pin", "tpm2", "sss", "jwe"]), inner),
    max_leaves=8,
)


@QUICK
@given(clevis=VALUES)
def test_any_header_of_a_jwe_is_answered_or_refused(clevis):
    judged(compact({"clevis": clevis}))
    judged(compact(clevis))


@QUICK
@given(pcrs=VALUES, srk=VALUES | st.binary(max_size=200).map(lambda some: base64.b64encode(some).decode()), jwe=VALUES)
def test_any_token_is_answered_or_refused(pcrs, srk, jwe):
    for token in ({"type": "systemd-tpm2", "tpm2-pcrs": pcrs, "tpm2_srk": srk}, {"type": "clevis", "jwe": jwe}):
        with suppress(MalformedStructure):
            read_bonds(token)


@QUICK
@given(text=st.binary(max_size=200), rows=VALUES)
def test_tables_of_a_machine_are_answered_or_refused(text, rows):
    read_crypttab(text)
    for read, content in ((read_mounts, text), (read_devices, text), (read_devices, json.dumps(rows).encode())):
        with suppress(MalformedStructure):
            read(content)
