"""An unpatched tpm2-pkcs11 opens a token that we put into its store, and signs by it on this TPM and the next one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import subprocess
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from lms.apps.csp.adding import Wanted, add
from lms.apps.csp.listing import listed
from lms.apps.csp.tokens import add_token
from lms.errors import BadRequest, NotAStore, NotProvisioned
from lms.model.keys import DRSK_HANDLE, ApplicationAlgorithm
from lms.model.registered import ROOT
from lms.model.secret import Secret
from lms.service.register import Where
from lms.service.retrieve import retrieve
from lms.service.setting import NO_SECRET
from lms.wire.tpm.foreign import foreign_attributes
from lms.wire.tpm.public import Attributes
from tests.support.bus import NOBODY
from tests.support.containers import Serving, make_pkcs12, openssl
from tests.support.platform import OWNER_AUTH
from tests.support.volumes import nobody

(MODULE, *_) = Path("/usr/lib/x86_64-linux-gnu/pkcs11").glob("libtpm2_pkcs11.so*")
PIN, SO_PIN = Secret(b"0815"), Secret(b"a longer one")
FLUSHING = '#!/bin/sh\n/usr/bin/{0} "$@"; code=$?\n/usr/bin/tpm2_flushcontext -t 2>&-\nexit $code\n'


def user() -> Secret:
    return PIN


def officer() -> Secret:
    return SO_PIN


@pytest.fixture
def programs(tmp_path):
    """The tools of TPMs, where no resource manager takes away what they leave in one."""
    directory = tmp_path / "programs"
    directory.mkdir()
    for name in ("tpm2_changeauth", "tpm2_import", "tpm2_load", "tpm2_unseal"):
        (directory / name).write_text(FLUSHING.format(name))
        (directory / name).chmod(0o755)
    return directory


@pytest.fixture
def on(programs):
    """Runs a program of tpm2-pkcs11 on a platform."""

    def run(platform, *words: object, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        platform.let_go()
        path, tcti = f"{programs}:{os.environ['PATH']}", platform.machine.tcti
        environment = dict(os.environ, PATH=path, TPM2_PKCS11_TCTI=tcti, TPM2TOOLS_TCTI=tcti)
        environment["TPM2_PKCS11_STORE"] = str(programs.parent / "store")
        done = subprocess.run(list(map(str, words)), env=environment, capture_output=True, check=False)
        subprocess.run(["tpm2_flushcontext", "-T", tcti, "-t"], check=True, capture_output=True)
        assert not check or done.returncode == 0, done.stderr.decode()
        return done

    return run


@pytest.fixture
def ptool(on):
    """Runs the tool of stores on a platform."""

    def run(platform, act, store, *words, **more):
        return on(platform, "tpm2_ptool", act, f"--path={store}", *words, **more)

    return run


@pytest.fixture
def signs(on):
    """Whether a program signs by a key of the token, and verifies that."""

    def ask(platform, key: str, pin: Secret = PIN) -> bool:
        named = (f"--set-pin={pin.reveal().decode()}", "--test-sign", f"pkcs11:token=host;object={key};type=private")
        return on(platform, "p11tool", f"--provider={MODULE}", "--login", *named, check=False).returncode == 0

    return ask


@pytest.fixture
def store(archived, ptool, tmp_path):
    """A store whose primary object is the recoverable key, without a token."""
    (tmp_path / "store").mkdir()
    ptool(archived, "init", tmp_path / "store", f"--primary-handle={DRSK_HANDLE:#x}")
    return tmp_path / "store"


@pytest.fixture
def adding(archived, store, tmp_path):
    """Adds the token."""
    return partial(add_token, Serving(archived), store, tmp_path / "apps", "host")


def test_the_tool_itself_adds_no_token_here(archived, ptool, store):
    words = ("--pid=1", "--sopin=x", "--userpin=y", "--label=host")
    assert b"0x2C2" in ptool(archived, "addtoken", store, *words, check=False).stderr


def linked(algorithm: ApplicationAlgorithm, platform, ptool, store) -> list[str]:
    """A key of `csp add` goes into the token as `web`; its file."""
    key = store.parent / "web.pem"
    add(Serving(platform), key, store.parent / "apps", Wanted(algorithm))
    ptool(platform, "link", store, "--label=host", "--userpin=0815", "--key-label=web", key)
    return [str(key)]


def imported(platform, ptool, store) -> list[str]:
    """A key that OpenSSL made goes into the token as `web`; no file of ours."""
    key = store.parent / "traditional.key"
    make_pkcs12(store.parent)
    openssl("ec", "-in", store.parent / "soft.key", "-out", key)
    named = ("--label=host", "--userpin=0815", "--key-label=web", f"--privkey={key}")
    ptool(platform, "import", store, *named, "--algorithm=ecc")
    return []


@pytest.mark.parametrize(
    "put",
    [partial(linked, ApplicationAlgorithm.ECC_P256), partial(linked, ApplicationAlgorithm.RSA_2048), imported],
    ids=["ecc-p256", "rsa-2048", "imported"],
)
def test_keys_of_a_token_sign_here_and_on_the_next_tpm(archived, machines, ptool, store, adding, signs, token, put):
    row = adding(user, officer)
    assert (row["token"], row["changed"]) == ("host", True)
    assert not adding(nobody, nobody)["changed"]
    paths = put(archived, ptool, store)
    assert signs(archived, "web")
    assert not signs(archived, "web", Secret(b"0816"))
    assert adding(nobody, nobody)["changed"]  # the store has one key more
    assert [row["path"] for row in listed(Serving(archived))] == paths
    archived.archive()
    file = store / "tpm2_pkcs11.sqlite3"
    before = file.read_bytes()
    kept = retrieve(archived.setting, ROOT, Where("csp", str(file)), OWNER_AUTH, NO_SECRET)["data"].reveal()
    new = machines(disk_of=archived.directory)
    assert not signs(new, "web")
    new.restore(token, archived.packages[-1].read_bytes())
    assert signs(new, "web")
    assert file.read_bytes() == before
    file.write_bytes(kept)
    assert signs(new, "web")


def test_the_tool_imports_keys_into_a_token_and_changes_its_pin(archived, ptool, store, adding, signs):
    adding(user, officer)
    imported(archived, ptool, store)
    assert signs(archived, "web")
    ptool(archived, "changepin", store, "--label=host", "--user=user", "--old=0815", "--new=4711")
    assert signs(archived, "web", Secret(b"4711"))
    assert not signs(archived, "web")
    init = ptool(archived, "initpin", store, "--label=host", "--sopin=a longer one", "--userpin=1", check=False)
    assert b"0x2C2" in init.stderr


def test_a_pin_is_counted_and_the_seal_can_leave(archived, adding):
    adding(user, officer)
    sealed = [key for key in archived.state.registry.keys if key.place.application == "pkcs11"]
    assert len(sealed) == 2
    assert {foreign_attributes(key.key.public) for key in sealed} == {Attributes.USER_WITH_AUTH}


def test_what_is_no_store_of_ours_stays_as_it_is(archived, platform, store, adding, tmp_path):
    acts, file = Serving(archived), store / "tpm2_pkcs11.sqlite3"
    before = file.read_bytes()
    for label in ("", "x" * 33, "a\nb"):
        with pytest.raises(BadRequest, match="label"):
            add_token(acts, store, tmp_path / "apps", label, user, officer)
    with pytest.raises(BadRequest, match="empty PIN"):
        adding(lambda: Secret(b""), officer)
    with pytest.raises(NotProvisioned):
        add_token(Serving(platform), store, tmp_path / "apps", "host", user, officer)
    other = tmp_path / "other"
    for content in (None, b"", b"no database of anybody", before.replace(b"810000040022000b", b"810000040022000c")):
        if content is not None:
            other.write_bytes(content)
        with pytest.raises(NotAStore):
            add_token(acts, other, tmp_path / "apps", "host", user, officer)
        assert (other.read_bytes() if other.exists() else None) == content
    shutil.copy(file, other)
    with closing(sqlite3.connect(other)) as newer, newer:
        newer.execute("UPDATE schema SET schema_version = 9")
    newer.close()
    with pytest.raises(NotAStore, match="another version"):
        add_token(acts, other, tmp_path / "apps", "host", user, officer)
    assert file.read_bytes() == before
    assert archived.state.registry.entries == ()
    assert adding(user, officer)["changed"]


def test_a_token_of_this_label_below_another_key_is_none(adding, store):
    adding(user, officer)
    with closing(sqlite3.connect(store / "tpm2_pkcs11.sqlite3")) as database, database:
        database.execute(
            "INSERT INTO pobjects (hierarchy, config, objauth)"
            " SELECT hierarchy, replace(config, '81000004', '81000009'), objauth FROM pobjects"
        )
        database.execute("UPDATE tokens SET pid = 2")
    with pytest.raises(NotAStore, match="'host' is not below the recoverable key"):
        adding(nobody, nobody)
    with closing(sqlite3.connect(store / "tpm2_pkcs11.sqlite3")) as database, database:
        database.execute("UPDATE tokens SET pid = 1")
    assert adding(nobody, nobody)["changed"]  # the store has one primary object more


def test_whoever_types_a_pin_keeps_nobody_from_the_store(adding, store):
    def slow() -> Secret:
        with closing(sqlite3.connect(store / "tpm2_pkcs11.sqlite3", timeout=0)) as database, database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("UPDATE pobjects SET hierarchy = hierarchy")
        return PIN

    assert adding(slow, officer)["changed"]
    assert not adding(nobody, nobody)["changed"]


def hot_journal(names: Path) -> bytes:
    """A journal of SQLite, of a change of several databases: who rolls it back removes the file that it names."""
    magic, name = bytes.fromhex("d9d505f920a163d7"), os.fsencode(names)
    header = magic + struct.pack(">IIIII", 0, 0, 2, 512, 4096)
    trailer = struct.pack(">I", 0x40000000 // 4096 + 1) + name + struct.pack(">II", len(name), sum(name)) + magic
    return header.ljust(512, b"\0") + trailer


def test_a_journal_names_a_file_that_sqlite_removes(store, tmp_path):
    """What the next test is about: SQLite does this, whoever wrote the journal."""
    (tmp_path / "precious").write_bytes(b"precious")
    (store / "tpm2_pkcs11.sqlite3-journal").write_bytes(hot_journal(tmp_path / "precious"))
    with closing(sqlite3.connect(store / "tpm2_pkcs11.sqlite3")) as database, suppress(sqlite3.DatabaseError):
        database.execute("SELECT * FROM tokens")  # the journal cut the database to two pages, too
    assert not (tmp_path / "precious").exists()


def of_another_user(store: Path) -> None:
    os.chown(store, NOBODY, -1)


def with_a_journal_of_another_user(store: Path) -> None:
    os.chown(store / "tpm2_pkcs11.sqlite3-journal", NOBODY, -1)


def with_a_file_of_another_user(store: Path) -> None:
    os.chown(store / "tpm2_pkcs11.sqlite3", NOBODY, -1)


def for_all_to_write(store: Path) -> None:
    store.chmod(0o1777)


def for_a_group_to_write(store: Path) -> None:
    store.chmod(0o770)


def below_a_directory_of_another_user(store: Path) -> None:
    os.chown(store.parent, NOBODY, -1)


@pytest.mark.parametrize(
    "changed",
    [
        of_another_user,
        with_a_journal_of_another_user,
        with_a_file_of_another_user,
        for_all_to_write,
        for_a_group_to_write,
        below_a_directory_of_another_user,
    ],
)
def test_a_store_that_others_write_is_not_opened(adding, store, tmp_path, changed):
    (tmp_path / "precious").write_bytes(b"precious")
    (store / "tpm2_pkcs11.sqlite3-journal").write_bytes(hot_journal(tmp_path / "precious"))
    changed(store)
    with pytest.raises(NotAStore, match="others than you"):
        adding(nobody, nobody)
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_store_is_found_through_a_link_of_its_owner(adding, archived, store, tmp_path):
    assert adding(user, officer)["changed"]
    (tmp_path / "link").symlink_to(store)
    assert not add_token(Serving(archived), tmp_path / "link", tmp_path / "apps", "host", nobody, nobody)["changed"]
