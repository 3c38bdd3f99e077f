"""The whole day of a machine: all is entrusted, its board is another one, and all opens again as it did."""

from __future__ import annotations

import pytest

from tests.support.documents import PASSWORD
from tests.support.entrusted import (
    CRYPTSETUP,
    EVM,
    PASSPHRASE,
    TOKEN_QUESTION,
    VOLUME_QUESTION,
    approve,
    await_the_volume,
    boot_and_answer,
    unchanged,
    works,
)
from tests.support.guest import LUKS_DISK, Guest

pytestmark = pytest.mark.vm

ALL = (True, True, True)


def assert_in_order(guest: Guest) -> None:
    """Nothing of the boot waited for itself."""
    journal = guest.journal()
    assert "ordering cycle" not in journal
    assert "to break" not in journal


def test_another_board_costs_one_passphrase_and_an_approval(guests, kept, tmp_path):
    guest = guests(kept.guest, reaches=kept.authority.port).start()
    (listed,) = guest.lmsctl("authorities")["authorities"]
    assert (listed["id"], listed["held"]) == (kept.authority.ma_id, 1)
    assert works(guest) == ALL
    assert_in_order(guest)
    assert guest.run("systemd-analyze verify /usr/lib/systemd/system/lms* 2>&1").stdout == ""
    await_the_volume(guest)
    guest.stop()

    guest.replace_tpm()
    boot_and_answer(guest, {VOLUME_QUESTION: PASSPHRASE})
    assert works(guest) == (True, False, False)
    lost = guest.lmsctl("status")
    assert (lost["state"], lost["reason"]) == ("restore-needed", "other-tpm")
    assert "the recoverable key is gone" in guest.journal()
    assert guest.state("lms-restore.service") == "failed"
    assert_in_order(guest)

    approve(guest, kept.owner, kept.authority, tmp_path)
    guest.run(f"timeout 300 sh -c 'until systemctl -q is-active {EVM}; do sleep 1; done'")
    guest.run(f"umount /volume && systemctl stop {CRYPTSETUP} && timeout 60 systemctl start {CRYPTSETUP} volume.mount")
    assert works(guest) == ALL
    assert unchanged(guest) == kept.blobs
    assert guest.lmsctl("luks", "check", LUKS_DISK)["volumes"][0]["opens"]
    assert guest.lmsctl("status")["key"] == lost["key"]

    guest.reboot()
    assert works(guest) == ALL
    assert "enter passphrase" not in guest.console.text
    assert_in_order(guest)
    assert unchanged(guest) == kept.blobs


def test_with_the_token_plugged_in_another_board_costs_its_password(guests, kept):
    guest = guests(kept.guest)
    guest.plug("LMS-TOKEN", token_xml=kept.owner.token.read_bytes())
    guest.replace_tpm()
    boot_and_answer(guest, {TOKEN_QUESTION: PASSWORD.reveal().decode()})
    assert works(guest) == ALL
    assert unchanged(guest) == kept.blobs
    assert guest.lmsctl("status")["reason"] == "intact"
    assert "the recoverable key is back" in guest.journal()
    assert PASSWORD.reveal().decode() not in guest.journal()
    assert_in_order(guest)

    guest.reboot()
    assert works(guest) == ALL
    assert TOKEN_QUESTION not in guest.console.text
    assert_in_order(guest)
    assert unchanged(guest) == kept.blobs
