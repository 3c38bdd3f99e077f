"""`doctor` on a machine with a real disk mapper: volumes are found by themselves, and copies that lie on one."""

from __future__ import annotations

import pytest

from tests.support.entrusted import is_open
from tests.support.guest import LUKS_DISK

pytestmark = [pytest.mark.vm, pytest.mark.slow]


def test_copies_on_a_volume_that_the_tpm_alone_opens_protect_nothing(guests, volume):
    guest = guests(volume).start()
    assert is_open(guest)
    guest.run("install -d -o lms -g lms /volume/archive")
    guest.put('archives = ["/volume/archive"]\n', "/etc/lms/lms.toml.d/zz-archives.toml", 0o644)
    found = guest.lmsctl("doctor")
    device = guest.run(f"readlink -f {LUKS_DISK}").stdout.strip()
    (row,) = [row for row in found["bound"] if row["what"] == "LUKS token"]
    assert (row["where"], row["state"]) == (device, "protected"), found
    assert "copy-not-apart" not in {one["finding"] for one in found["findings"]}
    guest.run(f"cryptsetup luksKillSlot -q {LUKS_DISK} 0")
    told = {one["finding"]: one["meaning"] for one in guest.lmsctl("doctor")["findings"]}
    assert "/volume/archive" in told["copy-not-apart"]
    assert device in told["copy-not-apart"]
