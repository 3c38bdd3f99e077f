"""A LUKS2 volume without which a boot does not go on: who is asked for what."""

from __future__ import annotations

import pytest

from tests.support.entrusted import (
    PASSPHRASE,
    TOKEN_QUESTION,
    VOLUME_QUESTION,
    await_the_volume,
    boot_and_answer,
    format_volume,
    is_open,
    open_at_boot,
)
from tests.support.guest import LUKS_DISK

pytestmark = [pytest.mark.vm, pytest.mark.slow]

PIN = "0815"
PIN_QUESTION = "enter LUKS2 token PIN"


def test_on_another_tpm_who_passes_the_token_over_is_asked_for_the_passphrase(guests, volume, token):
    guest = guests(volume).start()
    await_the_volume(guest)
    guest.stop()
    guest.plug("LMS-TOKEN", token_xml=token.document)
    guest.replace_tpm()
    boot_and_answer(guest, {TOKEN_QUESTION: "", VOLUME_QUESTION: PASSPHRASE})
    assert is_open(guest)
    assert "nobody gave the password of the token" in guest.journal()


def test_a_volume_with_a_pin_and_pcrs_asks_for_the_pin(guests, protected):
    guest = guests(protected).start()
    format_volume(guest)
    guest.put(PIN, "/root/pin")
    bound = ("--pcrs", "7", "--with-pin", "--pin-file", "/root/pin")
    guest.lmsctl("luks", "enroll", *bound, "--passphrase", "/root/passphrase", LUKS_DISK)
    open_at_boot(guest)
    await_the_volume(guest)
    guest.stop()
    boot_and_answer(guest, {PIN_QUESTION: PIN})
    assert is_open(guest)
    assert VOLUME_QUESTION not in guest.console.text
