"""A LUKS2 volume that systemd opens at boot, enrolled as its manual page says: offline, with the recoverable key."""

from __future__ import annotations

import pytest

from tests.support.guest import LUKS_DISK, Guest
from tests.support.protected import restore

pytestmark = pytest.mark.vm

PASSPHRASE = "correct horse battery staple"
CONTENT = b"what lies on the volume"
UNIT = "systemd-cryptsetup@volume.service"
_TAB = f"volume {LUKS_DISK} none tpm2-device=auto"


@pytest.fixture
def volume(guests, protected):
    """A running guest with a volume, mounted at /volume, which the TPM opens at boot."""
    guest: Guest = guests(protected).start()
    guest.put(PASSPHRASE, "/root/passphrase")
    guest.run(f"cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 {LUKS_DISK} /root/passphrase")
    guest.run("tpm2_readpublic -Q -c 0x81000004 -o /root/drsk.pub")
    guest.run(
        "systemd-cryptenroll --unlock-key-file=/root/passphrase --tpm2-device-key=/root/drsk.pub "
        f"--tpm2-seal-key-handle=0x81000004 --tpm2-pcrs= {LUKS_DISK}"
    )
    guest.put(f"{_TAB},headless,nofail\n", "/etc/crypttab")
    guest.run("echo '/dev/mapper/volume /volume ext4 nofail 0 2' >>/etc/fstab")
    guest.run(f"systemctl daemon-reload && systemctl start {UNIT}")
    guest.run("mke2fs -q -t ext4 /dev/mapper/volume && mkdir /volume && mount /volume")
    guest.put(CONTENT, "/volume/content")
    return guest


def test_it_is_opened_at_boot_until_the_tpm_is_another_and_again_after_a_restore(volume):
    volume.reboot()
    assert (volume.state(UNIT), volume.get("/volume/content")) == ("active", CONTENT)
    volume.stop()
    volume.replace_tpm()
    volume.start()
    assert volume.state(UNIT) == "failed"
    assert "falling back to traditional unlocking" in volume.journal()
    restore(volume)
    volume.run(f"systemctl start {UNIT} volume.mount")
    assert volume.get("/volume/content") == CONTENT
    volume.reboot()
    assert (volume.state(UNIT), volume.get("/volume/content")) == ("active", CONTENT)


def test_on_another_tpm_the_boot_asks_for_the_passphrase(volume):
    volume.put(f"{_TAB}\n", "/etc/crypttab")
    volume.run("sed -i s/nofail/defaults/ /etc/fstab")
    volume.stop()
    volume.replace_tpm()
    volume.start(wait=False)
    volume.console.wait("enter passphrase for disk")
    volume.console.type(PASSPHRASE)
    volume.await_up()
    assert volume.get("/volume/content") == CONTENT
