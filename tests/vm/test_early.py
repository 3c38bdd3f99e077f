"""The recoverable key before volumes are opened: what the boot costs, and what it does when the key is gone."""

from __future__ import annotations

import pytest

from tests.support.entrusted import CRYPTSETUP, is_open
from tests.support.guest import Guest
from tests.support.protected import restore

pytestmark = [pytest.mark.vm, pytest.mark.slow]

EARLY = "lms-restore.service"


def seconds(guest: Guest, command: str) -> str:
    """How long a command takes there."""
    return guest.run(f"bash -c 'TIMEFORMAT=%R; time {command}' 2>&1").stdout.strip()


def test_a_boot_with_the_key_in_its_place_is_not_held_up_and_keeps_the_archive_fresh(guests, volume, record_property):
    guest = guests(volume).start()
    assert is_open(guest)
    assert guest.run(f"systemctl show --value --property=Result {EARLY}").stdout == "success\n"
    assert "ordering cycle" not in guest.journal()
    assert guest.run("systemctl --failed --no-legend --plain").stdout == ""
    began, ended = guest.moments(EARLY, "InactiveExit", "InactiveEnter")
    record_property("lms-restore.service, s", round((ended - began) / 1e6, 3))
    python = "/usr/lib/lms/bin/python -I"
    record_property("look, s", seconds(guest, f"{python} -m lms.early"))
    record_property("python3 -I -c pass, s", seconds(guest, f"{python} -c pass"))

    before = guest.lmsctl("status")["sequence"]
    guest.run("systemctl start lms-archive.service")
    assert guest.lmsctl("status")["sequence"] == before
    guest.lmsctl("seal", "--application", "vm", "--label", "more", "--data", "-", "--output", "/root/o", given=b"more")
    guest.run("systemctl start lms-archive.service")
    assert guest.lmsctl("status")["sequence"] == before + 1
    assert guest.state("lms-archive.timer") == "active"


def test_without_a_token_the_boot_goes_on_and_the_volume_opens_after_the_restore(guests, volume):
    guest = guests(volume)
    guest.replace_tpm()
    guest.start()
    assert (guest.state(EARLY), guest.state(CRYPTSETUP)) == ("failed", "failed")
    journal = guest.journal()
    assert "no token is to be seen" in journal
    assert "falling back to traditional unlocking" in journal
    restore(guest)
    guest.run("timeout 120 sh -c 'until mountpoint -q /volume; do sleep 0.2; done'")
    assert is_open(guest)
    guest.reboot()
    assert is_open(guest)
