"""Keys for EVM in a kernel that has trusted keys: loaded at boot, refused by another TPM, unchanged after a restore."""

from __future__ import annotations

import pytest

from tests.support.guest import Guest, GuestRefused
from tests.support.protected import restore

pytestmark = [pytest.mark.vm, pytest.mark.slow]

UNIT = "lms-evm.service"
BLOBS = "/etc/keys/kmk-trusted.blob", "/etc/keys/evm-trusted.blob"
# security.capability, version 2: CAP_NET_RAW
CAPABILITY = "0x0100000200200000000000000000000000000000"


def is_enabled(guest: Guest) -> bool:
    return guest.get("/sys/kernel/security/evm") == b"1"


def blobs(guest: Guest) -> list[bytes]:
    return [guest.get(path) for path in BLOBS]


def payload(guest: Guest, kind: str, name: str) -> bytes:
    return guest.run(f"keyctl pipe $(keyctl search @u {kind} {name})").content


def label(guest: Guest, path: str) -> None:
    """A file that EVM protects."""
    guest.run(f"echo >{path} && setfattr -n security.capability -v {CAPABILITY} {path}")
    assert "security.evm" in guest.run(f"getfattr -m security {path}").stdout


@pytest.fixture
def labelled(guests, protected):
    """A running guest whose EVM is enabled at boot, and two files that are labelled."""
    guest: Guest = guests(protected).start("evm=fix")
    assert guest.lmsctl("evm", "create")["master"] == "trusted"
    guest.run(f"systemctl enable --now {UNIT}")
    guest.lmsctl("archive")
    label(guest, "/root/good")
    label(guest, "/root/bad")
    return guest


def test_evm_verifies_what_it_labelled_before_the_tpm_was_another(labelled):
    before = blobs(labelled)
    labelled.reboot()
    assert (labelled.state(UNIT), is_enabled(labelled)) == ("active", True)
    found = labelled.lmsctl("evm", "check")
    assert (found["opens"], found["registered"], found["loaded"], found["enabled"]) == (True, True, True, True)
    assert not labelled.lmsctl("evm", "load", "--enable")["changed"]
    labelled.run("chmod 640 /root/good && chmod 640 /root/bad")
    labelled.stop()
    labelled.replace_tpm()
    labelled.start()
    assert (labelled.state(UNIT), is_enabled(labelled)) == ("inactive", False)
    assert f"Dependency failed for {UNIT}" in labelled.journal()
    with pytest.raises(GuestRefused, match="KeyNotFound"):
        labelled.lmsctl("evm", "check")
    labelled.run("chmod 600 /root/bad")
    restore(labelled)
    labelled.run(f"timeout 300 sh -c 'until systemctl -q is-active {UNIT}; do sleep 1; done'")
    assert (is_enabled(labelled), blobs(labelled)) == (True, before)
    labelled.run("chmod 600 /root/good")
    with pytest.raises(GuestRefused, match="Operation not permitted"):
        labelled.run("chmod 640 /root/bad")
    labelled.reboot()
    assert (labelled.state(UNIT), is_enabled(labelled), blobs(labelled)) == ("active", True, before)


def test_our_blob_is_the_kernels_own_but_for_the_lock_out(guests, protected):
    guest = guests(protected).start()
    guest.lmsctl("evm", "create")
    guest.lmsctl("evm", "load")
    ours, evm = blobs(guest)
    assert payload(guest, "trusted", "kmk-trusted") == ours
    assert payload(guest, "encrypted", "evm-key") == evm
    guest.run("keyctl add trusted its 'new 32 keyhandle=0x81000004' @u")
    written = payload(guest, "trusted", "its").replace(
        b"a003010101", b"a0030101ff"
    )  # its TRUE is no DER; it reads ours
    mine, its = bytes.fromhex(ours.decode()), bytes.fromhex(written.decode())
    attributes = its.index(bytes.fromhex("0008000b")) + 4
    assert mine[:attributes] == its[:attributes]
    assert (its[attributes : attributes + 4].hex(), mine[attributes : attributes + 4].hex()) == ("00000040", "00000440")
    assert mine[attributes + 4 :][:6] == its[attributes + 4 :][:6]
    assert len(mine) == len(its)


def test_a_users_master_key_is_loaded_at_boot(guests, protected):
    """As where the kernel has no trusted keys: the service's state is read without the service."""
    guest = guests(protected).start()
    guest.lmsctl("evm", "create", "--master", "user")
    guest.run(f"systemctl enable {UNIT}")
    guest.reboot()
    assert (guest.state(UNIT), is_enabled(guest)) == ("active", True)
    assert guest.lmsctl("evm", "check")["loaded"]
    assert guest.run("find /var/lib/lms ! -user lms").stdout == ""
