"""Keys for EVM: as the kernel writes them, proven by the TPM, and never another one in the way of an old one."""

from __future__ import annotations

import subprocess

import pytest

from lms.apps.kernel.blobs import MASTER_SIZE, EncryptedKey, Master, new_evm_key, read_evm_key
from lms.apps.kernel.checking import check
from lms.apps.kernel.creating import create
from lms.apps.kernel.files import Files
from lms.apps.kernel.keyring import Evm
from lms.apps.kernel.loading import load
from lms.errors import (
    EvmKeyAbsent,
    EvmKeyDamaged,
    EvmKeyLost,
    EvmKeyOther,
    ForeignKey,
    KeyNotFound,
    MalformedStructure,
    OwnerAuthFailed,
    TpmLockedOut,
)
from lms.model.keys import DRSK_HANDLE
from lms.model.secret import Secret
from lms.names import OWNER_AUTH
from tests.service.test_sealing import guess, sealed
from tests.support.keyrings import Namespace
from tests.support.platform import Platform
from tests.support.volumes import Acting

KEY = Secret(bytes(range(32)))


@pytest.fixture(scope="module")
def kernel():
    """A keyring of this kernel that is nobody else's."""
    with Namespace() as namespace:
        yield namespace


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path / "keys", tmp_path / "apps")


@pytest.fixture
def evm(tmp_path):
    """A kernel without EVM."""
    return Evm(tmp_path / "none")


def names(files: Files) -> set[str]:
    return {path.name for path in files.directory.iterdir()}


def contents(files: Files) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in files.directory.iterdir()}


def labels(acts: Acting) -> set[str]:
    answer, _ = acts("keys", {})
    return {entry["label"] for entry in answer["entries"] if entry["application"] == "evm"}


# The form


def test_the_kernel_takes_our_key_and_writes_it_as_we_do(kernel):
    kernel.load("user", "kmk-user", KEY.reveal())
    made = new_evm_key(Master.USER, KEY)
    kernel.load("encrypted", "ours", b"load " + made.text)
    assert kernel.payload("encrypted", "ours") == made.text
    altered = made.text[:-1] + (b"0" if made.text[-1:] != b"0" else b"1")
    assert kernel.run("keyctl", "padd", "encrypted", "bad", "@u", given=b"load " + altered, check=False).returncode


def test_the_kernels_key_is_read_and_proven_as_ours(kernel):
    kernel.load("user", "kmk-user", KEY.reveal())
    kernel.load("encrypted", "its", b"new user:kmk-user 64")
    text = kernel.payload("encrypted", "its")
    key = read_evm_key(text + b"\n")
    assert (key.text, key.master) == (text, Master.USER)
    assert key.opens(KEY)
    assert not key.opens(Secret(bytes(32)))


@pytest.mark.parametrize("field", ["iv", "encrypted", "mac"])
def test_what_was_altered_does_not_open(field):
    key = new_evm_key(Master.TRUSTED, KEY)
    assert read_evm_key(key.text).opens(KEY)
    fields = {name: getattr(key, name) for name in ("iv", "encrypted", "mac")}
    fields[field] = bytes([fields[field][0] ^ 1]) + fields[field][1:]
    assert not EncryptedKey(Master.TRUSTED, **fields).opens(KEY)
    assert not EncryptedKey(Master.USER, key.iv, key.encrypted, key.mac).opens(KEY)


def test_others_keys_are_not_read():
    text = new_evm_key(Master.TRUSTED, KEY).text
    others = (
        b"", text[:-2], text + b"00", text.replace(b"trusted:kmk-trusted", b"trusted:kmk"),
        text.replace(b"kmk-trusted", b"kmk-user"), text.replace(b"default", b"enc32"), text.replace(b" 64 ", b" 32 "),
        text.upper(), text[: text.rindex(b" ") + 33] + b"01" + text[text.rindex(b" ") + 35 :],
    )  # fmt: skip
    for other in others:
        with pytest.raises(MalformedStructure):
            read_evm_key(other)


# The verbs


def unsealed_as_the_kernel_does(platform: Platform, files: Files) -> bytes:
    """The blob, taken apart by openssl, loaded and unsealed by tpm2-tools below its parent."""
    folder = files.directory.parent
    (folder / "der").write_bytes(bytes.fromhex(files.master.read_text()))
    listing = subprocess.run(
        ["openssl", "asn1parse", "-inform", "DER", "-in", folder / "der"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    kinds = [line.split(":")[2 if "prim" in line else -1].split()[0] for line in listing if "prim" in line]
    assert kinds == ["OBJECT", "BOOLEAN", "INTEGER", "OCTET", "OCTET"]
    values = [line.rpartition(":")[2].strip() for line in listing if "prim" in line]
    assert (values[0], int(values[2], 16)) == ("2.23.133.10.1.5", DRSK_HANDLE)
    for name, value in zip(("pub", "priv"), values[3:], strict=True):
        (folder / name).write_bytes(bytes.fromhex(value))
    platform.let_go()
    tcti = ("-T", platform.machine.tcti)
    parent = ("-C", f"{DRSK_HANDLE:#x}")
    areas = ("-u", folder / "pub", "-r", folder / "priv", "-c", folder / "context")
    subprocess.run(["tpm2_load", "-Q", *tcti, *parent, *areas], check=True)
    opened = subprocess.run(["tpm2_unseal", *tcti, "-c", folder / "context"], check=True, capture_output=True).stdout
    subprocess.run(["tpm2_flushcontext", *tcti, "-t"], check=True)
    return opened


def test_a_trusted_key_is_opened_as_the_kernel_does_it_and_opens_the_evm_key(acts, archived, files, evm):
    made = create(acts, files, Master.TRUSTED)
    assert (made["changed"], made["file"]) == (True, str(files.evm(Master.TRUSTED)))
    assert names(files) == {"kmk-trusted.blob", "evm-trusted.blob"}
    assert {path.stat().st_mode & 0o777 for path in (*files.directory.iterdir(), files.directory)} == {0o600, 0o700}
    master_key = Secret(unsealed_as_the_kernel_does(archived, files))
    key = read_evm_key(files.evm(Master.TRUSTED).read_bytes())
    assert key.opens(master_key)
    assert labels(acts) == {"kmk-trusted", f"evm-trusted:{key.iv.hex()}"}
    found = check(acts, files, evm)
    assert (found["opens"], found["registered"], found["loaded"], found["enabled"]) == (True, True, False, False)


def test_in_a_lock_out_the_kernel_opens_it(acts, archived, files):
    create(acts, files, Master.TRUSTED)
    guarded = sealed(archived, (7,), Secret(b"1234"))
    with pytest.raises(TpmLockedOut):
        guess(archived, guarded)
    assert len(unsealed_as_the_kernel_does(archived, files)) == MASTER_SIZE


@pytest.mark.parametrize("master", Master)
def test_what_is_there_is_proven_and_stays(acts, files, evm, master):
    create(acts, files, master)
    before = contents(files), labels(acts)
    assert not create(acts, files, master)["changed"]
    assert (contents(files), labels(acts)) == before
    assert check(acts, files, evm)["opens"]


def test_a_users_master_key_is_in_no_file(acts, files):
    create(acts, files, Master.USER)
    assert names(files) == {"evm-user.blob"}
    assert "kmk-user" in labels(acts)


@pytest.mark.parametrize("cut", ["seal", "retrieve", "unseal", "register"])
def test_a_run_that_was_cut_is_gone_on_with(acts, archived, files, evm, cut):
    class Cut(Acting):
        def __call__(self, verb, options, inputs=(), collected=()):
            if verb == cut:
                raise KeyboardInterrupt
            return super().__call__(verb, options, inputs, collected)

    with pytest.raises(KeyboardInterrupt):
        create(Cut(archived), files, Master.TRUSTED)
    begun = contents(files) if files.directory.exists() else {}
    assert create(acts, files, Master.TRUSTED)["changed"]
    assert begun.items() <= contents(files).items()
    assert check(acts, files, evm)["registered"]


def test_another_key_is_not_overwritten(acts, files):
    files.directory.mkdir()
    for path, content in (
        (files.evm(Master.TRUSTED), b"default trusted:kmk 64 00"),
        (files.evm(Master.TRUSTED), new_evm_key(Master.TRUSTED, KEY).text),
        (files.evm(Master.USER), new_evm_key(Master.USER, KEY).text),
        (files.master, b"3081"),
    ):
        path.write_bytes(content)
        with pytest.raises(EvmKeyOther):
            create(acts, files, Master.TRUSTED)
        assert (contents(files), labels(acts)) == ({path.name: content}, set())
        path.unlink()


def test_another_key_is_put_aside_when_that_is_said(acts, files, evm):
    files.directory.mkdir()
    files.master.write_bytes(b"3081")
    files.evm(Master.USER).write_bytes(new_evm_key(Master.USER, KEY).text)
    before = sorted(contents(files).values())
    made = create(acts, files, Master.TRUSTED, replace=True)
    assert [path for path in made["aside"] if "kmk" in path]
    assert sorted(contents(files)[path.rpartition("/")[2]] for path in made["aside"]) == before
    assert check(acts, files, evm)["opens"]


def test_our_own_key_is_put_aside_and_its_master_key_still_opens_it(acts, files, evm):
    create(acts, files, Master.TRUSTED)
    old, master = files.evm(Master.TRUSTED).read_bytes(), files.master.read_bytes()
    (aside,) = create(acts, files, Master.TRUSTED, replace=True)["aside"]
    assert (files.directory / aside).read_bytes() == old
    new = read_evm_key(files.evm(Master.TRUSTED).read_bytes())
    assert new.iv != read_evm_key(old).iv
    assert (files.master.read_bytes(), labels(acts)) == (master, {"kmk-trusted", f"evm-trusted:{new.iv.hex()}"})
    files.evm(Master.TRUSTED).write_bytes(old)
    found = check(acts, files, evm)
    assert (found["opens"], found["registered"]) == (True, False)
    with pytest.raises(EvmKeyOther):
        create(acts, files, Master.TRUSTED)


def test_one_kind_does_not_stand_beside_the_other(acts, files):
    create(acts, files, Master.USER)
    with pytest.raises(EvmKeyOther):
        create(acts, files, Master.TRUSTED)
    files.evm(Master.USER).unlink()
    with pytest.raises(EvmKeyOther):
        create(acts, files, Master.TRUSTED)


def test_a_key_that_was_altered_or_is_gone_is_told(acts, files, evm):
    with pytest.raises(EvmKeyAbsent):
        check(acts, files, evm)
    create(acts, files, Master.TRUSTED)
    path = files.evm(Master.TRUSTED)
    good = path.read_bytes()
    path.write_bytes(good[:-1] + (b"0" if good[-1:] != b"0" else b"1"))
    with pytest.raises(EvmKeyDamaged):
        check(acts, files, evm)
    path.unlink()
    for act in (lambda: check(acts, files, evm), lambda: create(acts, files, Master.TRUSTED)):
        with pytest.raises(EvmKeyLost):
            act()
    path.write_bytes(good)
    master = files.master.read_bytes()
    files.master.write_bytes(b"00")
    with pytest.raises(EvmKeyOther):
        check(acts, files, evm)
    files.master.unlink()
    with pytest.raises(EvmKeyLost):
        check(acts, files, evm)
    assert create(acts, files, Master.TRUSTED)["changed"]
    assert (files.master.read_bytes(), check(acts, files, evm)["opens"]) == (master, True)


def test_without_the_recoverable_key_it_is_said_what_is_there_instead(acts, archived, files, evm):
    create(acts, files, Master.TRUSTED)
    before = contents(files)
    archived.evict()
    with pytest.raises(KeyNotFound):
        check(acts, files, evm)
    archived.place_foreign_key()
    with pytest.raises(ForeignKey):
        check(acts, files, evm)
    with pytest.raises(ForeignKey):
        create(acts, files, Master.TRUSTED)
    assert contents(files) == before


def test_keys_come_along_to_another_tpm(acts, archived, files, evm, machines, token):
    create(acts, files, Master.USER)
    archived.archive()
    other = machines(disk_of=archived.directory)
    moved = Acting(other)
    with pytest.raises(KeyNotFound):
        check(moved, files, evm)
    other.let_go()  # the next process trusts no TPM yet
    other.restore(token, archived.packages[-1].read_bytes())
    assert check(moved, files, evm)["registered"]
    files.evm(Master.USER).unlink()
    with pytest.raises(OwnerAuthFailed):
        load(moved, files, evm, {OWNER_AUTH: b"wrong"})
    assert contents(files) == {}
