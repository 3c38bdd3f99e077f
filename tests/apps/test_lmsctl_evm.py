"""`lmsctl evm`, in a keyring of its own of the kernel that runs the tests. It need not know trusted keys, nor EVM."""

from __future__ import annotations

import pytest

from tests.support.bus import POLICIES, PrivateBus
from tests.support.daemon import Daemon
from tests.support.keyrings import Namespace
from tests.support.platform import OWNER_AUTH

pytestmark = pytest.mark.slow  # the kernel's keyring, a daemon and a dozen programs in each


@pytest.fixture
def kernel():
    with Namespace() as namespace:
        yield namespace


@pytest.fixture
def config(archived, tmp_path):
    """The configuration of a machine whose TPM other processes use."""
    archived.let_go()
    return archived.write_config(applications_directory=f'"{tmp_path}/apps"')


@pytest.fixture
def evm(kernel, config, tmp_path):
    """Runs an act."""

    def run(act: str, *options: object):
        return kernel.lmsctl("evm", act, "--directory", tmp_path / "keys", *options, config=config)

    return run


def test_a_users_master_key_is_loaded_once_and_opens_the_evm_key(evm, kernel, tmp_path):
    assert evm("create", "--master", "user").json["changed"]
    said = evm("check").json
    assert (said["master"], said["opens"], said["loaded"]) == ("user", True, False)
    said = evm("load")
    assert said.exit_code == 0, said.stderr
    assert (said.json["loaded"], said.json["changed"]) == (True, True)
    assert kernel.payload("encrypted", "evm-key") == (tmp_path / "keys/evm-user.blob").read_bytes()
    assert not evm("load").json["changed"]
    assert evm("check").json["loaded"]
    shown = evm("load").stdout + evm("check").stdout
    assert kernel.payload("user", "kmk-user").hex() not in shown


def test_a_lost_file_comes_back_with_the_owner_authorisation(evm, kernel, tmp_path):
    evm("create", "--master", "user")
    path, authorisation = tmp_path / "keys/evm-user.blob", tmp_path / "owner-auth"
    before = path.read_bytes()
    path.unlink()
    said = evm("load")
    assert (said.exit_code, said.json["error"]) == (3, "OwnerAuthFailed")
    assert evm("create", "--master", "user").json["error"] == "EvmKeyLost"
    authorisation.write_bytes(OWNER_AUTH.reveal())
    assert evm("load", "--owner-auth", authorisation).json["changed"]
    assert (path.read_bytes(), kernel.payload("encrypted", "evm-key")) == (before, before)


def test_lost_files_of_a_trusted_key_come_back_whatever_this_kernel_says_to_it(evm, tmp_path):
    evm("create", "--master", "trusted")
    keys, authorisation = tmp_path / "keys", tmp_path / "owner-auth"
    master, key = keys / "kmk-trusted.blob", keys / "evm-trusted.blob"
    before = master.read_bytes(), key.read_bytes()
    master.unlink()
    evm("load")
    assert (master.read_bytes(), key.read_bytes()) == before
    master.unlink()
    key.unlink()
    assert evm("load").json["error"] == "OwnerAuthFailed"
    assert list(keys.iterdir()) == []
    authorisation.write_bytes(OWNER_AUTH.reveal())
    evm("load", "--owner-auth", authorisation)
    assert (master.read_bytes(), key.read_bytes()) == before


@pytest.mark.parametrize(("kind", "name"), [("user", "kmk-user"), ("encrypted", "evm-key")])
def test_another_key_of_the_same_name_stays(evm, kernel, kind, name):
    evm("create", "--master", "user")
    kernel.load("user", "other", bytes(32))
    kernel.load(kind, name, b"new user:other 64" if kind == "encrypted" else b"the key of somebody else")
    before = kernel.payload(kind, name)
    said = evm("load")
    assert (said.exit_code, said.json["error"]) == (7, "KeyringOccupied")
    assert kernel.payload(kind, name) == before
    assert not evm("check").json["loaded"]


def test_a_key_that_was_altered_is_told_when_the_kernel_refuses_it(evm, tmp_path):
    evm("create", "--master", "user")
    path = tmp_path / "keys/evm-user.blob"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + (b"0" if good[-1:] != b"0" else b"1"))
    assert evm("load").json["error"] == "EvmKeyDamaged"
    path.write_bytes(good)
    assert evm("load").json["loaded"]


def test_what_the_kernel_has_not_is_told(evm, kernel):
    """Of trusted keys and EVM, what this kernel has is for tests/vm."""
    assert evm("load").json["error"] == "EvmKeyAbsent"
    lacks_trusted = b"No such device" in kernel.run("keyctl", "add", "trusted", "x", "-", "@u", check=False).stderr
    assert evm("create").json["master"] == ("user" if lacks_trusted else "trusted")
    lacks_evm = kernel.run("test", "-e", "/sys/kernel/security/evm", check=False).returncode
    if lacks_evm:
        assert evm("load", "--enable").json["error"] == "KernelLacks"
    if lacks_trusted:
        evm("create", "--replace", "--master", "trusted")
        assert evm("load").json["error"] == "KernelLacks"


def test_without_the_recoverable_key_nothing_is_loaded(evm, kernel, archived):
    evm("create", "--master", "user")
    archived.evict()
    archived.let_go()
    assert evm("load").json["error"] == evm("check").json["error"] == "KeyNotFound"
    archived.place_foreign_key()
    archived.let_go()
    assert evm("load").json["error"] == evm("check").json["error"] == "ForeignKey"
    assert kernel.run("keyctl", "search", "@u", "user", "kmk-user", check=False).returncode


def test_the_daemon_does_it_as_well(archived, kernel, tmp_path):
    with PrivateBus(POLICIES / "org.localmigration1.conf") as bus:
        archived.let_go()
        config = archived.write_config(bus=f'"{bus.address}"', applications_directory=f'"{tmp_path}/apps"')
        daemon = Daemon(config)
        try:
            daemon.start().until("READY=1")
            where = ("--directory", tmp_path / "keys")
            said = kernel.lmsctl("evm", "create", *where, "--master", "user", config=config)
            assert said.json["changed"], said.stderr
            assert kernel.lmsctl("evm", "load", *where, config=config).json["loaded"]
            assert kernel.lmsctl("evm", "check", *where, config=config).json["loaded"]
        finally:
            daemon.remove()
