"""A LUKS2 volume without which a boot does not go on."""

from __future__ import annotations

import pytest

from tests.support.entrusted import await_the_volume, boot_on_another_board, is_open

pytestmark = pytest.mark.vm


def test_on_another_tpm_the_boot_asks_for_the_passphrase(guests, volume):
    guest = guests(volume).start()
    await_the_volume(guest)
    guest.stop()
    boot_on_another_board(guest)
    assert is_open(guest)
