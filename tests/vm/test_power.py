"""The power fails in the middle of an act: the volume opens, by the old way or the new one; given again, it is done."""

from __future__ import annotations

import shlex
from typing import Final

import pytest

from tests.support.entrusted import format_volume
from tests.support.guest import LUKS_DISK, Guest
from tests.support.protected import restore

pytestmark = pytest.mark.vm

_PASSPHRASE: Final = "--key-file /root/passphrase"
_TOKEN: Final = "--token-only"  # its maker's own: systemd's plug-in for cryptsetup
_ENROLL: Final = f"lmsctl luks enroll --pcrs 16 --passphrase /root/passphrase {LUKS_DISK}"
_RESEAL: Final = f"lmsctl luks reseal --passphrase /root/passphrase {LUKS_DISK}"
_RESTORE: Final = "lmsctl restore --token /root/token.xml --token-password /root/password --owner-auth /root/owner-auth"
_JOURNAL: Final = "/var/lib/lms-applications/luks/*/journal.json"
_CHANGED_PCR: Final = f"tpm2_pcrextend 16:sha256={'01' * 32}"  # nobody else has that PCR, and a boot begins it anew


def cut(guest: Guest, act: str, when: str, stop: str = "kill -STOP -- -$!") -> None:
    """The power fails when the condition holds; whoever acts goes no further than that, nor does what it started."""
    words = f"sync; set -m; {act} </dev/null >/root/act.log 2>&1 & until {when}; do :; done; {stop}"
    guest.run(f"timeout 300 bash -c {shlex.quote(words)}")
    guest.kill()
    guest.start()


def opens(guest: Guest, way: str) -> bool:
    return guest.run(f"cryptsetup open --test-passphrase {way} {LUKS_DISK}", check=False).code == 0


def is_unfinished(guest: Guest) -> bool:
    return guest.run(f"ls {_JOURNAL}", check=False).code == 0


def test_a_volume_that_is_enrolled_or_sealed_anew(guests, protected):
    guest: Guest = guests(protected).start()
    format_volume(guest)
    for when in (f"ls {_JOURNAL} 2>/dev/null", f"cryptsetup luksDump {LUKS_DISK} | grep -q systemd-tpm2"):
        cut(guest, _ENROLL, when)
        assert is_unfinished(guest)
        assert opens(guest, _PASSPHRASE)
    guest.run(_ENROLL)
    assert not is_unfinished(guest)
    assert (opens(guest, _PASSPHRASE), opens(guest, _TOKEN)) == (True, True)

    guest.run(_CHANGED_PCR)
    assert not opens(guest, _TOKEN)
    cut(guest, _RESEAL, f"ls {_JOURNAL} 2>/dev/null")
    assert is_unfinished(guest)
    assert (opens(guest, _PASSPHRASE), opens(guest, _TOKEN)) == (True, True)
    guest.run(_CHANGED_PCR)
    cut(guest, _RESEAL, f"grep -q dropping {_JOURNAL} 2>/dev/null")
    guest.run(_CHANGED_PCR)
    assert (opens(guest, _PASSPHRASE), opens(guest, _TOKEN)) == (True, True)
    guest.run(_RESEAL)
    assert not is_unfinished(guest)
    assert (opens(guest, _PASSPHRASE), opens(guest, _TOKEN)) == (True, True)
    kinds = [row["kind"] for row in guest.lmsctl("luks", "list", LUKS_DISK)["volumes"]]
    assert kinds == ["systemd-tpm2", "passphrase or key file"]


def test_keys_that_are_restored(guests, protected):
    guest: Guest = guests(protected).start()
    format_volume(guest)
    guest.lmsctl("luks", "enroll", "--passphrase", "/root/passphrase", LUKS_DISK)
    assert opens(guest, _TOKEN)
    guest.stop()
    guest.replace_tpm()
    guest.start()
    for handle in ("0x81000003", "0x81000004"):
        assert (opens(guest, _PASSPHRASE), opens(guest, _TOKEN)) == (True, False)
        when = f"tpm2_readpublic -Q -c {handle} 2>/dev/null"
        cut(guest, _RESTORE, when, "systemctl kill --signal=STOP lms.service")
    assert (opens(guest, _PASSPHRASE), opens(guest, _TOKEN)) == (True, True)
    restore(guest)
    assert guest.lmsctl("status")["reason"] == "intact"
    assert opens(guest, _TOKEN)
