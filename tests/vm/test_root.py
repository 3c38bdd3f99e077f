"""An encrypted root, opened by an initrd without anything of ours: the two ways when the TPM is another one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.support.entrusted import PASSPHRASE, VOLUME_QUESTION, boot_and_answer, format_volume
from tests.support.guest import LUKS_DISK, Guest
from tests.support.protected import OWNER_AUTH, protect, restore

pytestmark = [pytest.mark.vm, pytest.mark.slow]

_NEEDLESS: Final = ("./boot", "./usr/include", "./usr/lib/gcc", "./usr/libexec/gcc", "./usr/share", "./srv/project")
# What lies outside the root is the disk that the guest otherwise boots from, which is its rescue system, too.
_MOUNTS: Final = """
/dev/mapper/root / ext4 defaults 0 1
/dev/vda /rescue ext4 defaults 0 2
/rescue/boot /boot none bind 0 0
"""
_RESTORE: Final = (
    "lmsctl restore --sheet /boot/lms --token /root/token.xml --token-password /root/password "
    "--owner-auth /root/owner-auth"
)


def move_root(guest: Guest) -> None:
    """Copy the root to an encrypted volume, and boot from it."""
    format_volume(guest)
    guest.run(f"cryptsetup open --key-file /root/passphrase {LUKS_DISK} root && mke2fs -q -t ext4 /dev/mapper/root")
    guest.run("mkdir /new && mount /dev/mapper/root /new")
    left_out = " ".join(f"--exclude={path}" for path in (*_NEEDLESS, "./new"))
    guest.run(f"tar --create --one-file-system {left_out} --directory / . | tar --extract --directory /new")
    guest.run(
        "mkdir -p /new/boot /new/rescue /new/usr/share && cp -a /usr/share/dbus-1 /usr/share/polkit-1 /new/usr/share"
    )
    guest.put(_MOUNTS, "/new/etc/fstab", 0o644)
    uuid = guest.run(f"cryptsetup luksUUID {LUKS_DISK}").stdout.strip()
    guest.run("umount /new && cryptsetup close root")
    guest.stop()
    guest.encrypted_root = uuid


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory, parts, maker, token):
    """A guest that is off: the recoverable key opens its root; its rescue system knows the makers of TPMs."""
    guest = Guest(tmp_path_factory.mktemp("encrypted"), parts, maker).make()
    try:
        guest.start()
        guest.trust_maker()
        move_root(guest)
        boot_and_answer(guest, {VOLUME_QUESTION: PASSPHRASE})
        protect(guest, token)
        guest.lmsctl("luks", "enroll", "--passphrase", "/root/passphrase", LUKS_DISK)
        guest.lmsctl("archive")
        guest.reboot()
        assert VOLUME_QUESTION not in guest.console.text
        guest.stop()
        yield guest
    finally:
        guest.tell()
        guest.remove()


def root_of(guest: Guest) -> str:
    return guest.run("findmnt --noheadings --output SOURCE /").stdout.strip()


def assert_unattended(guest: Guest) -> None:
    assert VOLUME_QUESTION not in guest.console.text
    assert root_of(guest) == "/dev/mapper/root"


def test_a_person_opens_it_and_the_next_boot_is_unattended(guests, encrypted):
    guest = guests(encrypted)
    guest.replace_tpm()
    boot_and_answer(guest, {VOLUME_QUESTION: PASSPHRASE})
    assert guest.lmsctl("status")["reason"] == "other-tpm"
    assert restore(guest)["was"] == "other-tpm"
    guest.reboot()
    assert_unattended(guest)


def test_a_rescue_system_restores_and_the_root_opens_unattended(guests, encrypted, token):
    guest = guests(encrypted)
    root, guest.encrypted_root = guest.encrypted_root, None
    guest.replace_tpm()
    guest.start()
    assert root_of(guest) == "/dev/vda"
    guest.put(token.document, "/root/token.xml")
    guest.put(token.password, "/root/password")
    guest.put(OWNER_AUTH, "/root/owner-auth")
    refused = guest.run(_RESTORE, check=False)
    digits = re.search(", key ([A-Z2-7-]+)", refused.stderr)
    assert digits is not None
    guest.run(f"{_RESTORE} --confirm-key {digits[1]}")
    guest.stop()
    guest.encrypted_root = root
    guest.start()
    assert_unattended(guest)
    assert guest.lmsctl("status")["reason"] == "other-tpm"  # its state was not at hand; it learns of the TPM now
    restore(guest)
    assert guest.lmsctl("luks", "check", LUKS_DISK)["volumes"][0]["opens"]


def test_the_initrd_has_nothing_of_ours(parts):
    names = Path(parts.initrd).read_bytes()
    assert b"systemd-cryptsetup" in names
    assert b"lmsctl" not in names
    assert b"lms-restore" not in names
