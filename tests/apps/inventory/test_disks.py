"""Which volumes there are, and on which of them a directory lies: in the words of lsblk and of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from lms.apps.inventory.disks import Disks, read_devices, read_mounts
from lms.errors import MalformedStructure

# lsblk --json --tree --output NAME,PATH,MAJ:MIN,FSTYPE of util-linux 2.38, without the names: a root on LUKS, a volume
# across two disks, a stick.
LSBLK = b"""{"blockdevices": [
  {"path":"/dev/sda", "maj:min":"8:0", "fstype":null, "children": [
    {"path":"/dev/sda1", "maj:min":"8:1", "fstype":"ext4"},
    {"path":"/dev/sda2", "maj:min":"8:2", "fstype":"crypto_LUKS", "children": [
      {"path":"/dev/mapper/root", "maj:min":"253:0", "fstype":"ext4"}]}]},
  {"path":"/dev/sdb", "maj:min":"8:16", "fstype":"crypto_LUKS", "children": [
    {"path":"/dev/mapper/one", "maj:min":"253:1", "fstype":"btrfs"}]},
  {"path":"/dev/sdc", "maj:min":"8:32", "fstype":"crypto_LUKS", "children": [
    {"path":"/dev/mapper/two", "maj:min":"253:2", "fstype":"btrfs"}]},
  {"path":"/dev/sdd1", "maj:min":"8:49", "fstype":"vfat"}]}"""
MOUNTINFO = rb"""22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/mapper/root rw
30 22 8:1 / /boot rw,relatime shared:5 - ext4 /dev/sda1 rw
31 22 0:40 /vault /srv/big\040vault rw shared:6 - btrfs /dev/mapper/one rw
32 22 0:50 / /mnt/backup rw - nfs4 server:/backup rw
33 22 8:1 / /mnt/hidden rw - ext4 /dev/sda1 rw
34 22 253:0 / /mnt/hidden rw - ext4 /dev/mapper/root rw
"""


@pytest.fixture
def disks():
    """A machine as the two tell it."""
    return Disks(read_devices(LSBLK), read_mounts(MOUNTINFO))


def test_every_volume_is_found_once(disks):
    assert disks.volumes == ("/dev/sda2", "/dev/sdb", "/dev/sdc")


@pytest.mark.parametrize(
    ("directory", "volumes"),
    [
        ("/var/lib/archive", {"/dev/sda2"}),
        ("/boot/lms", set()),
        ("/bootleg", {"/dev/sda2"}),
        ("/srv/big vault/lms", {"/dev/sdb"}),
        ("/mnt/backup/lms", set()),
        ("/mnt/hidden/lms", {"/dev/sda2"}),
    ],
)
def test_a_directory_lies_where_its_file_system_stands(disks, directory, volumes):
    assert disks.below(Path(directory)) == volumes


def test_copies_protect_nothing_where_only_the_tpm_opens(disks):
    copies = [Path("/var/lib/archive"), Path("/boot/lms"), Path("/mnt/backup")]
    assert disks.closed(copies, ["/dev/sda2"]) == [(Path("/var/lib/archive"), "/dev/sda2")]
    assert disks.closed(copies, ["/dev/sdb"]) == []


def test_this_machine_is_read():
    assert Disks.of_this_machine().mounts


def test_devices_that_stand_on_each_other_without_end_are_refused():
    row = '{"path":"/dev/a","maj:min":"1:1","fstype":null,"children":['
    with pytest.raises(MalformedStructure):
        read_devices(b'{"blockdevices":[' + row.encode() * 40 + b"]}" * 40 + b"]}")
